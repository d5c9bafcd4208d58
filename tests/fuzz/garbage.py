"""What a connection may send: broken HTTP of many kinds, and right requests with anything in them.

Everything follows from a seed and a number, so one volley can be sent again.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fuzz.bodies import PICTURES, TYPES, accept, almost_json, json_bytes, mutated, nested, split

PATHS = split("/ping|/invocations|/execution-parameters|/|//ping|/ping/|/%70ing|/é")
METHODS = split(
    "GET|get|POST|PUT|DELETE|TRACE|OPTIONS|CONNECT|PATCH|PRI||G\0T|GÉT|GET\t|-|()| GET|" + "G" * 99
)
TARGETS = split(
    "*||http://127.0.0.1/ping|http://169.254.169.254/invocations|HTTPS://user@host:99999/ping|"
    "//host/ping|127.0.0.1:80|/ping#x|/%|/%00|/%ff%fe|/\0ping|/pi ng|/ping?"
)
VERSIONS = split(
    "HTTP/1.1|HTTP/1.1|HTTP/1.1|HTTP/1.0|HTTP/0.9|HTTP/2.0|HTTP/1.1 |http/1.1|HTTP/1.11|HTTP/1||X"
)
CODINGS = split(
    b"chunked|Chunked| chunked|chunked |\tchunked|\x0bchunked|xchunked|chunked, chunked|identity|"
    b'identity, chunked|gzip, chunked|chunked, gzip|"chunked"|chunked;q=1||chunked\0|x\n chunked|'
    b"cow\r\nTransfer-Encoding: chunked"
)
CODING_NAMES = split(
    b"Transfer-Encoding|Transfer-Encoding|transfer-encoding|Transfer-Encoding | Transfer-Encoding|"
    b"Transfer_Encoding|Transfer-Encoding\0|X: y\nTransfer-Encoding|X: y\rTransfer-Encoding"
)
LENGTHS = split(  # of a body of N bytes
    "N|N|0N| N\t|+N|-1|0xN|N, N|N,1|N.0|1eN||a|1_0|１|N N|N\0|N;q=1|1000000000|2147483648|"  # noqa: RUF001
    "18446744073709551616|4194305|73400320|" + "9" * 5000
)
CHUNK_SIZES = split(
    b"|-1|0x2|+2|g|7fffffffffffffff| 2|2 |2;a=b|2\n|\0|1_0|00002|"
    + b"F" * 400
    + b"|2;"
    + b"e" * 5000
)
LAST_CHUNKS = split(
    b"0\r\n\r\n|0\r\n\r\n|0\r\n\r\n||0\r\n|0\r\nX: y\r\n\r\n|0\r\nContent-Length: 5\r\n\r\n|0\n\n|"
    b"0;\r\n\r\n|0\r\n" + b"T: t\r\n" * 20_000 + b"\r\n|0\r\n\r\nGET /ping HTTP/1.1\r\n\r\n"
)
SEPARATORS = [b"\r\n", b"\n", b"\r", b"\r\r\n", b"\0", b"\x0b", b" ", b""]


@dataclass(frozen=True)
class Volley:
    """What one connection sends, in pieces; then it closes its end, or resets the connection."""

    kind: str
    pieces: tuple[bytes, ...]
    resets: bool

    @property
    def has_two_ends(self) -> bool:
        """Whether a proxy and a server could disagree about where the request ends."""
        data = b"".join(self.pieces).lower()
        both = (b"\r\ntransfer-encoding: ", b"\r\ncontent-length: ")
        return self.kind == "smuggled" and all(name in data for name in both)


def volley(seed: int, number: int, places: Sequence[str]) -> Volley:
    """The one of that number. `places` are addresses that a `uri` may lead to."""
    dice = random.Random(f"{seed}/{number}")  # noqa: S311 - not for a secret
    kind = dice.choices(list(_KINDS), weights=[weight for weight, _ in _KINDS.values()])[0]
    data = _KINDS[kind][1](dice, places)
    pieces: tuple[bytes, ...] = (data,)
    if dice.random() < 0.2:
        cut = dice.randrange(len(data) + 1)
        pieces = (data[:cut], data[cut:])
    return Volley(kind, pieces, resets=dice.random() < 0.02)


def _noise(dice: random.Random, _places: Sequence[str]) -> bytes:
    """No HTTP/1 at all: bytes, text, TLS, HTTP/2, a proxy's greeting."""
    return dice.choice(
        [
            dice.randbytes(dice.randrange(1, 2000)),
            bytes(dice.choices(b"\r\n\t :/GETPOSTHTTP1.10\0\xff", k=dice.randrange(1, 500))),
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + dice.randbytes(300),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + dice.randbytes(40),
            b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n" + _get(),
            b"\r\n" * dice.randrange(1, 200) + dice.choice([b"", _get()]),
            b"A" * dice.choice([1, 4094, 8190, 70_000]),
        ]
    )


def _request_line(dice: random.Random, _places: Sequence[str]) -> bytes:
    target = dice.choice([*PATHS, *TARGETS])
    if dice.random() < 0.2:
        target += dice.choice(["../", "a", "%2e", "é"]) * dice.choice([50, 3000, 70_000])
    words = [dice.choice(METHODS), target, dice.choice(VERSIONS)]
    line = dice.choice([" "] * 9 + ["  ", "\t", "\0"]).join(words)
    return line.encode("latin-1") + b"\r\nHost: x\r\n\r\n"


def _headers(dice: random.Random, _places: Sequence[str]) -> bytes:
    """Bombs, names and values that are none, folds, wrong ends of lines, hop-by-hop tricks."""
    lines = [b"Host: x"]
    for _ in range(dice.choice([1, 2, 5])):
        lines += dice.choice(
            [
                [b"X-%d: y" % i for i in range(dice.choice([50, 99, 101, 300, 3000]))],
                [b"X-Long: " + b"a" * dice.choice([8000, 8190, 9000, 70_000, 200_000])],
                [b"L" * dice.choice([100, 9000]) + b": x"],
                [dice.randbytes(10) + b": x"],
                [b"X: " + dice.randbytes(20)],
                [b"no colon"],
                [b": no name"],
                [b"X : space"],
                [b"X: a", b" folded"],
                [b"X_Y: a", b"X-Y: b"],
                [b"Host: a", b"Host: b"],
                [b"Content-Type: a/b", b"Content-Type: image/jpeg"],
                [b"Expect: " + dice.choice([b"100-continue", b"200-ok", b""])],
                [b"Connection: " + dice.choice([b"close", b"keep-alive", b"upgrade", b"host, x"])],
                [b"Upgrade: " + dice.choice([b"h2c", b"websocket"]), b"HTTP2-Settings: AAMAAABk"],
                [b"Forwarded: for=1.2.3.4;proto=https", b"X-Forwarded-Proto: https"],
                [b"SCRIPT_NAME: /ping", b"Script-Name: /ping", b"X-Forwarded-Prefix: /x"],
                [b"Accept: " + accept(dice).encode("latin-1", "replace")],
                [b"X-Amzn-SageMaker-Inference-Id: " + dice.randbytes(5).hex().encode() * 200],
                [b"Range: bytes=0-1", b"If-None-Match: *", b"Accept-Encoding: gzip"],
            ]
        )
    dice.shuffle(lines)
    end = dice.choice([b"\r\n"] * 6 + SEPARATORS)
    start = dice.choice([b"GET /ping HTTP/1.1", b"POST /invocations HTTP/1.1", b"GET /x HTTP/1.0"])
    return end.join([start, *lines]) + dice.choice([b"\r\n\r\n"] * 6 + [b"\n\n", b"\r\n", b""])


def _length(dice: random.Random, _places: Sequence[str]) -> bytes:
    body = dice.choice([b"", b"{}", b'{"uri": "data:,"}', b"x" * 5000])
    lengths = [
        "Content-Length: " + dice.choice(LENGTHS).replace("N", str(len(body)))
        for _ in range(dice.choice([1, 1, 1, 2]))
    ]
    return _post("\r\n".join(lengths).encode(), body)


def _chunked(dice: random.Random, _places: Sequence[str]) -> bytes:
    body = b""
    for _ in range(dice.choice([0, 1, 2, 20])):
        data = dice.choice([b"{}", b"", b"x" * 100, dice.randbytes(30)])
        size = b"%x" % len(data) if dice.random() < 0.9 else dice.choice(CHUNK_SIZES)
        for part in (size, data):
            body += part + dice.choice([b"\r\n"] * 30 + SEPARATORS)
    return _post(b"Transfer-Encoding: chunked", body + dice.choice(LAST_CHUNKS))


def _smuggled(dice: random.Random, _places: Sequence[str]) -> bytes:
    """Two readings of where a request ends, with another one inside."""
    inside = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    lines = [dice.choice(CODING_NAMES) + b": " + dice.choice(CODINGS)]
    if dice.random() < 0.8:
        length = dice.choice([*LENGTHS, "4", "0", str(len(inside) + 5)])
        lines.append(dice.choice([b"Content-Length: ", b"Content-Length : "]) + length.encode())
    dice.shuffle(lines)
    body = dice.choice([b"0\r\n\r\n", b"4\r\n{}{}\r\n0\r\n\r\n"])
    return _post(b"\r\n".join(lines), body + inside)


def _right(dice: random.Random, places: Sequence[str]) -> bytes:
    """A right request, of anything."""
    if dice.random() < 0.15:
        method = dice.choice([b"GET", b"GET", b"HEAD", b"POST", b"PUT", b"OPTIONS"])
        line = method + b" " + dice.choice(PATHS).encode() + b" HTTP/1.1\r\n"
        return line + b"Host: x\r\nContent-Length: 0\r\n\r\n"
    media_type = dice.choice(TYPES)
    if media_type.startswith("application/json"):
        body = dice.choice([json_bytes, json_bytes, nested, almost_json])(dice, places)
        if media_type == "application/jsonlines":
            body += b"".join(b"\n" + json_bytes(dice, places) for _ in range(dice.randrange(3)))
    else:
        picture = mutated(dice, dice.choice(PICTURES))
        body = dice.choice([picture, dice.randbytes(dice.randrange(300))])
    headers = f"Content-Type: {media_type}\r\nContent-Length: {len(body)}"
    if dice.random() < 0.3:
        headers += f"\r\nAccept: {accept(dice)}"
    return _post(headers.encode("latin-1", "replace"), body)


def _pipelined(dice: random.Random, places: Sequence[str]) -> bytes:
    kinds = [_right, _right, _right, _mutated, _request_line, _chunked, _length]
    return b"".join(dice.choice(kinds)(dice, places) for _ in range(dice.randrange(2, 8)))


def _mutated(dice: random.Random, places: Sequence[str]) -> bytes:
    """A request with a few bytes changed, most of them in its head."""
    request = _right(dice, places)
    head, end, body = request.partition(b"\r\n\r\n")
    return mutated(dice, head) + end + body if dice.random() < 0.7 else mutated(dice, request)


def _post(headers: bytes, body: bytes) -> bytes:
    return b"POST /invocations HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n\r\n" + body


def _get() -> bytes:
    return b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"


_Maker = Callable[[random.Random, Sequence[str]], bytes]
_KINDS: dict[str, tuple[int, _Maker]] = {
    "noise": (10, _noise),
    "request line": (12, _request_line),
    "headers": (14, _headers),
    "length": (10, _length),
    "chunked": (12, _chunked),
    "smuggled": (12, _smuggled),
    "pipelined": (12, _pipelined),
    "mutated": (12, _mutated),
    "right": (25, _right),
}

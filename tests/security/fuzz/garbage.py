"""Generate what a connection sends: broken HTTP of several kinds, or valid HTTP with any content.

A seed and a number determine each volley, so it can be repeated. Bodies are broken photographs,
JSON and almost JSON, and addresses of all kinds.
"""

import base64
import json
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from hypothesis import strategies as st

from support.cases import PHOTOS

PICTURES = [path.read_bytes() for path in sorted(PHOTOS.iterdir()) if path.suffix != ".md"]

dices = st.integers().map(random.Random)


def split(text: str, bar: str = "|") -> list[str]:
    return text.split(bar)


TYPES = split(
    "application/json|application/jsonlines|image/jpeg|image/png|image/webp|application/x-image|"
    "text/csv|multipart/form-data; boundary=x||application/json; charset=utf-16|image/jpg|"
    "application/octet-stream|application/x-www-form-urlencoded"
)
SCRAPS = b"\0|\xff\xff\xff\xff|\r\n|\x7f\xff|%00|\xff\xda".split(b"|")
RANGES = split("*/*|application/json|application/*|application/jsonlines|text/csv|é|")
WEIGHTS = split("|;q=.2|;q=0|;q=1.000|;q=nan|;q=1e999|;q=-1|;q|;a=b;q=0.5|;q=0.5;q=0")
PATHS = split("/ping /invocations /execution-parameters / //ping /ping/ /%70ing /é", " ")
METHODS = split("GET get POST PUT DELETE TRACE OPTIONS CONNECT PATCH PRI G\0T GÉT GET\t - ()", " ")
METHODS += ["", " GET", "G" * 99]
TARGETS = split(
    "* http://127.0.0.1/ping http://169.254.169.254/invocations HTTPS://user@host:99999/ping "
    "//host/ping 127.0.0.1:80 /ping#x /% /%00 /%ff%fe /\0ping /ping?",
    " ",
)
TARGETS += ["", "/pi ng"]
VERSIONS = ["HTTP/1.1"] * 3 + split("HTTP/1.0 HTTP/0.9 HTTP/2.0 http/1.1 HTTP/1.11 HTTP/1 X", " ")
CODINGS = (
    b"chunked|Chunked| chunked|chunked |\tchunked|\x0bchunked|xchunked|chunked, chunked|identity|"
    b'identity, chunked|gzip, chunked|chunked, gzip|"chunked"|chunked;q=1||chunked\0|x\n chunked|'
    b"cow\r\nTransfer-Encoding: chunked"
).split(b"|")
CODING_NAMES = (
    b"Transfer-Encoding|Transfer-Encoding|transfer-encoding|Transfer-Encoding | Transfer-Encoding|"
    b"Transfer_Encoding|Transfer-Encoding\0|X: y\nTransfer-Encoding|X: y\rTransfer-Encoding"
).split(b"|")
HEADERS = (
    b"no colon|: no name|X : space|X: a\r\n folded|X_Y: a|X-Y: b|Host: a|Content-Type: a/b|"
    b"Content-Type: image/png|Expect: 100-continue|Expect: 200-ok|Expect: |Connection: close|"
    b"Connection: keep-alive|Connection: upgrade|Connection: host, x|Upgrade: h2c|"
    b"Upgrade: websocket|HTTP2-Settings: AAMAAABk|Forwarded: for=1.2.3.4;proto=https|"
    b"X-Forwarded-Prefix: /x|SCRIPT_NAME: /ping|Range: bytes=0-1|If-None-Match: *|"
    b"Accept-Encoding: gzip|Content-Encoding: gzip|Content-Encoding: base64|Content-Encoding: \x01"
).split(b"|")
LENGTHS = (  # N stands for the length of the body
    "N|N|N|4|0|0N| N\t|+N|-1|0xN|N, N|N,1|N.0|1eN||a|1_0|１|N N|N\0|N;q=1|1000000000|2147483648|"  # noqa: RUF001 - full-width digits
    f"18446744073709551616|4194305|73400320|{'9' * 5000}"
).split("|")
CHUNK_SIZES = (
    b"|-1|0x2|+2|g|7fffffffffffffff| 2|2 |2;a=b|2\n|\0|1_0|00002|%b|2;%b"
    % (b"F" * 400, b"e" * 5000)
).split(b"|")
LAST_CHUNKS = (
    b"0\r\n\r\n|0\r\n\r\n|0\r\n\r\n||0\r\n|0\r\nX: y\r\n\r\n|0\r\nContent-Length: 5\r\n\r\n|0\n\n|"
    b"0;\r\n\r\n|0\r\n%b\r\n|0\r\n\r\nGET /ping HTTP/1.1\r\n\r\n" % (b"T: t\r\n" * 20_000)
).split(b"|")
SEPARATORS = [b"\r\n", b"\n", b"\r", b"\r\r\n", b"\0", b"\x0b", b" ", b""]
PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
INSIDE = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"4\r\n{}{}\r\n0\r\n\r\n"


class Volley(NamedTuple):
    """Two pieces that one connection sends before it closes its end or is reset."""

    kind: str
    pieces: tuple[bytes, bytes]
    resets: bool

    @property
    def is_ambiguous(self) -> bool:
        """Return True if a proxy and a server could disagree about where the request ends."""
        data = b"".join(self.pieces).lower()
        both = (b"\r\ntransfer-encoding: ", b"\r\ncontent-length: ")
        return self.kind == "framed" and all(name in data for name in both)


def volley(seed: int, number: int, places: Sequence[str]) -> Volley:
    """Return volley `number`. `places` are addresses that a `uri` may name."""
    dice = random.Random(f"{seed}/{number}")  # noqa: S311 - not a secret
    kind = dice.choices(list(_KINDS), weights=[weight for weight, _ in _KINDS.values()])[0]
    data = _KINDS[kind][1](dice, places)
    cut = dice.randrange(len(data) + 1) if dice.random() < 0.2 else 0
    return Volley(kind, (data[:cut], data[cut:]), dice.random() < 0.02)


def mutated(dice: random.Random, data: bytes) -> bytes:
    """Change, double, remove or insert some bytes."""
    found = bytearray(data)
    for _ in range(dice.choice([1, 1, 2, 4, 16])):
        at = dice.randrange(len(found) + 1)
        to = min(len(found), at + dice.choice([1, 2, 8, 200]))
        old = bytes(found[at:to])
        other = bytes(byte ^ (1 << dice.randrange(8)) for byte in old)
        new = [b"", dice.randbytes(to - at), 2 * old, dice.choice(SCRAPS), other, found[:200]]
        found[at:to] = dice.choice(new)
        if dice.random() < 0.1:
            del found[dice.randrange(len(found) + 1) :]
    return bytes(found)


def _text(dice: random.Random, letters: int) -> str:
    return "".join(chr(dice.randrange(1, 0x3000)) for _ in range(letters))


def _uri(dice: random.Random, places: Sequence[str]) -> object:
    picture = dice.choice(PICTURES)
    return dice.choice(
        [
            lambda: "data:," + _text(dice, 9),
            lambda: "data:;base64," + base64.b64encode(mutated(dice, picture)).decode(),
            lambda: mutated(dice, b"data:;base64," + base64.b64encode(picture)).decode("latin-1"),
            lambda: mutated(dice, dice.choice(places).encode()).decode("latin-1"),
            lambda: dice.choice(places),
            lambda: dice.choice([None, 7, "", [], {}, "\ud800", "http://[", "file:///etc/passwd"]),
            lambda: "s3://photos/" + _text(dice, 5),
            lambda: "http://" + _text(dice, 9),
        ]
    )()


def _json_value(dice: random.Random, places: Sequence[str], depth: int = 0) -> object:
    leaf = [None, True, 0, -1, 1.5, 1e308, 10**20, "", "\0", "\ud800", "é", "{", "uri"]
    if depth > 3 or dice.random() < 0.3:
        return dice.choice(leaf)
    if dice.random() < 0.7:
        found = {str(dice.choice(leaf)): _json_value(dice, places, depth + 1) for _ in range(2)}
        return found | {"uri": _uri(dice, places)}
    return [_json_value(dice, places, depth + 1) for _ in range(dice.randrange(4))]


def json_bytes(dice: random.Random, places: Sequence[str]) -> bytes:
    return json.dumps(_json_value(dice, places)).encode()


def almost_json(dice: random.Random, places: Sequence[str]) -> bytes:
    return dice.choice(
        [
            mutated(dice, json_bytes(dice, places)),
            b"\xef\xbb\xbf" + json_bytes(dice, places),
            json_bytes(dice, places).decode().encode("utf-16"),
            b'{"uri": ' + b"1" * dice.choice([400, 5000]) + b"}",
            b'{"n": ' + dice.choice([b"NaN", b"1e999", b"-Infinity", b"01", b"1.", b"0x1"]) + b"}",
            b"[" + b"{}," * dice.choice([998, 999, 1000, 1001]) + b"{}]",
            b"[null" + b",null" * 999 + b"]",
        ]
    )


def nested(dice: random.Random, _places: Sequence[str]) -> bytes:
    deep = dice.choice([1, 63, 64, 65, 900, 990, 1000, 50_000])
    opening, closing = dice.choice([(b"[", b"]"), (b'{"uri":', b"}"), (b'[{"":', b"}]")])
    inside, ends = dice.choice([b"1", b"", b'"']), dice.choice([deep, deep - 1, 0])
    return opening * deep + inside + closing * ends


def accept(dice: random.Random) -> str:
    few = dice.choice([1, 2, 3, 300])
    return ",".join(dice.choice(RANGES) + dice.choice(WEIGHTS) for _ in range(few))


def _noise(dice: random.Random, _places: Sequence[str]) -> bytes:
    """Return anything but HTTP/1: bytes, text, TLS, HTTP/2 or a proxy's greeting."""
    return dice.choice(
        [
            dice.randbytes(dice.randrange(1, 2000)),
            bytes(dice.choices(b"\r\n\t :/GETPOSTHTTP1.10\0\xff", k=dice.randrange(1, 500))),
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + dice.randbytes(300),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + dice.randbytes(40),
            b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n" + PING,
            b"\r\n" * dice.randrange(1, 200) + dice.choice([b"", PING]),
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
    """Return too many or too long headers, invalid ones, and those that proxies add."""
    lines = [b"Host: x"]
    for _ in range(dice.choice([1, 2, 5])):
        lines += dice.choice(
            [
                [b"X-%d: y" % i for i in range(dice.choice([50, 101, 3000]))],
                [b"X-Long: " + b"a" * dice.choice([8000, 9000, 200_000])],
                [b"L" * dice.choice([100, 9000]) + b": x"],
                [dice.randbytes(10) + b": " + dice.randbytes(20)],
                [b"Accept: " + accept(dice).encode("latin-1", "replace")],
                *(dice.choices(HEADERS, k=2) for _ in range(6)),
            ]
        )
    dice.shuffle(lines)
    end = dice.choice([b"\r\n"] * 6 + SEPARATORS)
    start = dice.choice([b"GET /ping HTTP/1.1", b"POST /invocations HTTP/1.1", b"GET /x HTTP/1.0"])
    return end.join([start, *lines]) + dice.choice([b"\r\n\r\n"] * 6 + [b"\n\n", b"\r\n", b""])


def _chunked(dice: random.Random, _places: Sequence[str]) -> bytes:
    body = b""
    for _ in range(dice.choice([0, 1, 2, 20])):
        data = dice.choice([b"{}", b"", b"x" * 100, dice.randbytes(30)])
        size = b"%x" % len(data) if dice.random() < 0.9 else dice.choice(CHUNK_SIZES)
        for part in (size, data):
            body += part + dice.choice([b"\r\n"] * 30 + SEPARATORS)
    return _post(b"Transfer-Encoding: chunked", body + dice.choice(LAST_CHUNKS))


def _framed(dice: random.Random, _places: Sequence[str]) -> bytes:
    ends = [b"", b"{}", b'{"uri": "data:,"}', b"x" * 5000, *2 * [b"0\r\n\r\n", CHUNKED]]
    body = dice.choice(ends)
    names = dice.choices(CODING_NAMES, k=dice.choice([0, 1]))
    lines = [name + b": " + dice.choice(CODINGS) for name in names]
    for _ in range(dice.choice([0, 1, 1, 1, 2])):
        length = dice.choice(LENGTHS).replace("N", str(len(body))).encode()
        lines.append(dice.choice([b"Content-Length: ", b"Content-Length : "]) + length)
    dice.shuffle(lines)
    return _post(b"\r\n".join(lines), body + dice.choice([b"", INSIDE]))


def _valid(dice: random.Random, places: Sequence[str]) -> bytes:
    if dice.random() < 0.15:
        method = dice.choice([b"GET", b"GET", b"HEAD", b"POST", b"PUT", b"OPTIONS"])
        line = method + b" " + dice.choice(PATHS).encode() + b" HTTP/1.1\r\n"
        return line + b"Host: x\r\nContent-Length: 0\r\n\r\n"
    media_type = dice.choice(TYPES)
    if media_type.startswith("application/json"):
        make = dice.choice([json_bytes, json_bytes, nested, almost_json])
        body = make(dice, places)
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
    kinds = [_valid, _valid, _valid, _mutated, _request_line, _chunked, _framed]
    return b"".join(dice.choice(kinds)(dice, places) for _ in range(dice.randrange(2, 8)))


def _mutated(dice: random.Random, places: Sequence[str]) -> bytes:
    request = _valid(dice, places)
    head, end, body = request.partition(b"\r\n\r\n")
    return mutated(dice, head) + end + body if dice.random() < 0.7 else mutated(dice, request)


def _post(headers: bytes, body: bytes) -> bytes:
    return b"POST /invocations HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n\r\n" + body


_KINDS: dict[str, tuple[int, Callable[[random.Random, Sequence[str]], bytes]]] = {
    "noise": (10, _noise),
    "request line": (12, _request_line),
    "headers": (14, _headers),
    "chunked": (12, _chunked),
    "framed": (22, _framed),
    "pipelined": (12, _pipelined),
    "mutated": (12, _mutated),
    "valid": (25, _valid),
}

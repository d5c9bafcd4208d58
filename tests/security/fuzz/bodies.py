"""Make request bodies: broken photographs, JSON and almost JSON, addresses of all kinds."""

import base64
import json
import random
from collections.abc import Sequence

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

"""Records whose answers are known: each picture is one of a few, and no two are the same bytes."""

import base64
import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import simplejpeg

from support.cases import PHOTOS

# What a broken record is, and the code of its answer.
BROKEN = (
    (b"{}", "malformed_request"),
    (b"not json", "malformed_request"),
    (b"", "malformed_request"),  # an empty line is a record, too
    (b"[7]", "malformed_request"),
    (b'{"uri": "data:image/jpeg;base64,AAAA"}', "undecodable_image"),
    (b'{"uri": "http://169.254.169.254/"}', "uri_not_allowed"),
)
EVERY = 397  # one in so many is broken


@dataclass(frozen=True)
class Expected:
    """What a record's answer has to be: `uri` names the record, or `code` its error."""

    uri: str = ""
    picture: int = -1
    code: str = ""


def pictures() -> Sequence[bytes]:
    """Photographs of 32 x 32 pixels, as JPEG."""
    found = []
    for path in sorted(PHOTOS.iterdir()):
        pixels = cv2.imread(str(path))
        if pixels is not None:
            small = cv2.resize(pixels, (32, 32), interpolation=cv2.INTER_AREA)
            found.append(simplejpeg.encode_jpeg(small, quality=70, colorspace="BGR"))
    return found


def numbered(picture: bytes, number: int) -> bytes:
    """The same picture, with its number in a comment: other bytes, and so another `uri`."""
    text = b"%08d" % number
    return picture[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + picture[2:]


def records(count: int, seed: int = 7) -> tuple[bytes, Sequence[Expected]]:
    """An input object of `count` JSON lines, and what each is to be answered."""
    choose = random.Random(seed)  # noqa: S311 - no secret
    small = pictures()
    lines, expected = [], []
    for number in range(count):
        if number % EVERY == EVERY // 2:
            line, code = BROKEN[number // EVERY % len(BROKEN)]
            expected.append(Expected(code=code))
        else:
            picture = choose.randrange(len(small))
            data = numbered(small[picture], number)
            uri = f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
            line = json.dumps({"uri": uri}).encode()
            digest = hashlib.sha256(data).hexdigest()
            expected.append(Expected(f"sha256:{digest}", picture))
        lines.append(line + b"\n")
    return b"".join(lines), expected

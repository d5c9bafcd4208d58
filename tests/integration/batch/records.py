"""Records with known answers: a few pictures, each time with other bytes."""

import base64
import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import simplejpeg

from support.cases import PHOTOS

# A broken record and the code of its answer.
BROKEN = (
    (b"{}", "malformed_request"),
    (b"not json", "malformed_request"),
    (b"", "malformed_request"),  # an empty line is a record, too
    (b"[7]", "malformed_request"),
    (b'{"uri": "data:image/jpeg;base64,AAAA"}', "undecodable_image"),
    (b'{"uri": "http://169.254.169.254/"}', "uri_not_allowed"),
)
EVERY = 397  # one in 397 records is broken


@dataclass(frozen=True)
class Expected:
    """The right answer of a record: its `uri` and its picture's results, or the error `code`."""

    uri: str = ""
    picture: int = -1
    code: str = ""


def pictures() -> Sequence[bytes]:
    """Return the photographs as JPEGs of 32 x 32 pixels."""
    found = []
    for path in sorted(PHOTOS.iterdir()):
        pixels = cv2.imread(str(path))
        if pixels is not None:
            small = cv2.resize(pixels, (32, 32), interpolation=cv2.INTER_AREA)
            found.append(simplejpeg.encode_jpeg(small, quality=70, colorspace="BGR"))
    return found


def records(count: int, seed: int = 7) -> tuple[bytes, Sequence[Expected]]:
    """Return an input object of `count` JSON lines, and the right answer to each."""
    choose = random.Random(seed)  # noqa: S311 - not a secret
    small = pictures()
    lines, expected = [], []
    for number in range(count):
        if number % EVERY == EVERY // 2:
            line, code = BROKEN[number // EVERY % len(BROKEN)]
            expected.append(Expected(code=code))
        else:
            picture = choose.randrange(len(small))
            # The number in a comment makes other bytes, and so another `uri`.
            comment = b"\xff\xfe\0\x0a%08d" % number
            data = small[picture][:2] + comment + small[picture][2:]
            uri = f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
            line = json.dumps({"uri": uri}).encode()
            expected.append(Expected(f"sha256:{hashlib.sha256(data).hexdigest()}", picture))
        lines.append(line + b"\n")
    return b"".join(lines), expected

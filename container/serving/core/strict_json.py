"""Parse JSON strictly: finite numbers only, and the same depth of nesting on both faces."""

import json
import math
from codecs import BOM_UTF8
from itertools import accumulate
from typing import Any

from serving.core.errors import MalformedRequest

# Python's parser allows a depth that depends on the remaining stack, so it differs between faces.
MAX_DEPTH = 64

_STEPS = bytes.maketrans(b"[{]}", b"\2\2\0\0")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[{]}"))


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


_decoder = json.JSONDecoder(parse_constant=_finite, parse_float=_finite)  # constants: NaN, Infinity


def loads(text: bytes) -> Any:
    """Parse RFC 8259 JSON, with or without a byte order mark. Raises MalformedRequest."""
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        raise MalformedRequest(f"the JSON is nested more than {MAX_DEPTH} deep")
    try:
        return _decoder.decode(text.removeprefix(BOM_UTF8).decode())
    except UnicodeDecodeError:
        raise MalformedRequest("the body is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise MalformedRequest(f"the body is not JSON: {error}") from None
    except ValueError:  # from `_finite`, or an integer of more than 4,300 digits
        raise MalformedRequest("the body has a number that is not finite, or too long") from None


def _depth(text: bytes) -> int:
    """Return the depth of brackets outside strings, if the text is JSON.

    Without escaped quotes, every other piece between quotes is a string.
    """
    plain = text.replace(rb"\\", b"").replace(rb"\"", b"")
    steps = b"".join(plain.split(b'"')[::2]).translate(_STEPS, _NO_BRACKETS)
    return max(accumulate(steps, lambda depth, step: depth + step - 1, initial=0))

"""Compare the answers of two targets to one input. No I/O here."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from ops.answers import error_of, from_body
from ops.local_servers import HttpReply
from ops.targets import SERVED_BY

# With the same artifact and library, probabilities differed by at most 1e-6 between CPUs
# (docs/06-performance.md); other kernels may differ a thousand times as much.
TOLERANCE = 1e-5
NUMERICS = 1e-3
# A URI's query may be a signature, and answers repeat the URI.
_QUERY = re.compile(r"((?:https?|s3)://[^\s?]*)\?\S*", re.IGNORECASE)


@dataclass(frozen=True)
class TimedAnswer:
    """Hold the answer of one target to one input, and the time of every call.

    `sha256` is the body's. `value` is its JSON, a list for JSON lines, with URIs' queries removed.
    `others` counts further, different answers to the same input. `forwarded` says that a function
    forwarded every call.
    """

    status: int
    sha256: str
    value: Any
    milliseconds: Sequence[float]
    others: int = 0
    forwarded: bool = False

    @classmethod
    def of(cls, replies: Sequence[HttpReply]) -> "TimedAnswer":
        different = list({(reply.status, reply.body): reply for reply in replies}.values())
        answer = from_body(different[0].status, different[0].body)
        sha256 = hashlib.sha256(different[0].body).hexdigest()
        times = tuple(round(reply.seconds * 1000, 1) for reply in replies)
        value = _without_queries(answer.value)
        forwarded = all(reply.headers.get(SERVED_BY) == "sagemaker" for reply in replies)
        return cls(answer.status, sha256, value, times, len(different) - 1, forwarded)

    @property
    def median_ms(self) -> float:
        return round(median(self.milliseconds), 1)

    @property
    def error(self) -> Mapping[str, Any]:
        return error_of(self.value)


@dataclass(frozen=True)
class Difference:
    """Hold the difference of two answers. `places` has a line for each one beyond the tolerance.

    `largest` is the largest between two numbers. `is_small` says that another CPU's arithmetic may
    be the cause: close numbers, the same text.
    """

    exact: bool
    largest: float = 0.0
    places: tuple[str, ...] = ()
    is_small: bool = True

    @property
    def same(self) -> bool:
        return not self.places


def compare(left: TimedAnswer, right: TimedAnswer, tolerance: float = TOLERANCE) -> Difference:
    if (left.status, left.sha256) == (right.status, right.sha256):
        return Difference(exact=True)
    found = list(differences(left.value, right.value))
    sizes = [size for _, size in found if size is not None]
    # NaN <= tolerance is false, so NaN counts as a difference.
    places = [text for text, size in found if size is None or not size <= tolerance]
    if left.status != right.status:
        places.insert(0, f"status {left.status} ≠ {right.status}")
    is_small = left.status == right.status and all(size <= NUMERICS for size in sizes)
    is_small = is_small and sorted(_words(left.value)) == sorted(_words(right.value))
    return Difference(False, max([0.0, *sizes]), tuple(places), is_small)


def differences(left: Any, right: Any, path: str = "") -> Iterator[tuple[str, float | None]]:
    """Yield each difference of two JSON values: a line, and the size if both are numbers.

    Probabilities are strings that hold numbers. Errors are compared by code, not by message.
    """
    if isinstance(left, dict) and isinstance(right, dict) and left.keys() == right.keys():
        for key in left:
            yield from differences(left[key], right[key], f"{path}.{key}".lstrip("."))
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for index, (one, other) in enumerate(zip(left, right)):
            yield from differences(one, other, f"{path}[{index}]")
    elif left != right and not path.endswith("error.message"):
        one, other = _number(left), _number(right)
        text = f"{path} {_short(left)} ≠ {_short(right)}".strip()
        size = None if one is None or other is None else abs(one - other)
        yield (text if size is None else f"{text} ({size:.1e})"), size


def _without_queries(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_queries(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_without_queries(part) for part in value]
    return _QUERY.sub(r"\1?…", value) if isinstance(value, str) else value


def _number(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool) else float(value)
    except (ValueError, TypeError, OverflowError):
        return None


def _words(value: Any) -> Iterator[str]:
    """Yield every leaf that is not a number."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _words(part)
    elif _number(value) is None:
        yield str(value)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:59]}…"

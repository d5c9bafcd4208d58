"""What a target answered to one input, and how far another's answer is from it. No I/O here."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from ops.answers import from_body
from ops.faces import Reply

# Between CPUs, of one artifact and one library, probabilities were never measured further apart
# than 1e-6 (docs/06-performance.md); a thousand times that may still be an engine's kernels.
TOLERANCE = 1e-5
NUMERICS = 1e-3
# A URI may be signed, and answers and their messages have it again.
_QUERY = re.compile(r"((?:https?|s3)://[^\s?]*)\?\S*", re.IGNORECASE)


@dataclass(frozen=True)
class Heard:
    """One target's answer to one input, and the time of every call.

    `sha256` is that of the body's bytes. `value` is its JSON, of JSON lines a list; without what
    follows the '?' of a URI.
    """

    status: int
    sha256: str
    value: Any
    milliseconds: tuple[float, ...]
    others: int = 0
    """How many more answers, of other bytes, the same input had."""

    @classmethod
    def of(cls, replies: Sequence[Reply]) -> "Heard":
        bodies = list({(reply.status, reply.body): reply for reply in replies}.values())
        status, value = _value(bodies[0])
        sha256 = hashlib.sha256(bodies[0].body).hexdigest()
        times = tuple(round(reply.seconds * 1000, 1) for reply in replies)
        return cls(status, sha256, value, times, len(bodies) - 1)

    @property
    def median_ms(self) -> float:
        return round(median(self.milliseconds), 1)

    @property
    def error(self) -> dict[str, Any]:
        """The contract's error object, empty where this is none."""
        said = self.value.get("error") if isinstance(self.value, dict) else None
        return said if isinstance(said, dict) else {}


@dataclass(frozen=True)
class Difference:
    """Between two answers. `places` are those beyond the tolerance, each as one line."""

    exact: bool
    largest: float = 0.0
    """The largest difference of two numbers, within the tolerance or not."""
    places: tuple[str, ...] = ()
    is_small: bool = True
    """Whether two CPUs' arithmetic could make it: numbers nearly equal, and words but reordered."""

    @property
    def same(self) -> bool:
        return not self.places


def compare(left: Heard, right: Heard, tolerance: float = TOLERANCE) -> Difference:
    if (left.status, left.sha256) == (right.status, right.sha256):
        return Difference(exact=True)
    places, sizes = [], [0.0]
    if left.status != right.status:
        places.append(f"status {left.status} ≠ {right.status}")
    for path, size, text in differences(left.value, right.value):
        if size is not None:
            sizes.append(size)
        if size is None or not size <= tolerance:  # NaN is no small difference
            places.append(f"{path} {text}".strip())
    is_small = (
        left.status == right.status
        and all(size <= NUMERICS for size in sizes)
        and Counter(_words(left.value)) == Counter(_words(right.value))
    )
    return Difference(False, max(sizes), tuple(places), is_small)


def differences(left: Any, right: Any, path: str = "") -> Iterator[tuple[str, float | None, str]]:
    """Where two JSON values differ: the path, how much if both are numbers, both values.

    A probability is text that reads as a number. An error's message is for people: what it says
    may change while its code does not.
    """
    if isinstance(left, dict) and isinstance(right, dict) and left.keys() == right.keys():
        for key in left:
            yield from differences(left[key], right[key], f"{path}.{key}".lstrip("."))
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for index, (one, other) in enumerate(zip(left, right)):
            yield from differences(one, other, f"{path}[{index}]")
    elif left != right and not path.endswith("error.message"):
        one, other = _number(left), _number(right)
        size = abs(one - other) if one is not None and other is not None else None
        text = f"{_short(left)} ≠ {_short(right)}"
        yield path, size, text if size is None else f"{text} ({size:.1e})"


def _value(reply: Reply) -> tuple[int, Any]:
    if reply.status == 200:
        try:
            text = reply.body.decode()
            lines = text.splitlines()
            value = json.loads(text) if len(lines) < 2 else [json.loads(line) for line in lines]
            return 200, _without_queries(value)
        except ValueError:
            pass  # JSON laid out over lines, or a page of somebody in between
    answer = from_body(reply.status, reply.body)
    return answer.status, _without_queries(answer.value)


def _without_queries(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_queries(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_without_queries(part) for part in value]
    return _QUERY.sub(r"\1?…", value) if isinstance(value, str) else value


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _words(value: Any) -> Iterator[str]:
    """Every leaf that is no number."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _words(part)
    elif _number(value) is None:
        yield str(value)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:59]}…"

"""Compare a target's answer with the expected one. Nothing here does I/O."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

_TOLERANCE = 1e-5  # between CPUs, probabilities of one artifact differ by at most 1e-6


@dataclass(frozen=True)
class Answer:
    """A status, a body and the identity header, which is None if the target cannot send it."""

    status: int
    body: bytes
    identity: str | None


def difference(expected: Answer, given: Answer, *, of_bodies: bool = True) -> str:
    """Return the first difference in words, or an empty string."""
    if given.status != expected.status:
        return f"status {given.status} instead of {expected.status}"
    if given.identity not in (None, expected.identity):
        return f"it is {given.identity!r} instead of {expected.identity!r}"
    if not of_bodies or given.body == expected.body:
        return ""
    return next(_differences(_value(expected.body), _value(given.body)), "")


def _value(body: bytes) -> Any:
    """Return JSON, a list for JSON lines, or the bytes themselves."""
    with suppress(ValueError):
        return json.loads(body)
    with suppress(ValueError):
        return [json.loads(line) for line in body.splitlines()]
    return body


def _differences(expected: Any, given: Any, place: str = "the answer") -> Iterator[str]:
    if isinstance(expected, dict) and isinstance(given, dict) and expected.keys() == given.keys():
        for name, value in expected.items():
            yield from _differences(value, given[name], name)
    elif isinstance(expected, list) and isinstance(given, list) and len(expected) == len(given):
        for one, other in zip(expected, given):
            yield from _differences(one, other, place)
    elif expected != given:
        one, other = _number(expected), _number(given)
        # The condition is negated because comparisons with NaN are false.
        if one is None or other is None or not abs(one - other) <= _TOLERANCE:
            yield f"{place} {_short(given)} instead of {_short(expected)}"


def _number(value: Any) -> float | None:
    """Return the number in a value or text, or None."""
    try:
        return None if isinstance(value, bool) else float(value)
    except (ValueError, TypeError):
        return None


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"

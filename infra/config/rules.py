"""Rules for the values of context keys, each with words that complete "it must be ..."."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Generic, TypeVar

T = TypeVar("T")

# SageMaker's limit for the value of an environment variable.
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ContainerDefinition.html
MAX_ENVIRONMENT_VALUE = 1024


@dataclass(frozen=True)
class Rule(Generic[T]):
    """Parse a key's value, and say what is allowed."""

    allowed: str  # completes the sentence "it must be ..."
    parse: Callable[[str], T | None]  # returns None for an invalid text
    many: bool = False  # the value is a list: separated by commas, or a JSON list in cdk.json
    hint: Callable[[str], str] = lambda _: ""  # for an invalid text


def one_of(*choices: T) -> Rule[T]:
    by_text = {str(choice): choice for choice in choices}
    return Rule(f"one of {', '.join(by_text)}", by_text.get)


def name_of(names: Sequence[str], allowed: str) -> Rule[str]:
    """Return a rule for one of many names, which suggests the nearest ones for a misspelt name."""

    def hint(text: str) -> str:
        near = get_close_matches(text, names)
        return f"; did you mean {' or '.join(near)}?" if near else ""

    return Rule(allowed, {name: name for name in names}.get, hint=hint)


def whole(low: int, high: int) -> Rule[int]:
    def parse(text: str) -> int | None:
        # int() raises an error for more than 4,300 digits; nine are enough for every limit here.
        number = int(text) if re.fullmatch("[0-9]{1,9}", text) else low - 1
        return number if low <= number <= high else None

    return Rule(f"a whole number from {low} to {high}", parse)


def boolean() -> Rule[bool]:
    """Return a rule for a switch. `-c KEY=false` arrives as text, which Python treats as true."""
    return Rule("true or false", {"true": True, "false": False}.get)


def matching(pattern: str, allowed: str) -> Rule[str]:
    return Rule(allowed, lambda text: text if re.fullmatch(pattern, text) else None)


def list_of(pattern: str, items: str, most: int) -> Rule[tuple[str, ...]]:
    """Return a rule for 1 to `most` items that together fit into one environment variable."""

    def parse(text: str) -> tuple[str, ...] | None:
        found = tuple(dict.fromkeys(item.strip() for item in text.split(",")))
        fits = len(found) <= most and len(",".join(found)) <= MAX_ENVIRONMENT_VALUE
        return found if fits and all(re.fullmatch(pattern, item) for item in found) else None

    return Rule(f"{items}, separated by commas", parse, many=True)

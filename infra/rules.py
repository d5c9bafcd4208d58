"""What the value of a context key may be: strict, and in words that complete "it must be ..."."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Generic, TypeVar

T = TypeVar("T")

# SageMaker's limit for one environment value, and so of everything that becomes one.
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ContainerDefinition.html
MAX_ENVIRONMENT_VALUE = 1024


@dataclass(frozen=True)
class Rule(Generic[T]):
    """What a key's value may be."""

    allowed: str
    """Completes the sentence "it must be ..."."""
    parse: Callable[[str], T | None]
    """The value that a text means, or None where the text breaks the rule."""
    many: bool = False
    """Whether the value is a list: separated by commas, or a list of texts in cdk.json."""
    hint: Callable[[str], str] = lambda _: ""
    """What is added to `allowed` for a text that breaks the rule."""


def one_of(choices: Iterable[str]) -> Rule[str]:
    return Rule(f"one of {', '.join(choices)}", lambda text: text if text in choices else None)


def name_of(names: Sequence[str], allowed: str) -> Rule[str]:
    """One of many names, too many to be listed: a misspelt one gets the nearest."""

    def hint(text: str) -> str:
        near = get_close_matches(text, names)
        return f"; did you mean {' or '.join(near)}?" if near else ""

    return Rule(allowed, lambda text: text if text in names else None, hint=hint)


def one_number_of(choices: Iterable[int]) -> Rule[int]:
    numbers = {str(number): number for number in choices}
    return Rule(f"one of {', '.join(numbers)}", numbers.get)


def whole(low: int, high: int) -> Rule[int]:
    def parse(text: str) -> int | None:
        # Nine digits hold every limit here, and int() refuses thousands of them with a traceback.
        number = int(text) if re.fullmatch("[0-9]{1,9}", text) else low - 1
        return number if low <= number <= high else None

    return Rule(f"a whole number from {low} to {high}", parse)


def boolean() -> Rule[bool]:
    """`-c KEY=false` arrives as a text, which Python would call true."""
    return Rule("true or false", {"true": True, "false": False}.get)


def matching(pattern: str, allowed: str) -> Rule[str]:
    return Rule(allowed, lambda text: text if re.fullmatch(pattern, text) else None)


def list_of(pattern: str, allowed: str, most: int) -> Rule[tuple[str, ...]]:
    """One item to `most`, each once, which together fit into one environment value."""

    def parse(text: str) -> tuple[str, ...] | None:
        items = tuple(dict.fromkeys(item.strip() for item in text.split(",")))
        fits = len(items) <= most and len(",".join(items)) <= MAX_ENVIRONMENT_VALUE
        return items if fits and all(re.fullmatch(pattern, item) for item in items) else None

    return Rule(allowed, parse, many=True)

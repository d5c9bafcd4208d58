"""Rules for the values of context keys, each with words that complete "it must be ..."."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Generic, TypeVar

T = TypeVar("T")

# SageMaker's limit for one environment value, and so of everything that becomes one.
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ContainerDefinition.html
MAX_ENVIRONMENT_VALUE = 1024


@dataclass(frozen=True)
class Rule(Generic[T]):
    """Parse a key's value, and say what is allowed."""

    allowed: str  # completes the sentence "it must be ..."
    parse: Callable[[str], T | None]  # None for a text that breaks the rule
    many: bool = False  # a list: separated by commas, or a list of texts in cdk.json
    hint: Callable[[str], str] = lambda _: ""  # for a text that breaks the rule


def one_of(*choices: T) -> Rule[T]:
    """Return a rule for one of few texts or numbers."""
    by_text = {str(choice): choice for choice in choices}
    return Rule(f"one of {', '.join(by_text)}", by_text.get)


def name_of(names: Sequence[str], allowed: str) -> Rule[str]:
    """Return a rule for one of many names; a misspelt one gets the nearest as a hint."""

    def hint(text: str) -> str:
        near = get_close_matches(text, names)
        return f"; did you mean {' or '.join(near)}?" if near else ""

    return Rule(allowed, {name: name for name in names}.get, hint=hint)


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


def list_of(pattern: str, items: str, most: int) -> Rule[tuple[str, ...]]:
    """One item to `most`, each once, which together fit into one environment value."""

    def parse(text: str) -> tuple[str, ...] | None:
        found = tuple(dict.fromkeys(item.strip() for item in text.split(",")))
        fits = len(found) <= most and len(",".join(found)) <= MAX_ENVIRONMENT_VALUE
        return found if fits and all(re.fullmatch(pattern, item) for item in found) else None

    return Rule(f"{items}, separated by commas", parse, many=True)

"""Shared arguments and output of the commands."""

import argparse
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.status import Status
from rich.text import Text

from ops.aws import STACK_NAME, CannotAsk
from ops.local_servers import ROOT


def cdk_context(app: Path) -> Mapping[str, Any]:
    """Return the context in an app folder's cdk.json; it may be empty. Raise CannotAsk."""
    path = app / "cdk.json"
    try:
        context = json.loads(path.read_bytes()).get("context") if path.is_file() else None
    except (ValueError, AttributeError) as error:
        raise CannotAsk(f"{path} is not a JSON object: {error}", "correct it") from None
    return context or {}


def add_stack_arguments(parser: argparse.ArgumentParser) -> None:
    name = cdk_context(ROOT).get("stack_name", STACK_NAME)
    parser.add_argument("--stack", default=name, help="the stack (default: %(default)s)")
    parser.add_argument("--region", help="default: AWS_REGION, the profile's, or us-east-1")


def add_docker_argument(parser: argparse.ArgumentParser, text: str) -> None:
    text += " (default: one-image, which `make image` builds)"
    parser.add_argument("--docker", nargs="?", const="one-image", metavar="IMAGE", help=text)


def add_json_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")


def number(
    kind: Callable[[str], float], low: float, high: float, must_be: str
) -> Callable[[str], Any]:
    """Return an option's type for numbers from `low` to `high`; `must_be` describes them."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not {must_be}")
        return value

    return parse


COUNT = number(int, 1, math.inf, "a whole number of 1 or more")
Tell = Callable[[str], None]  # shows a command's progress


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # rich would exit with 1, the status of a failed check


def console(*, stderr: bool = False) -> Console:
    """Return a console that prints brackets and colons as they are."""
    return _Console(stderr=stderr, markup=False, emoji=False, highlight=False)


class Spinner(Status):
    """Show a text on a terminal while a block runs; `tell` changes the text."""

    def __init__(self, text: str = "") -> None:
        super().__init__(Text(text), console=console(stderr=True))

    def tell(self, text: str) -> None:
        self.update(Text(text))

    def __enter__(self) -> Self:
        self.start()
        return self


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_plain(text: str, style: str | None = None) -> None:
    """Print text without wrapping it or reading markup."""
    console().out(text, style=style)


def print_error(message: str) -> None:
    console(stderr=True).print(f"error: {message}", style="red", soft_wrap=True)

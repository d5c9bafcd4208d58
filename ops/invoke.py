"""`python -m ops invoke IMAGE...`: ask the deployed stack, wherever it serves at the moment.

The same command works before, during and after a move between Lambda and SageMaker: the target is
found from the stack's outputs, and its errors are told alike.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table

from ops.answers import Answer, classes_of, media_type
from ops.aws import (
    AWS_ERRORS,
    Aws,
    CannotAsk,
    add_stack_arguments,
    explain,
    stack_outputs,
)
from ops.local import Picture, read
from ops.targets import OUTPUTS, Target, connect

EXAMPLES = """\
examples:
  python -m ops invoke cat.jpg                     the endpoint if there is one, else the function
  python -m ops invoke cat.jpg dog.png --json      one answer a line
  python -m ops invoke https://example.com/cat.jpg the container fetches it
  python -m ops invoke cat.jpg --target lambda     while the stack has both

exit status: 0 answered; 1 an answer was an error; 2 the stack could not be asked
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="a file, or the https:, http:, s3: or data: URI of one",
    )
    add_stack_arguments(parser)
    parser.add_argument("--target", choices=sorted(OUTPUTS), help="which, of a stack that has both")
    parser.add_argument(
        "--wait",
        type=int,
        default=900,
        metavar="SECONDS",
        help="how long for an asynchronous endpoint's answer (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print one answer a line, nothing else")


def run(options: argparse.Namespace) -> int:
    """Exit status 0: every image was answered; 1: an answer was an error; 2: could not ask."""
    errors = Console(stderr=True)
    try:
        pictures = [picture_of(place) for place in options.images]
        aws = Aws(options.region)
        status = errors.status("")
        target = connect(
            aws,
            stack_outputs(aws, options.stack),
            options.target,
            wait_seconds=options.wait,
            tell=lambda text: status.update(escape(text)),
        )
        return ask(target, pictures, status, as_json=options.json)
    except OSError as error:
        say = f"{error.filename}: {error.strerror}"
    except CannotAsk as error:
        say = str(error)
    except AWS_ERRORS as error:  # before any call: a profile or a configuration that is none
        say = str(explain(error, "sts:GetCallerIdentity"))
    errors.print(f"error: {say}", style="red", markup=False, highlight=False, soft_wrap=True)
    return 2


def picture_of(place: str) -> Picture:
    """What is sent for a file or a URI. Raises OSError."""
    picture = read(place)
    is_uri = picture.content_type == "application/json"
    return picture if is_uri else replace(picture, content_type=media_type(picture.body))


def ask(target: Target, pictures: Sequence[Picture], status: Status, *, as_json: bool) -> int:
    """Print the answers as they come, in order. Raises CannotAsk."""
    console = Console()
    worst = 0
    for picture in pictures:
        started = time.perf_counter()
        with status:  # which ends before anything is printed
            status.update(escape(f"asking {target.name} about {picture.name}"))
            answer = target.send(picture)
        seconds = time.perf_counter() - started
        worst = max(worst, 0 if answer.ok else 1)
        if as_json:
            console.out(answer.text, highlight=False)
        else:
            show(picture, answer, f"{target.name}, {seconds:.2f} s", console)
    return worst


def show(picture: Picture, answer: Answer, by: str, console: Console) -> None:
    """The classes as a table; an error, or another model's answer, as it is."""
    console.print(picture.name, style="bold", markup=False, highlight=False, end=" ")
    console.print(f"({by})", markup=False, highlight=False, soft_wrap=True)
    if answer.ok and (classes := classes_of(answer.value)):
        table = Table(show_header=False)
        for label, prob in classes:
            table.add_row(escape(label), prob)
        console.print(table)
    elif answer.error and not answer.ok:
        code, message = answer.error["code"], answer.error["message"]
        text = f"error {answer.status} {code}: {message}"
        console.print(text, style="red", markup=False, highlight=False, soft_wrap=True)
    else:
        console.out(json.dumps(answer.value, indent=2, ensure_ascii=False), highlight=False)

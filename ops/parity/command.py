"""`python -m ops parity`: ask two targets the same and say whether, and why not, they are the same.

By default the function and the endpoint of the deployed stack. Nothing is changed anywhere.
"""

import argparse
import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from ops import doctor
from ops.aws import AWS_ERRORS, CannotAsk, add_stack_arguments, explain
from ops.faces import FaceError
from ops.local import Picture
from ops.parity import inputs, page, recording
from ops.parity.asking import ask
from ops.parity.comparing import TOLERANCE, Heard
from ops.parity.comparison import STACKS_OWN, chosen, concluded
from ops.parity.facts import Facts, unique
from ops.parity.recording import Recording
from ops.parity.report import Report, lines_of, table
from ops.parity.sides import GRAMMAR, Opener, Side

EXAMPLES = f"""\
examples:
  python -m ops parity                             the deployed stack: its function and its endpoint
  python -m ops parity --html parity.html          and a page with pictures, differences, latencies
  python -m ops parity --local                     both faces on this machine, without AWS
  python -m ops parity --inputs photos/            your own pictures, or a file of JSON lines
  python -m ops parity --function                  the function by lambda:InvokeFunction
  python -m ops parity --left stack:Staging:lambda --right stack:Production:lambda
  python -m ops parity --record before.json        keep the answers, of one target too; then later
  python -m ops parity --against before.json       whether they are still the same

targets of --left and --right:
{GRAMMAR}
exit status: 0 the same; 1 a skew was found; 2 it could not be told
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    add_stack_arguments(parser)
    for option, value, what in (
        ("--lambda-url", "URL", "a function's URL"),
        ("--function", "NAME", "a function by its name or ARN"),
        ("--endpoint", "NAME", "a SageMaker endpoint"),
    ):
        parser.add_argument(
            option,
            nargs="?",
            const=STACKS_OWN,
            metavar=value,
            help=f"{what} (default: the stack's)",
        )
    parser.add_argument("--local", action="store_true", help="both faces, as processes")
    parser.add_argument("--left", metavar="TARGET", help="any target, see below")
    parser.add_argument("--right", metavar="TARGET", help="another one")
    parser.add_argument("--inputs", type=Path, metavar="PATH", help="a folder, or JSON lines")
    parser.add_argument("--repeats", type=_count, default=5, metavar="N", help="calls of an input")
    parser.add_argument(
        "--tolerance",
        type=_tolerance,
        default=TOLERANCE,
        help="how far two probabilities may be apart (default: %(default)s)",
    )
    parser.add_argument("--record", type=Path, metavar="FILE", help="keep the first one's answers")
    parser.add_argument("--against", type=Path, metavar="FILE", help="compare with what was kept")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page, all in one file")
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")


def run(options: argparse.Namespace) -> int:
    """Exit status 0: the same; 1: a skew; 2: a target is missing, in motion, or cannot be asked."""
    errors = Console(stderr=True)
    try:
        return compared(options, errors)
    except OSError as error:
        say = f"{error.filename}: {error.strerror}"
    except (CannotAsk, FaceError) as error:
        say = str(error)
    except AWS_ERRORS as error:  # before any call: a profile or a configuration that is none
        say = str(explain(error, "sts:GetCallerIdentity"))
    errors.print(f"error: {say}", style="red", markup=False, highlight=False, soft_wrap=True)
    return 2


def compared(options: argparse.Namespace, errors: Console) -> int:
    """Raises CannotAsk, FaceError, OSError and AWS_ERRORS."""
    pictures = inputs.of_user(options.inputs) if options.inputs else inputs.shipped()
    before = Recording.read(options.against) if options.against else None
    salt = before.salt if before else recording.new_salt()
    with ExitStack() as stack:
        opener = Opener(stack, options.region, salt)
        with errors.status("looking for the targets"):
            sides = chosen(options, opener)
        facts, heard = _asked(sides, pictures, options.repeats, errors)
    if options.record:
        answers = [(picture, row[0]) for picture, row in zip(pictures, heard)]
        recording.write(options.record, facts[0], salt, answers)
        errors.print(f"{options.record} has the answers of {facts[0].name}", markup=False)
    if before:
        facts = [before.facts, *facts]
        heard = [[before.answer(picture), *row] for picture, row in zip(pictures, heard)]
    if len(facts) == 1:
        return 0
    with errors.status("asking the registry"):
        report = concluded(unique(facts), pictures, heard, opener, options)
    if options.html:
        options.html.write_text(page.of(report), encoding="utf-8")
    show(report, as_json=options.json)
    return report.status


def show(report: Report, *, as_json: bool) -> None:
    """Markdown on a terminal too: what is read there is what is pasted."""
    console = Console()
    if as_json:
        console.out(json.dumps(report.as_json(), indent=2, ensure_ascii=False), highlight=False)
        return
    console.out(f"**{report.title}**\n", highlight=False)
    for name, finding in report.checks.items():
        console.out(lines_of(finding, name), style=doctor.STYLES[finding.state], highlight=False)
    console.out(f"\n{table(report)}\n", highlight=False)
    style = {0: "green", 1: "red", 2: "yellow"}[report.status]
    console.out(report.verdict, style=style, highlight=False)


def _asked(
    sides: Sequence[Side], pictures: Sequence[Picture], repeats: int, errors: Console
) -> tuple[list[Facts], list[list[Heard]]]:
    """With a progress bar, on a terminal."""
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as progress:
        bar = progress.add_task("asking", total=len(pictures) * repeats * len(sides))

        def tick(name: str) -> None:
            progress.update(bar, advance=1, description=f"asking about {escape(name[:40])}")

        return ask(sides, pictures, repeats, tick)


def _count(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= 1000):
        raise argparse.ArgumentTypeError("it must be a whole number from 1 to 1000")
    return int(text)


def _tolerance(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError("it must be from 0 to less than 1")
    return value

"""`python -m ops parity`: compare two targets, by default the function and endpoint of the stack.

It compares image, model, settings and every answer, and names the cause of a difference. It changes
nothing.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from secrets import token_bytes

from ops import cli
from ops.aws import Aws, CannotAsk, stack_outputs
from ops.commands.doctor.stack import StackChecks
from ops.findings import Check, Finding
from ops.inputs import default_exam, read_inputs
from ops.manifests import ecr_image, split_image
from ops.parity import page, recording
from ops.parity.checks import Row, compare_targets, compare_with_registry
from ops.parity.compare import TOLERANCE, compare
from ops.parity.facts import Facts, numbered
from ops.parity.recording import Recording
from ops.parity.report import Report, answer_list, list_item, table
from ops.parity.targets import NAMES, Opener, OpenTarget, ask
from ops.targets import targets_of

EXAMPLES = f"""\
examples:
  python -m ops parity                             the deployed stack: its function and its endpoint
  python -m ops parity --html parity.html          also as a page with pictures and latencies
  python -m ops parity --local                     both faces on this machine, without AWS
  python -m ops parity --local --inputs cat.jpg    your own pictures, a folder, JSON lines, URIs
  python -m ops parity --function                  the function by lambda:InvokeFunction
  python -m ops parity --left stack:Staging:lambda --right stack:Production:lambda
  python -m ops parity --record before.json        record the answers, also of a single target
  python -m ops parity --against before.json       compare later answers with the recording

targets of --left and --right:
{NAMES}
exit status: 0 the same; 1 a skew was found; 2 inconclusive
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    cli.add_stack_arguments(parser)
    add = parser.add_argument
    for option, value, text in (
        ("--lambda-url", "URL", "a function's URL (default: the stack's)"),
        ("--function", "NAME", "a function by its name or ARN (default: the stack's)"),
        ("--endpoint", "NAME", "a SageMaker endpoint (default: the stack's)"),
    ):
        add(option, nargs="?", const="", metavar=value, help=text)
    add("--local", action="store_true", help="both faces as processes; shows their answers")
    cli.add_docker_argument(parser, "both faces as containers of this image; shows their answers")
    add("--left", metavar="TARGET", help="any target; see below")
    add("--right", metavar="TARGET", help="another one")
    add("--inputs", nargs="+", metavar="PATH", help="pictures, folders, JSON lines, or URIs")
    count = cli.number(int, 1, 1000, "a whole number from 1 to 1000")
    add("--repeats", type=count, default=5, metavar="N", help="calls of an input")
    tolerance = cli.number(float, 0, math.nextafter(1, 0), "a number from 0 to less than 1")
    text = "the largest difference allowed between probabilities (default: %(default)s)"
    add("--tolerance", type=tolerance, default=TOLERANCE, help=text)
    add("--record", type=Path, metavar="FILE", help="record the answers of the first target")
    add("--against", type=Path, metavar="FILE", help="compare with a recording")
    add("--html", type=Path, metavar="FILE", help="write a self-contained HTML page")
    cli.add_json_argument(parser)


def run(options: argparse.Namespace) -> int:
    """Return 0 for the same, 1 for a skew, 2 if it is inconclusive. Raise CannotAsk."""
    items = read_inputs(options.inputs) if options.inputs else default_exam()
    before = Recording.read(options.against) if options.against else None
    salt = before.salt if before else token_bytes(16)
    aws = Aws(options.region)
    with ExitStack() as stack:
        targets = open_targets(options, aws, Opener(stack, aws, salt))
        with cli.Spinner("asking") as spinner:
            facts, answers = ask(targets, items, options.repeats, spinner.tell)
    if options.record:
        kept = [(item, row[0]) for item, row in zip(items, answers)]
        recording.write(options.record, facts[0], salt, kept)
        print(f"{options.record} has the answers of {facts[0].name}", file=sys.stderr)
    if before:
        facts = [before.facts, *facts]
        answers = [[before.answer(item), *row] for item, row in zip(items, answers)]
    if len(facts) == 1:
        return 0
    rows = [
        Row(item, row, [compare(row[0], other, options.tolerance) for other in row[1:]])
        for item, row in zip(items, answers)
    ]
    with cli.Spinner("asking the registry"):
        found = compare_targets(numbered(facts), rows, options.tolerance)
        found |= {check.name: check.run() for check in deployment_checks(aws, facts)}
    day = datetime.now(UTC).date().isoformat()
    report = Report(numbered(facts), rows, found, options.tolerance, day)
    if options.html:
        options.html.write_text(page.render(report), encoding="utf-8")
    if options.json:
        cli.print_json(report.as_json())
    else:
        show(report, answers=options.local or bool(options.docker))
    return report.status


def open_targets(options: argparse.Namespace, aws: Aws, opener: Opener) -> list[OpenTarget]:
    """Open two targets; with a recording, also a single one that is named or deployed.

    Raise CannotAsk, FaceError and AWS_ERRORS.
    """
    one_is_enough = bool(options.record or options.against)
    names = [name for name in (options.left, options.right) if name]
    if len(names) == 1 and not one_is_enough:
        why = f"{names[0]} needs a second target to compare with"
        raise CannotAsk(why, "give both --left and --right")
    if not names and options.docker:
        names = [f"image:{options.docker}:{face}" for face in ("lambda", "http")]
    elif not names and options.local:
        names = ["local:lambda", "local:http"]
    if names:
        return [opener.open(name) for name in names]
    url, function, endpoint = options.lambda_url, options.function, options.endpoint
    wanted = ["lambda", "sagemaker"]
    if one_is_enough:
        named = ["lambda"] * (url is not None or function is not None)
        named += ["sagemaker"] * (endpoint is not None)
        wanted = named or targets_of(stack_outputs(aws, options.stack)) or wanted
    targets = []
    own = f"stack:{options.stack}"
    if "lambda" in wanted and url:
        targets.append(opener.function_by_url(url, function or ""))
    elif "lambda" in wanted:
        by = "lambda" if function is None else "function"
        targets.append(opener.open(f"lambda:{function}" if function else f"{own}:{by}"))
    if "sagemaker" in wanted:
        targets.append(opener.open(f"sagemaker:{endpoint}" if endpoint else f"{own}:sagemaker"))
    return targets


def deployment_checks(aws: Aws, targets: Sequence[Facts]) -> Iterator[Check]:
    """Yield checks of each stack: its image tag in ECR, and the endpoint's configuration."""
    stacks = list(dict.fromkeys(target.stack for target in targets if target.stack))
    for stack in stacks:
        suffix = f" of {stack}" if len(stacks) > 1 else ""
        its = [target for target in targets if target.stack == stack]
        yield Check(f"registry{suffix}", partial(_registry, aws, stack, its), "ecr:BatchGetImage")
        if any(target.label == "SageMaker" for target in its):
            check = StackChecks(aws, stack).endpoint
            yield Check(f"endpoint config{suffix}", check, StackChecks.ENDPOINT_ACTIONS)


def _registry(aws: Aws, stack: str, targets: Sequence[Facts]) -> Finding:
    uri = stack_outputs(aws, stack).get("ImageUri", "")
    return compare_with_registry(targets, ecr_image(aws, *split_image(uri)))


def show(report: Report, *, answers: bool) -> None:
    """Print Markdown, also on a terminal, to be pasted."""
    cli.print_plain(f"**{report.title}**\n")
    for name, finding in report.checks.items():
        cli.print_plain(list_item(finding, name), finding.state.style)
    if answers:
        cli.print_plain("\n" + "\n".join(answer_list(report)))
    cli.print_plain(f"\n{table(report)}\n")
    cli.print_plain(report.verdict, {0: "green", 1: "red", 2: "yellow"}[report.status])

"""`python -m ops invoke INPUT...`: ask the deployed stack, wherever it serves at the moment.

The same command works before, during and after a move between Lambda and SageMaker: the stack's
outputs name the target, and the errors of both have one form.
"""

import argparse
import json
import time

from rich.table import Table
from rich.text import Text

from ops.answers import Answer, classes_of, error_of, from_body
from ops.aws import Aws, stack_outputs
from ops.cli import COUNT, Spinner, add_json_argument, add_stack_arguments, console, print_plain
from ops.inputs import read_input
from ops.targets import connect

EXAMPLES = """\
examples:
  python -m ops invoke cat.jpg                     the endpoint if there is one, else the function
  python -m ops invoke cat.jpg dog.png --json      one answer a line
  python -m ops invoke https://example.com/cat.jpg the container fetches it
  python -m ops invoke request.json                a request as it is; .jsonl: one a line
  python -m ops invoke cat.jpg --target lambda     while the stack has both

exit status: 0 answered; 1 an answer was an error; 2 the stack could not be asked
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_stack_arguments(parser)
    add = parser.add_argument
    add(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="a picture, or the https:, http:, s3: or data: URI of one; or a request in a file of "
        "JSON (.json) or JSON lines (.jsonl, .ndjson)",
    )
    add("--target", choices=["lambda", "sagemaker"], help="which, of a stack that has both")
    add(
        "--wait",
        type=COUNT,
        default=900,
        metavar="SECONDS",
        help="how long for an asynchronous endpoint's answer (default: %(default)s)",
    )
    add_json_argument(parser)


def run(options: argparse.Namespace) -> int:
    """Print the answers as they come; return 0, or 1 if one is an error."""
    items = [read_input(place) for place in options.inputs]
    aws = Aws(options.region)
    spinner = Spinner()
    target = connect(
        aws,
        stack_outputs(aws, options.stack),
        options.target,
        wait_seconds=options.wait,
        tell=spinner.tell,
    )
    failed = False
    for item in items:
        started = time.perf_counter()
        with spinner:  # which ends before anything is printed
            spinner.tell(f"asking {target.name} about {item.name}")
            reply = target.post(item)
        answer = from_body(reply.status, reply.body)
        parts = answer.value if isinstance(answer.value, list) else []
        failed = failed or not answer.ok or any(map(error_of, parts))
        if options.json:
            print_plain(answer.text)
        else:
            show(item.name, answer, f"{target.name}, {time.perf_counter() - started:.2f} s")
    return 1 if failed else 0


def show(name: str, answer: Answer, by: str) -> None:
    """Print the classes as a table; an error, or another model's answer, as it is."""
    console().print(Text.assemble((name, "bold"), f" ({by})"), soft_wrap=True)
    if answer.ok and (classes := classes_of(answer.value)):
        table = Table(show_header=False)
        for label, prob in classes:
            table.add_row(label, prob)
        console().print(table)
    elif answer.error and not answer.ok:
        code, message = answer.error["code"], answer.error["message"]
        print_plain(f"error {answer.status} {code}: {message}", "red")
    else:
        print_plain(json.dumps(answer.value, indent=2, ensure_ascii=False))

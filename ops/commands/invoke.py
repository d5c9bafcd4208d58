"""`python -m ops invoke INPUT...`: call the deployed stack on the target that it has today.

The command stays the same through a move from Lambda to SageMaker: the stack's outputs name the
target, and both targets' errors have the same form.
"""

import argparse
import json
import time

from rich.table import Table
from rich.text import Text

from ops import cli
from ops.answers import Answer, classes_of, error_of, from_body
from ops.aws import Aws, stack_outputs
from ops.inputs import read_input
from ops.targets import connect

EXAMPLES = """\
examples:
  python -m ops invoke cat.jpg                     call the endpoint, or else the function
  python -m ops invoke cat.jpg dog.png --json      print one answer per line
  python -m ops invoke https://example.com/cat.jpg let the container fetch the picture
  python -m ops invoke request.json                send a file of JSON, or of JSON lines (.jsonl)
  python -m ops invoke cat.jpg --target lambda     choose a target if the stack has both

exit status: 0 answered; 1 an answer was an error; 2 the stack could not be called
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    cli.add_stack_arguments(parser)
    add = parser.add_argument
    files = "or a file of JSON (.json) or JSON lines (.jsonl, .ndjson)"
    inputs = f"a picture, its https:, http:, s3: or data: URI, {files}"
    add("inputs", nargs="+", metavar="INPUT", help=inputs)
    add("--target", choices=["lambda", "sagemaker"], help="a target, if the stack has both")
    wait = "the longest wait for an asynchronous endpoint's answer (default: %(default)s)"
    add("--wait", type=cli.COUNT, default=900, metavar="SECONDS", help=wait)
    cli.add_json_argument(parser)


def run(options: argparse.Namespace) -> int:
    """Print the answers as they come; return 0, or 1 if one is an error."""
    items = [read_input(place) for place in options.inputs]
    aws = Aws(options.region)
    spinner = cli.Spinner()
    outputs = stack_outputs(aws, options.stack)
    target = connect(aws, outputs, options.target, options.wait, spinner.tell)
    failed = False
    for item in items:
        started = time.perf_counter()
        with spinner:
            spinner.tell(f"asking {target.name} about {item.name}")
            reply = target.post(item)
        answer = from_body(reply.status, reply.body)
        parts = answer.value if isinstance(answer.value, list) else []
        failed = failed or not answer.ok or any(map(error_of, parts))
        if options.json:
            cli.print_plain(answer.text)
        else:
            show(item.name, answer, f"{target.name}, {time.perf_counter() - started:.2f} s")
    return 1 if failed else 0


def show(name: str, answer: Answer, by: str) -> None:
    """Print classes as a table, and an error or another model's answer as it is."""
    cli.console().print(Text.assemble((name, "bold"), f" ({by})"), soft_wrap=True)
    if not answer.ok:
        code, message = answer.error["code"], answer.error["message"]
        cli.print_plain(f"error {answer.status} {code}: {message}", "red")
    elif classes := classes_of(answer.value):
        table = Table(show_header=False)
        for label, prob in classes:
            table.add_row(label, prob)
        cli.console().print(table)
    else:
        cli.print_plain(json.dumps(answer.value, indent=2, ensure_ascii=False))

"""The command line of the operator tools."""

import argparse
import io
import os
import signal
import sys

from ops.aws import AWS_ERRORS, CannotAsk, explain
from ops.cli import print_error
from ops.commands import invoke, move, package, plan
from ops.commands.batch import command as batch
from ops.commands.doctor import command as doctor
from ops.cost import CostError
from ops.cost import command as cost
from ops.local_servers import FaceError
from ops.parity import command as parity
from ops.playground import command as playground

EXAMPLES = """\
examples:
  python -m ops parity --local --inputs cat.jpg      both faces here, about a picture of yours
  python -m ops doctor                               what would stop a deployment
  python -m ops invoke cat.jpg                       ask the deployed stack
  python -m ops COMMAND --help                       the options, with more examples
"""
COMMANDS = (
    ("plan", plan, "synthesize every mode and list what it would create"),
    ("doctor", doctor, "check what a deployment needs, before and after it"),
    ("package", package, "check an artifact, make model.tar.gz of it, store it in S3"),
    ("invoke", invoke, "ask the deployed stack, on whichever target it serves"),
    ("move", move, "where the move from Lambda to SageMaker stands, and its next command"),
    ("batch", batch, "run a transform job of the stack: many records from S3, into S3"),
    ("cost", cost, "where this model should run, by list prices and traffic"),
    ("parity", parity, "compare two targets: image, model, settings, every answer"),
    ("playground", playground, "open a page where both targets answer side by side"),
)
LOCAL_MOVED = (
    "`ops local` is now `ops parity --local`, or `ops parity --docker [IMAGE]` with containers; "
    "--image is now --inputs"
)


def parse() -> argparse.Namespace:
    """Return the options of the command, which is `run`. Raises CannotAsk for a broken cdk.json."""
    parser = argparse.ArgumentParser(
        prog="python -m ops",
        description="Tools around the one image for AWS Lambda and Amazon SageMaker.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module, summary in COMMANDS:
        command = commands.add_parser(
            name,
            help=summary,
            description=module.__doc__,
            epilog=module.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser.parse_args()


def main() -> int:
    """Run one command and return its exit status. No expected failure prints a traceback."""
    if sys.argv[1:2] == ["local"]:
        print_error(LOCAL_MOVED)
        return 2
    try:
        options = parse()
        status: int = options.run(options)
        if sys.stdout:  # None after `>&-`
            sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return 130  # as a shell counts SIGINT
    except BrokenPipeError:  # the reader, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # as a shell counts SIGPIPE
    except (CannotAsk, CostError, FaceError) as error:
        print_error(str(error))
    except AWS_ERRORS as error:  # before any call: no such profile, or no valid configuration
        print_error(str(explain(error, "sts:GetCallerIdentity")))
    except OSError as error:
        print_error(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    return 2


def stop(number: int, _frame: object) -> None:
    """End as on Ctrl-C: what was started is stopped on the way out."""
    sys.exit(128 + number)


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may know fewer characters
            stream.reconfigure(errors="backslashreplace")
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # `nohup` ignores SIGHUP
            signal.signal(number, stop)
    sys.exit(main())

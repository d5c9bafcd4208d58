"""Deploy, compare and operate one image on AWS Lambda and Amazon SageMaker."""

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
  python -m ops parity --local --inputs cat.jpg      compare both faces here on your picture
  python -m ops doctor                               find what would make a deployment fail
  python -m ops invoke cat.jpg                       call the deployed stack
  python -m ops COMMAND --help                       show options and more examples
"""
COMMANDS = (
    ("plan", plan, "list the resources that each mode would create"),
    ("doctor", doctor, "check what a deployment needs, and what is deployed"),
    ("package", package, "check an artifact, pack it as model.tar.gz, upload it to S3"),
    ("invoke", invoke, "call the deployed stack, on the target that it has today"),
    ("move", move, "show where the move from Lambda to SageMaker stands, and its next command"),
    ("batch", batch, "run a transform job: many records from S3 to S3"),
    ("cost", cost, "compare the costs of Lambda and SageMaker for your traffic"),
    ("parity", parity, "compare two targets: image, model, settings and responses"),
    ("playground", playground, "serve a page where both targets answer side by side"),
)


def parse() -> argparse.Namespace:
    """Return the options; `run` is the command's function. Raise CannotAsk for a bad cdk.json."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python -m ops", description=__doc__, epilog=EXAMPLES, formatter_class=raw
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module, summary in COMMANDS:
        command = commands.add_parser(name, help=summary, formatter_class=raw)
        command.description, command.epilog = module.__doc__, module.EXAMPLES
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser.parse_args()


def main() -> int:
    """Run one command and return its exit status. An expected failure prints one line."""
    try:
        options = parse()
        status: int = options.run(options)
        if sys.stdout:  # stdout is None after `>&-`
            sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return 130  # the shell's exit status for SIGINT
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # the shell's exit status for SIGPIPE
    except (CannotAsk, CostError, FaceError) as error:
        print_error(str(error))
    except AWS_ERRORS as error:  # an unknown profile or an invalid configuration
        print_error(str(explain(error, "sts:GetCallerIdentity")))
    except OSError as error:
        print_error(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    return 2


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal's encoding may lack a character
            stream.reconfigure(errors="backslashreplace")
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # `nohup` ignores SIGHUP
            # SystemExit stops the started processes, as Ctrl-C does.
            signal.signal(number, lambda number, _: sys.exit(128 + number))
    sys.exit(main())

"""The command line of the operator tools."""

import argparse
import sys

from ops import doctor, invoke, local, package, plan
from ops.batch import command as batch
from ops.cost import command as cost
from ops.parity import command as parity

EXAMPLES = """\
examples:
  python -m ops local                          both faces as processes, our photographs
  python -m ops local --image cat.jpg          a picture of yours
  python -m ops local --docker --json          both faces as containers, for a machine to read
  python -m ops plan                           what each mode would create on AWS
  python -m ops doctor                         what would stop a deployment, each with its fix
  python -m ops package build/artifacts/cats   model.tar.gz of your model, checked, and its model id
  python -m ops invoke cat.jpg                 ask the deployed stack, on Lambda or SageMaker
  python -m ops batch --dry-run                many records at once, by a job of the stack
  python -m ops cost --measure --requests 5M   where to run, by what it costs
  python -m ops parity                         whether its two targets are the same, and why not
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ops",
        description="Tools around the one image for AWS Lambda and Amazon SageMaker.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module, summary in (
        ("local", local, "run both faces on this machine and compare their answers"),
        ("plan", plan, "synthesize every mode and list what it would create"),
        ("doctor", doctor, "check what a deployment needs, before and after it"),
        ("package", package, "check an artifact, make model.tar.gz of it, store it in S3"),
        ("invoke", invoke, "ask the deployed stack, on whichever target it serves"),
        ("batch", batch, "a transform job of the stack: many records from S3, into S3"),
        ("cost", cost, "where this model should run, by list prices and traffic"),
        ("parity", parity, "compare two targets: image, model, settings, every answer"),
    ):
        command = commands.add_parser(name, help=summary, description=module.__doc__)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    options = parser.parse_args()
    try:
        status: int = options.run(options)
    except KeyboardInterrupt:
        return 130  # as a shell counts SIGINT
    return status


if __name__ == "__main__":
    sys.exit(main())

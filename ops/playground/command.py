"""`python -m ops playground`: a page where both targets answer side by side.

A picture or a JSON request goes to both. The page shows each answer with its latency and cost, and
where they differ. It is for the user who starts it only: it listens on 127.0.0.1, and the address
that it prints has a random token.
"""

import argparse
import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from secrets import token_bytes, token_urlsafe

from ops import cli
from ops.aws import Aws, CannotAsk, stack_outputs
from ops.inputs import Input, default_requests, golden_requests
from ops.parity.targets import NAMES, Opener
from ops.playground.exchange import Playground, Side
from ops.targets import targets_of

EXAMPLES = f"""\
examples:
  python -m ops playground --local                 both faces on this machine, without AWS
  python -m ops playground                         the deployed stack: what it has of both targets
  python -m ops playground --left stack:Staging:lambda --right stack:Production:lambda
  MODEL_FOLDER=examples/iris python -m ops playground --local

targets of --left and --right:
{NAMES}
exit status: 0 ended by Ctrl-C; 2 no target could be opened
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    cli.add_stack_arguments(parser)
    add = parser.add_argument
    add("--local", action="store_true", help="both faces of this checkout, as processes")
    add("--left", metavar="TARGET", help="any target, see below")
    add("--right", metavar="TARGET", help="another one")
    port = cli.number(int, 1, 65535, "a whole number from 1 to 65535")
    add("--port", type=port, default=8000, help="default: %(default)s")


def run(options: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C. Raises CannotAsk if no target can be opened."""
    # Other commands do without Flask, which takes a moment to import.
    from werkzeug.serving import WSGIRequestHandler, make_server

    from ops.playground.server import HOST, create_app

    class Quiet(WSGIRequestHandler):
        def log_request(self, *_: object) -> None:
            pass

    aws = Aws(options.region)
    with ExitStack() as stack:
        listener = stack.enter_context(_listen(HOST, options.port))
        opener = Opener(stack, aws, token_bytes(16))
        names = _names(options, aws)
        sides = [Side(name, partial(opener.open, name)) for name in names]
        examples = _examples()
        _open(sides, examples[0])
        token = token_urlsafe()
        app = create_app(Playground(sides, aws.region), examples, options.port, token)
        with make_server(
            *(HOST, options.port, app), threaded=True, request_handler=Quiet, fd=listener.fileno()
        ) as server:
            asked = " and ".join(side.facts.label for side in sides)
            url = f"http://{HOST}:{options.port}/?token={token}"
            print(f"{url} asks {asked}; Ctrl-C ends it", flush=True)
            server.serve_forever()
    return 0


def _names(options: argparse.Namespace, aws: Aws) -> list[str]:
    """Return the names of the targets; of a stack, those that it has. Raises CannotAsk."""
    if names := [name for name in (options.left, options.right) if name]:
        return names
    if options.local:
        return ["local:lambda", "local:http"]
    present = targets_of(stack_outputs(aws, options.stack))
    names = [f"stack:{options.stack}:{kind}" for kind in ("lambda", "sagemaker") if kind in present]
    if not names:
        raise CannotAsk(f"stack {options.stack} has no target", "--stack names one of this app")
    return names


def _open(sides: Sequence[Side], first: Input) -> None:
    """Open and ask all targets; report those that fail. Raises CannotAsk if none can be opened.

    The first call may be a cold start, so the page does not show it. There is no spinner: boto3 may
    ask for an MFA code.
    """
    for side in sides:
        try:
            side.target()
            side.post(first)
        except CannotAsk as problem:
            if side is sides[-1] and not any(side.opened for side in sides):
                raise
            cli.print_error(f"{side.name}: {problem}")


def _examples() -> list[Input]:
    """Return what the page offers: photographs, or the requests of the folder MODEL_FOLDER."""
    folder = os.environ.get("MODEL_FOLDER")
    return [*default_requests(), *(golden_requests(Path(folder)) if folder else ())]


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise CannotAsk(f"port {port}: {why}", "--port names another one") from None

"""`python -m ops playground`: serve a page where both targets answer side by side.

It sends a picture or a JSON request to both, and shows each answer with its latency, its cost and
the differences. Only you can open it: it listens on 127.0.0.1, and its address has a random token.
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
  python -m ops playground --local                 show both faces on this machine, without AWS
  python -m ops playground                         show the targets of the deployed stack
  python -m ops playground --left stack:Staging:lambda --right stack:Production:lambda
  MODEL_FOLDER=examples/iris python -m ops playground --local

targets of --left and --right:
{NAMES}
exit status: 0 stopped by Ctrl-C; 2 no target could be opened
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
    """Serve the page until Ctrl-C. Raise CannotAsk if no target can be opened."""
    # Flask is slow to import, and other commands do not need it.
    from werkzeug.serving import WSGIRequestHandler, make_server

    from ops.playground.server import HOST, create_app

    class Quiet(WSGIRequestHandler):
        def log_request(self, *_: object) -> None:
            pass

    aws = Aws(options.region)
    with ExitStack() as stack:
        try:
            listener = stack.enter_context(socket.create_server((HOST, options.port)))
        except OSError as error:
            why = f"port {options.port}: {os.strerror(error.errno or 0)}"
            raise CannotAsk(why, "--port names another one") from None
        opener = Opener(stack, aws, token_bytes(16))
        names = _names(options, aws)
        sides = [Side(name, partial(opener.open, name)) for name in names]
        folder = os.environ.get("MODEL_FOLDER")
        examples = [*default_requests(), *(golden_requests(Path(folder)) if folder else ())]
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
    """Return the names of the targets to show. Raise CannotAsk."""
    if names := [name for name in (options.left, options.right) if name]:
        return names
    if options.local:
        return ["local:lambda", "local:http"]
    present = targets_of(stack_outputs(aws, options.stack))
    names = [f"stack:{options.stack}:{kind}" for kind in ("lambda", "sagemaker") if kind in present]
    if not names:
        raise CannotAsk(f"stack {options.stack} has no target", "use --stack with one of this app")
    return names


def _open(sides: Sequence[Side], first: Input) -> None:
    """Open and call all targets; report those that fail. Raise CannotAsk if all fail.

    The page does not show this first call, which may be a cold start. There is no spinner, because
    boto3 may ask for an MFA code.
    """
    for side in sides:
        try:
            side.post(first)
        except CannotAsk as problem:
            if side is sides[-1] and not any(side.opened for side in sides):
                raise
            cli.print_error(f"{side.name}: {problem}")

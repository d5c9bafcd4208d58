"""Start the HTTP server; SageMaker does so with `serve`."""

import argparse
import logging
import os
import socket
import sys
from pathlib import Path

from serving.artifact.resolve import resolve
from serving.core import logs
from serving.core.errors import StartError
from serving.core.settings import Settings
from serving.http.server import serve
from serving.service import Service, model_of

_log = logging.getLogger("serving.serve")  # not __main__, which it is when started

DEFAULT_MODEL_PATH = Path("/opt/ml/model")


def _check_address(host: str, port: int) -> None:
    """Raise StartError if nothing can listen on the address."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, port), family=family).close()
    except (OSError, OverflowError) as error:
        raise StartError(f"{host}:{port} cannot be listened on: {error}") from None


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="serve", description="Serve the model over HTTP, as SageMaker expects it."
    )
    parser.add_argument(
        "--model-path",
        type=Path,
        help=f"the artifact's folder (default: {DEFAULT_MODEL_PATH} unless it is absent or empty)",
    )
    everywhere = "0.0.0.0"  # noqa: S104 - SageMaker reaches the container from outside
    parser.add_argument("--host", default=everywhere, help="the address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="the port (%(default)s)")
    options = parser.parse_args(arguments)
    # Run one process per CPU, one thread per forward pass.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        settings = Settings.from_environment(os.environ)
        logs.configure(settings.log_level)
        _check_address(options.host, options.port)
        found = resolve(
            settings,
            options.model_path or DEFAULT_MODEL_PATH,
            required=options.model_path is not None,
        )
        service = Service(settings, found, model_of(settings))
        status = serve(settings, service, options.host, options.port)
    except StartError as error:
        logs.configure("INFO")
        _log.error(str(error))
        status = 1
    sys.exit(status)


if __name__ == "__main__":
    main(sys.argv[1:])

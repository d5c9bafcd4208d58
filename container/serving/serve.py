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

_log = logging.getLogger("serving.serve")  # __name__ is __main__ here

DEFAULT_MODEL_PATH = Path("/opt/ml/model")


def main() -> None:
    parser = argparse.ArgumentParser(
        "serve", description="Serve the model over HTTP for SageMaker."
    )
    folder = f"the artifact's folder (default: {DEFAULT_MODEL_PATH} unless it is absent or empty)"
    parser.add_argument("--model-path", type=Path, help=folder)
    everywhere = "0.0.0.0"  # noqa: S104 - SageMaker reaches the container from outside
    parser.add_argument("--host", default=everywhere, help="the address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="the port (%(default)s)")
    options = parser.parse_args()
    host, port = options.host, options.port
    # Run one process per CPU, with one thread per forward pass.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        settings = Settings.from_environment(os.environ)
        logs.configure(settings.log_level)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, port), family=family).close()  # before the model is looked for
        path = options.model_path or DEFAULT_MODEL_PATH
        found = resolve(settings, path, required=options.model_path is not None)
        service = Service(settings, found, model_of(settings))
        status = serve(settings, service, host, port)
    except (StartError, OSError, OverflowError) as error:  # such as a port in use
        logs.configure("INFO")
        _log.error(str(error))
        status = 1
    sys.exit(status)


if __name__ == "__main__":
    main()

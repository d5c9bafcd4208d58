"""The HTTP face: what SageMaker starts with `serve`. Flask behind gunicorn."""

import argparse
import gc
import logging
import multiprocessing
import os
import resource
import signal
import socket
import sys
import threading
import uuid
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, request
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from werkzeug.datastructures import Headers
from werkzeug.exceptions import NotFound

from serving import logs
from serving.artifact import Artifact, resolve
from serving.balance import Balance
from serving.contract import Reply, Request
from serving.errors import ServingError, StartError
from serving.service import METHODS, Service, model_of
from serving.settings import Settings
from serving.worker import DrainingWorker

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_log = logging.getLogger("serving.serve")  # not __main__, which it is when started

DEFAULT_MODEL_PATH = Path("/opt/ml/model")
_ANY = "0.0.0.0"  # noqa: S104 - SageMaker reaches the container from outside
_INFERENCE_ID = "x-amzn-sagemaker-inference-id"
_SPARE_THREADS = 8  # beyond those that wait for the model: they answer pings and refuse
_CONNECTIONS = 1000  # of a process
_MEMORY = "/dev/shm"  # noqa: S108 - the heartbeat files' place: the root may be read-only
_GRACE_SECONDS = 25  # SageMaker kills 30 s after SIGTERM


class App(Flask):
    """The pipeline's paths go to the pipeline; any other is a Flask route, or the pipeline's 404.

    Contexts, routing and hooks would be 4 % of a request's CPU time: they run in caches that the
    forward before them has emptied.
    """

    def __init__(self, service: Service) -> None:
        super().__init__(__name__, static_folder=None)
        self.service = service
        self.register_error_handler(NotFound, self._not_found)

    def wsgi_app(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        if environ["PATH_INFO"] not in METHODS:
            return super().wsgi_app(environ, start_response)
        reply = self._reply(environ)
        length = ("Content-Length", str(len(reply.body)))
        start_response(
            f"{reply.status} {HTTPStatus(reply.status).phrase}", [*reply.headers, length]
        )
        return [reply.body]

    def _reply(self, environ: "WSGIEnvironment") -> Reply:
        headers = {
            name[5:].replace("_", "-").lower(): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        headers["content-type"] = environ.get("CONTENT_TYPE", "")
        logs.request_id.set(headers.get(_INFERENCE_ID) or uuid.uuid4().hex)
        body = environ["wsgi.input"]
        path = environ["PATH_INFO"]  # as sent: Werkzeug's own folds slashes
        return self.service.respond(
            Request(environ["REQUEST_METHOD"], path, headers, body.read(), body.problem)
        )

    def refuse(self, problem: ServingError) -> bytes:
        """The whole answer to what is no request that can be handed over."""
        earlier = logs.request_id.set(uuid.uuid4().hex)
        reply = self.service.refuse(problem)
        logs.request_id.reset(earlier)
        headers = (
            *reply.headers,
            ("Content-Length", str(len(reply.body))),
            ("Connection", "close"),
        )
        lines = [f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers]
        return "\r\n".join([*lines, "", ""]).encode() + reply.body

    def _not_found(self, _error: Exception) -> Response:
        reply = self._reply(request.environ)
        response = Response(reply.body, reply.status)
        response.headers = Headers(list(reply.headers))  # without Flask's default media type
        return response


class JsonLogger(Logger):
    """gunicorn's records through the root handler: JSON, once. The pipeline logs the requests."""

    def setup(self, _cfg: Any) -> None:
        self.loglevel = logging.INFO
        self.error_log.propagate = True
        self.error_log.handlers.clear()
        self.access_log.handlers.clear()


class Server(BaseApplication):
    """gunicorn with a worker process a CPU, each loading the model once it runs."""

    def __init__(
        self, settings: Settings, artifact: Artifact, model: ModuleType, bind: str
    ) -> None:
        self._settings = settings
        self._artifact = artifact
        self._model = model
        self._bind = bind
        self._balance = Balance(settings.workers)
        self._failed = multiprocessing.Value("b", 0)  # shared with the workers
        super().__init__()

    def load_config(self) -> None:
        threads = self._settings.max_waiting + _SPARE_THREADS
        options = {
            "bind": self._bind,
            "workers": self._settings.workers,
            "worker_class": DrainingWorker,
            "threads": threads,
            "worker_connections": max(_CONNECTIONS, 2 * threads),
            "sendfile": False,  # answers are written whole
            "keepalive": 65,
            "graceful_timeout": _GRACE_SECONDS,
            "logger_class": JsonLogger,
            "worker_tmp_dir": _MEMORY,
            "control_socket_disable": True,
            "forwarded_allow_ips": "",  # no header of a peer changes what a path means
            "forwarder_headers": "",
            "pre_fork": self._place,
            "child_exit": self._give_back,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def _place(self, _arbiter: Any, worker: DrainingWorker) -> None:
        worker.balance, worker.place = self._balance, self._balance.take()
        worker.max_body_bytes = self._settings.max_body_bytes

    def _give_back(self, _arbiter: Any, worker: DrainingWorker) -> None:
        self._balance.give_back(worker.place)

    def run(self) -> None:
        """Serve until SIGTERM. Exits with status 1 when a worker cannot load the model."""
        server = os.getpid()
        # As many as are allowed: a shell's 1,024 would not do for _CONNECTIONS and what they fetch.
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        try:
            super().run()
        finally:  # gunicorn leaves by SystemExit, in its workers too
            if self._failed.value and os.getpid() == server:
                sys.exit(1)

    def load(self) -> Flask:
        service = Service(self._settings, self._artifact, self._model)

        def start() -> None:
            try:
                service.start()
                gc.freeze()  # what is loaded stays: no collection need walk it again
            except Exception as error:
                self._fail(error)

        # In a thread, so that a ping is answered meanwhile: 503, not silence.
        threading.Thread(target=start, name="start").start()
        return App(service)

    def _fail(self, error: Exception) -> None:
        """End the server, not the worker alone: gunicorn would only start another.

        Said by the first worker that fails, for the others fail alike.
        """
        with self._failed.get_lock():
            first, self._failed.value = not self._failed.value, 1
        if first and isinstance(error, StartError):
            _log.error(str(error))
        elif first:
            _log.error("load_model failed", exc_info=error)
        os.kill(os.getppid(), signal.SIGTERM)


def _check_address(host: str, port: int) -> None:
    """Raises StartError where gunicorn would try for seconds."""
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
    parser.add_argument("--host", default=_ANY, help="the address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="the port (%(default)s)")
    options = parser.parse_args(arguments)
    # One process a CPU and one thread a forward: more of either would share a core.
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
        model = model_of(settings)
    except StartError as error:
        logs.configure("INFO")
        _log.error(str(error))
        sys.exit(1)
    host = f"[{options.host}]" if ":" in options.host else options.host
    Server(settings, found, model, f"{host}:{options.port}").run()


if __name__ == "__main__":
    main(sys.argv[1:])

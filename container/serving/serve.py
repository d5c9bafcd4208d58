"""The HTTP face: what SageMaker starts with `serve`. Flask behind gunicorn."""

import argparse
import gc
import logging
import multiprocessing
import os
import select
import selectors
import signal
import socket
import struct
import sys
import threading
import time
import uuid
from collections.abc import Iterable
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from flask import Flask, Response, request
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from gunicorn.http.errors import ParseException
from gunicorn.workers.gthread import TConn, ThreadWorker
from werkzeug.datastructures import Headers
from werkzeug.exceptions import NotFound

from serving import logs
from serving.artifact import Artifact, resolve
from serving.balance import Balance
from serving.contract import Reply, Request
from serving.errors import MalformedRequest, ServingError, StartError
from serving.service import METHODS, Service
from serving.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_log = logging.getLogger("serving.serve")  # not __main__, which it is when started

DEFAULT_MODEL_PATH = Path("/opt/ml/model")
_ANY = "0.0.0.0"  # noqa: S104 - SageMaker reaches the container from outside
_INFERENCE_ID = "x-amzn-sagemaker-inference-id"
_DROP_BYTES = 64 * 1024 * 1024
_SPARE_THREADS = 8  # beyond those that wait for the model: they answer pings and refuse
_MEMORY = "/dev/shm"  # noqa: S108 - the heartbeat files' place: the root may be read-only
_READ_TIMEOUT = struct.pack("ll", 5, 0)  # seconds and microseconds, as the kernel takes them
_STEP_ASIDE_SECONDS = 0.02  # for a worker with fewer connections, which may be busy meanwhile
_LOOK_AGAIN_SECONDS = 0.001  # whether it has as many by now
_NEXT_REQUEST_MILLISECONDS = 5  # a thread waits so long before it gives a connection back
_LINGER_SECONDS = 2  # for the first byte of a connection, while the server stops
_GRACE_SECONDS = 25  # SageMaker kills 30 s after SIGTERM


class App(Flask):
    """The pipeline's paths go to the pipeline; any other is a Flask route, or the pipeline's 404.

    Contexts, routing and hooks would be 4 % of a request's CPU time: they run in caches that the
    forward before them has emptied.
    """

    def __init__(self, service: Service, max_body_bytes: int) -> None:
        super().__init__(__name__, static_folder=None)
        self._service, self._max_body_bytes = service, max_body_bytes
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
        body, problem = _read(environ["wsgi.input"], self._max_body_bytes)
        path = environ["PATH_INFO"]  # as sent: Werkzeug's own folds slashes
        return self._service.respond(
            Request(environ["REQUEST_METHOD"], path, headers, body, problem)
        )

    def _not_found(self, _error: Exception) -> Response:
        reply = self._reply(request.environ)
        response = Response(reply.body, reply.status)
        response.headers = Headers(list(reply.headers))  # without Flask's default media type
        return response


def _read(stream: IO[bytes], max_body_bytes: int) -> tuple[bytes, ServingError | None]:
    """The body, or why there is none. One byte more than is allowed is enough to refuse it.

    The rest is read and dropped, within a bound: a client that sends all before it reads would
    otherwise find its connection reset and never learn why.
    """
    try:
        return _drop_rest(stream.read(max_body_bytes + 1), stream, max_body_bytes), None
    except (OSError, ParseException):
        return b"", MalformedRequest("the body is incomplete, or its chunks are broken")


def _drop_rest(body: bytes, stream: IO[bytes], max_body_bytes: int) -> bytes:
    dropped = 0
    while len(body) > max_body_bytes and dropped < _DROP_BYTES:
        chunk = len(stream.read(64 * 1024))
        if not chunk:
            break
        dropped += chunk
    return body


class DrainingWorker(ThreadWorker):
    """gunicorn's threaded worker, without what loses requests at its end or threads to slow peers.

    A peer that sends nothing, or keeps its end open, costs a connection and not a thread.
    """

    # Of all workers of the server, and this one's place in it: `Server` sets both.
    balance: Balance
    place: int
    _aside_until: float | None = None

    def set_accept_enabled(self, enabled: bool) -> None:
        """On SIGTERM also serve the connections that wait in the backlog.

        The stock worker only stops accepting, and closing the listener resets what is queued there.
        """
        super().set_accept_enabled(enabled)
        if not self.alive:
            for listener in self.sockets:
                listener.setblocking(False)
                waiting = True
                while waiting:
                    before = self.nr_conns
                    self.accept(listener)
                    waiting = self.nr_conns > before
                listener.close()

    def accept(self, listener: socket.socket) -> None:
        """Leave a connection to a worker that has fewer, if that takes it within a moment.

        All workers wait on one listener, and the first to wake would otherwise take every one of
        several connections that come at once, while the others idle.
        """
        if self.alive and self._aside_until is None and self.balance.has_most(self.place):
            self._aside_until = time.monotonic() + _STEP_ASIDE_SECONDS
            return
        self._aside_until = None
        super().accept(listener)
        self.balance.publish(self.place, self.nr_conns)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        until, aside = self._aside_until, False
        if self.alive:
            self.balance.publish(self.place, self.nr_conns)
            aside = time.monotonic() < (until or 0) and self.balance.has_most(self.place)
            self.set_accept_enabled(not aside and self.nr_conns < self.worker_connections)
            timeout = min(timeout, _LOOK_AGAIN_SECONDS) if aside else timeout
        super().wait_for_and_dispatch_events(timeout)
        if not aside and self._aside_until is until:
            self._aside_until = None  # the connection has been taken

    def enqueue_req(self, conn: TConn) -> None:
        """A new connection gets a thread once its first byte is here.

        The stock worker lets a thread wait for that byte, for 5 s.
        """
        if conn.initialized or conn.data_ready:
            super().enqueue_req(conn)
            return
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _READ_TIMEOUT)
        conn.sock.setblocking(False)
        conn.timeout = time.monotonic() + (self.cfg.keepalive if self.alive else _LINGER_SECONDS)
        self.pending_conns.append(conn)
        ready = partial(self.on_pending_socket_readable, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, ready)

    def _cap_keepalive(self, deadline: float) -> None:
        """On SIGTERM: connections without a request are not waited for, new ones as little."""
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)

    def _has_more(self, conn: TConn) -> bool:
        """Whether the next request of a connection is about to come and no other waits.

        Passing the connection to the main loop and back costs more than this moment.
        """
        if not self.alive or not self.tpool._work_queue.empty():
            return False
        coming = select.poll()
        coming.register(conn.sock, select.POLLIN)
        return bool(coming.poll(_NEXT_REQUEST_MILLISECONDS))

    def handle(self, conn: TConn) -> Any:
        """Serve a connection's requests, and close it here, in its thread, when it is done.

        The stock worker closes it in its main loop, where one peer that keeps its end open stops
        everything for 2 s.
        """
        done = super().handle(conn)
        while done is True and self._has_more(conn):
            done = super().handle(conn)
        if done is False:
            conn.close(graceful=True)
            conn.close = _already_closed
        return done


def _already_closed(graceful: bool = False) -> None:
    """Stands in for the `close` of a connection that has been closed."""


class JsonLogger(Logger):
    """gunicorn's records through the root handler: JSON, once. The pipeline logs the requests."""

    def setup(self, _cfg: Any) -> None:
        self.loglevel = logging.INFO
        self.error_log.propagate = True
        self.error_log.handlers.clear()
        self.access_log.handlers.clear()


class Server(BaseApplication):
    """gunicorn with a worker process a CPU, each loading the model once it runs."""

    def __init__(self, settings: Settings, artifact: Artifact, bind: str) -> None:
        self._settings = settings
        self._artifact = artifact
        self._bind = bind
        self._balance = Balance(settings.workers)
        self._failed = multiprocessing.Value("b", 0)  # shared with the workers
        super().__init__()

    def load_config(self) -> None:
        options = {
            "bind": self._bind,
            "workers": self._settings.workers,
            "worker_class": DrainingWorker,
            "threads": self._settings.max_waiting + _SPARE_THREADS,
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

    def _give_back(self, _arbiter: Any, worker: DrainingWorker) -> None:
        self._balance.give_back(worker.place)

    def run(self) -> None:
        """Serve until SIGTERM. Exits with status 1 when a worker cannot load the model."""
        server = os.getpid()
        try:
            super().run()
        finally:  # gunicorn leaves by SystemExit, in its workers too
            if self._failed.value and os.getpid() == server:
                sys.exit(1)

    def load(self) -> Flask:
        service = Service(self._settings, self._artifact)

        def start() -> None:
            try:
                service.start()
                gc.freeze()  # what is loaded stays: no collection need walk it again
            except Exception as error:
                self._fail(error)

        # In a thread, so that a ping is answered meanwhile: 503, not silence.
        threading.Thread(target=start, name="start").start()
        return App(service, self._settings.max_body_bytes)

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
    except StartError as error:
        logs.configure("INFO")
        _log.error(str(error))
        sys.exit(1)
    host = f"[{options.host}]" if ":" in options.host else options.host
    Server(settings, found, f"{host}:{options.port}").run()


if __name__ == "__main__":
    main(sys.argv[1:])

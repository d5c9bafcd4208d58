"""Run gunicorn: one worker process per CPU, each with its own model and socket."""

import gc
import logging
import os
import signal
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from flask import Flask, Response, request
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from werkzeug.datastructures import Headers
from werkzeug.exceptions import RequestEntityTooLarge

from serving.core import logs
from serving.core.contract import Request
from serving.core.errors import StartError, TooLarge
from serving.core.settings import Settings
from serving.service import Service

_log = logging.getLogger(__name__)

_INFERENCE_ID = "X-Amzn-SageMaker-Inference-Id"
_SPARE_THREADS = 8  # answer pings and refuse requests while the others wait for the model


class JsonLogger(Logger):
    """Sends gunicorn's log records to the root handler, which writes JSON."""

    def setup(self, _cfg: Any) -> None:
        self.loglevel = logging.INFO
        self.error_log.propagate = True
        self.error_log.handlers.clear()
        self.access_log.handlers.clear()


class Gunicorn(BaseApplication):
    """Stock gunicorn. `run` serves until SIGTERM."""

    def __init__(self, settings: Settings, service: Service, folder: Path, **options: Any) -> None:
        """Put temporary files into `folder`. `options` are further options of gunicorn."""
        self._settings, self._service = settings, service
        self._server = os.getpid()
        # Files that are created when gunicorn listens, and when a worker cannot load the model.
        self.listening, self.failed = folder / "listening", folder / "failed"
        self._options = {
            **options,
            "workers": settings.workers,
            "worker_class": "gthread",
            "threads": settings.max_waiting + _SPARE_THREADS,
            "pre_fork": _give_socket,
            "when_ready": self._listen,
            "keepalive": 75,  # nginx closes a connection first, after 60 s
            "logger_class": JsonLogger,
            "worker_tmp_dir": str(folder),
            "control_socket_disable": True,
            "forwarder_headers": "",  # trust no header of a peer, which could change the path
            # Leave it to the application to refuse requests, in JSON.
            "permit_unconventional_http_method": True,
            "limit_request_line": 0,
        }
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def _listen(self, _arbiter: Any) -> None:
        """Unblock the signals that the server blocks until gunicorn has handlers for them."""
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        self.listening.touch()

    def load(self) -> Flask:
        """Return a worker's application, which answers 503 until its model is loaded."""
        threading.Thread(target=self._start).start()
        threading.Thread(target=self._end_when_stuck, daemon=True).start()
        app = Flask(__name__, static_folder=None)
        app.config["MAX_CONTENT_LENGTH"] = self._settings.max_body_bytes
        app.before_request(self._respond)  # `service.respond` answers every path
        return app

    def _respond(self) -> Response:
        logs.request_id.set(request.headers.get(_INFERENCE_ID) or uuid.uuid4().hex)
        body, problem = b"", None
        try:
            body = request.get_data()
        except RequestEntityTooLarge:  # nginx refuses such bodies; gunicorn alone does not
            most = self._settings.max_body_bytes
            problem = TooLarge(f"the body is larger than {most} bytes")
        headers = {name.lower(): value for name, value in request.headers}
        path = request.environ["PATH_INFO"]  # as sent: `request.path` has merged slashes
        reply = self._service.respond(Request(request.method, path, headers, body, problem))
        response = Response(reply.body, reply.status)
        response.headers = Headers(list(reply.headers))  # without Flask's default media type
        return response

    def _start(self) -> None:
        """Load the model. Stop the server on failure: gunicorn would restart workers for ever."""
        try:
            self._service.start()
            gc.freeze()  # collections skip what is loaded for good
        except Exception as error:
            expected = isinstance(error, StartError)
            with suppress(FileExistsError):  # another worker has logged the reason
                self.failed.touch(exist_ok=False)
                _log.error(str(error) if expected else "load_model failed", exc_info=not expected)
                os.kill(self._server, signal.SIGTERM)

    def _end_when_stuck(self) -> None:
        """End this process when its model hangs; gunicorn starts another."""
        while not self._service.watchdog.is_stuck():
            time.sleep(1)
        seconds = self._settings.stuck_seconds
        _log.error("the model is stuck: no request has ended for %d s", seconds)
        os._exit(1)  # an ordinary exit would wait for the hanging threads


def _give_socket(arbiter: Any, worker: Any) -> None:
    """Assign the least-used socket to the worker, so that nginx can choose between workers."""
    used = [other.sockets[0] for other in arbiter.WORKERS.values()]
    worker.sockets = [min(arbiter.LISTENERS, key=used.count)]

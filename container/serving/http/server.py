"""The HTTP server: nginx in front of gunicorn, started, watched and stopped together.

gunicorn has one worker process per CPU, each with its own model and socket.
"""

import gc
import json
import logging
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from serving.core.contract import IDENTITY
from serving.core.errors import StartError
from serving.core.settings import Settings
from serving.http.app import create_app
from serving.service import METHODS, Service

_log = logging.getLogger(__name__)

_SPARE_THREADS = 8  # answer pings and refuse requests while the others wait for the model
_GRACE_SECONDS = 25  # SageMaker kills the container 30 s after SIGTERM
_AFTER_NGINX_SECONDS = 3  # gunicorn's grace behind nginx, which has waited for the answers
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGALRM)


def serve(settings: Settings, service: Service, host: str, port: int) -> int:
    """Serve until SIGTERM and return 0, or 1 if the server ends by itself."""
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    nginx = shutil.which("nginx")
    command: list[str] = []
    with _temporary_folder() as temporary:
        folder = Path(temporary)
        sockets = [f"unix:{folder}/{number}" for number in range(settings.workers)]
        bind, grace = (sockets, _AFTER_NGINX_SECONDS) if nginx else (address, _GRACE_SECONDS)
        gunicorn = _Gunicorn(settings, service, folder, bind=bind, graceful_timeout=grace)
        if nginx:
            conf = folder / "nginx.conf"
            conf.write_text(_configuration(settings, service.identity, address, folder, sockets))
            command = [nginx, "-e", "stderr", "-p", str(folder), "-c", str(conf)]
        else:
            _log.warning(
                "nginx is not on the PATH: gunicorn serves alone, and slow clients can occupy its "
                "threads. Install nginx (on Debian: apt-get install nginx-light)"
            )
        return _run(gunicorn, command)


def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    make = partial(tempfile.TemporaryDirectory, prefix="serve-", ignore_cleanup_errors=True)
    try:
        return make()
    except OSError:  # the file system is read-only
        return make(dir="/dev/shm")  # noqa: S108 - the folder in it is private


class _JsonLogger(Logger):
    """Sends gunicorn's log records to the root handler, which writes JSON."""

    def setup(self, _cfg: Any) -> None:
        self.loglevel = logging.INFO
        self.error_log.propagate = True
        self.error_log.handlers.clear()
        self.access_log.handlers.clear()


class _Gunicorn(BaseApplication):
    """Stock gunicorn, with temporary files in `folder`. `run` serves until SIGTERM."""

    def __init__(self, settings: Settings, service: Service, folder: Path, **options: Any) -> None:
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
            "logger_class": _JsonLogger,
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
        return create_app(self._service, self._settings.max_body_bytes)

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


def _configuration(
    settings: Settings, identity: Mapping[str, str], address: str, folder: Path, sockets: list[str]
) -> str:
    """Return nginx.conf with the values for its names in %{}."""
    values: dict[str, object] = {
        "user": "" if os.geteuid() else "user root;",  # only root could open the sockets
        "folder": folder,
        # The connections to peers and workers; their bodies must fit into 4 GiB.
        "connections": max(128, min(1024, 4 * 1024**3 // settings.max_body_bytes)),
        "max_body_bytes": settings.max_body_bytes,
        "paths": ", ".join(METHODS),
        "identity": json.dumps(identity[IDENTITY]),
        "image_id": json.dumps(identity["X-Image-Id"]),
        "model_id": identity["X-Model-Id"],
        "servers": "\n".join(f"        server {socket} max_fails=0;" for socket in sockets),
        "address": address,
    }
    template = Path(__file__).with_name("nginx.conf").read_text()
    return re.sub(r"%\{(\w+)\}", lambda name: str(values[name[1]]), template)


def _run(gunicorn: _Gunicorn, command: Sequence[str]) -> int:
    """Run gunicorn, and nginx if `command` is not empty, until one ends or SIGTERM comes."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # until both can be stopped
    workers = multiprocessing.get_context("fork").Process(target=gunicorn.run)
    workers.start()
    nginx = None
    if command:
        while workers.is_alive() and not gunicorn.listening.exists():
            time.sleep(0.005)
        # A background job of a script ignores SIGQUIT, and nginx would inherit that.
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)
        nginx = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace")
    is_stopping = False

    def stop(number: int, _frame: FrameType | None) -> None:
        nonlocal is_stopping
        is_stopping = is_stopping or number in (signal.SIGTERM, signal.SIGINT)
        if nginx:
            nginx.send_signal(signal.SIGQUIT)  # nginx answers pending requests, then ends
            signal.alarm(1)  # repeat it: nginx can miss a signal while it starts
        elif is_stopping:
            workers.terminate()

    for number in _SIGNALS:
        signal.signal(number, stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    if nginx:
        relay = threading.Thread(target=_relay_log, args=(nginx.stderr,), daemon=True)
        relay.start()
        nginx.wait()
        relay.join(1)
        workers.terminate()
    workers.join()
    if not is_stopping:
        _log.error("the server ends because nginx or gunicorn has ended")
    return 0 if is_stopping and not gunicorn.failed.exists() else 1


def _relay_log(lines: Iterable[str]) -> None:
    """Log each line of nginx's standard error, without the parts that quote a request."""
    for line in lines:
        if line.startswith("refused "):
            _, status, answer = line.split(" ", 2)
            code = json.loads(answer)["error"]["code"]
            _log.info("request", extra={"status": int(status), "code": code})
        else:
            _log.error("nginx: %s", line.partition(", client: ")[0].strip())

"""The in-process side: the pipeline that the server serves, in a process of its own."""

import os
import sys
import tempfile
import time
from functools import cache

from bench.measured import check
from serving import logs
from serving.artifact import resolve
from serving.contract import Reply, Request
from serving.service import Service
from serving.settings import Settings


@cache
def service() -> Service:
    """This process's pipeline: loaded and warm, its log in a file, as the server's is."""
    settings = Settings.from_environment(os.environ)
    sys.stdout = tempfile.TemporaryFile("w")  # noqa: SIM115 - open as long as the process lives
    logs.configure(settings.log_level)
    found = Service(settings, resolve(settings))
    found.start()
    return found


def ask(photo: bytes) -> Reply:
    request = Request("POST", "/invocations", {"content-type": "image/jpeg"}, photo)
    return service().respond(request)


def expected_answer(photo: bytes) -> bytes:
    """Raises WrongAnswer when the pipeline refuses."""
    reply = ask(photo)
    check(reply.status, reply.body, reply.body)
    return reply.body


def closed_loop(photo: bytes, expected: bytes, seconds: float) -> tuple[float, list[float]]:
    """The CPU seconds of this process, and the seconds of each answer. Raises WrongAnswer."""
    taken = []
    cpu_before, started = time.process_time(), time.perf_counter()
    last = started
    while last - started < seconds:
        reply = ask(photo)
        check(reply.status, reply.body, expected)
        now = time.perf_counter()
        taken.append(now - last)
        last = now
    return time.process_time() - cpu_before, taken

"""A closed-loop load generator: each connection sends a request after each answer."""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil

SILENCE_SECONDS = 30
PAUSE_SECONDS = 1.0  # after a 503 without Retry-After, or a broken connection

Check = Callable[[int, bytes], None]  # takes status and body; raises WrongAnswer


class WrongAnswer(Exception):
    """A wrong answer, which makes the whole benchmark invalid."""


class NoAnswer(WrongAnswer):
    """No answer within a round or for SILENCE_SECONDS."""


@dataclass(frozen=True)
class Round:
    """One round of one server. CPU time is the user and system time of the server's processes."""

    requests: int  # only answered ones
    requests_per_second: float
    cpu_ms_per_request: float
    p50_ms: float
    p99_ms: float
    client_cpus: float = 0.0  # CPUs that the load generator used
    other_cpus: float = 0.0  # CPUs that anything else on the machine used
    refused: int = 0  # 503 responses, which count in no other figure
    broken: int = 0  # connections that ended without an answer, which count in no other figure

    @classmethod
    def of(
        cls, requests_per_second: float, cpu_seconds: float, latencies: Sequence[float], **more: Any
    ) -> "Round":
        """Build a round from the latency of each answer and the total CPU time, in seconds."""
        p50, p99 = (np.percentile(latencies, (50, 99)) * 1000).tolist()
        cpu_ms = cpu_seconds / len(latencies) * 1000
        return cls(len(latencies), requests_per_second, cpu_ms, p50, p99, **more)


@dataclass(frozen=True)
class Server:
    """A running server and its request. Its processes are `pid` and its descendants."""

    url: str
    pid: int
    body: bytes
    check: Check

    def round(self, connections: int, seconds: float) -> Round:
        """Measure a round over new connections. The rate counts answers within `seconds`.

        Raise WrongAnswer, and OSError if nothing listens.
        """
        processes, client = tree(self.pid), psutil.Process()
        before, client_before = _cpu_seconds(processes), sum(client.cpu_times()[:2])
        started = time.perf_counter()
        until = started + seconds
        with ThreadPoolExecutor(connections) as pool:
            found = [*pool.map(lambda _: _client(self, until), range(connections))]
        elapsed = time.perf_counter() - started
        used = sum(now - before[each] for each, now in _cpu_seconds(processes).items())
        answers = sorted(answer for each, _, _ in found for answer in each)
        refused, broken = sum(each for _, each, _ in found), sum(each for _, _, each in found)
        if not answers:
            raise NoAnswer(f"no answer: {refused} refusals, {broken} broken connections")
        in_time = [when for when, _ in answers if when < until] or [answers[0][0]]
        return Round.of(
            len(in_time) / (in_time[-1] - started),
            used,
            [latency for _, latency in answers],
            client_cpus=(sum(client.cpu_times()[:2]) - client_before) / elapsed,
            refused=refused,
            broken=broken,
        )

    def faultless(self, connections: int, seconds: float) -> Round:
        """Measure a round. Raise WrongAnswer also for a refusal or a broken connection."""
        try:
            found = self.round(connections, seconds)
        except NoAnswer as error:
            raise WrongAnswer(str(error)) from None  # only a peer is started again after NoAnswer
        if found.broken or found.refused:
            raise WrongAnswer(f"{found.refused} refused, {found.broken} broken connections")
        return found


def _client(server: Server, until: float) -> tuple[list[tuple[float, float]], int, int]:
    """Send requests over one kept-alive connection until the time is over.

    Return the time and latency of each answer, and the numbers of refusals and of broken
    connections. Raise WrongAnswer, and OSError if nothing listens.
    """
    url, headers = urlsplit(server.url), {"Content-Type": "image/jpeg"}
    answers, refused, broken = [], 0, 0
    with closing(HTTPConnection(url.netloc, timeout=SILENCE_SECONDS)) as connection:
        while (sent := time.perf_counter()) < until:
            if connection.sock is None:
                connection.connect()
            pause = PAUSE_SECONDS
            try:
                connection.request("POST", url.path, server.body, headers)
                reply = connection.getresponse()
                body = reply.read()
            except TimeoutError:
                raise NoAnswer(f"no answer came for {SILENCE_SECONDS} s") from None
            except (HTTPException, OSError):
                broken += 1
                connection.close()
            else:
                if reply.status != 503:
                    server.check(reply.status, body)
                    now = time.perf_counter()
                    answers.append((now, now - sent))
                    continue
                refused += 1
                pause = float(reply.headers.get("Retry-After", pause))
            # Without this pause, the benchmark would measure how fast a server refuses.
            time.sleep(max(0.0, min(pause, until - time.perf_counter())))
    return answers, refused, broken


def tree(root: int) -> list[psutil.Process]:
    """Return a process and all its descendants."""
    process = psutil.Process(root)
    return [process, *process.children(recursive=True)]


def _cpu_seconds(processes: Iterable[psutil.Process]) -> dict[psutil.Process, float]:
    """Return the user and system time of each process that still exists."""
    found = {}
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            found[process] = sum(process.cpu_times()[:2])
    return found


def memory_mb(processes: Iterable[psutil.Process]) -> list[tuple[float, float]]:
    """Return RSS and PSS of each process that still exists, in 10^6 bytes."""
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            sizes = process.memory_full_info()
            found.append((sizes.rss / 1e6, sizes.pss / 1e6))
    return found

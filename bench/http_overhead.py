"""Measure the overhead of the HTTP server, in rounds of requests with one JPEG of 640x480.

Compare it with the same number of processes that call the pipeline without HTTP, or with the server
of another checkout (--against FOLDER). Every answer is verified. Ratios are medians of pairs of
rounds, with a 95 % interval; above 1, this server is better. With --forwarding, measure instead how
many milliseconds a forwarding function adds to an endpoint's answer.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, redirect_stdout
from functools import cache
from http.client import HTTPConnection
from multiprocessing import get_context
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "container")]

from bench import benchmark  # noqa: E402 - found by the line above
from bench.answers import check_of, expected_answer, photograph  # noqa: E402
from bench.load import Check, Round  # noqa: E402
from bench.servers import endpoint, own_server, use_image_environment  # noqa: E402
from serving.artifact.resolve import Artifact, resolve  # noqa: E402
from serving.core import logs  # noqa: E402
from serving.core.contract import Request  # noqa: E402
from serving.core.settings import Settings  # noqa: E402
from serving.forward import NO_MODEL, Endpoint, Forwarder  # noqa: E402
from serving.service import Service, model_of  # noqa: E402


def measure(options: argparse.Namespace) -> None:
    settings, photo = use_image_environment(), photograph()
    expected = expected_answer(settings, photo)
    workers, check = settings.workers, check_of(expected, tolerance=0.0)
    if options.forwarding:
        measure_forwarding(options, settings, photo, expected)
        return
    with ExitStack() as stack:
        this = stack.enter_context(own_server(workers, photo, check))
        sides: dict[str, benchmark.Measure] = {"HTTP": this.faultless}
        if options.against:
            other = own_server(workers, photo, check, options.against.resolve())
            sides["other server"] = stack.enter_context(other).faultless
        else:
            sides["in-process"] = stack.enter_context(in_process(workers, photo, check))
        runs = [benchmark.match(sides, n, options) for n in options.concurrency]
    if options.out:
        benchmark.write(options.out, {"seconds_per_round": options.seconds, "runs": runs})


def measure_forwarding(
    options: argparse.Namespace, settings: Settings, photo: bytes, expected: bytes
) -> None:
    """Alternate direct calls of an endpoint with calls through a forwarding pipeline."""
    request = Request("POST", "/invocations", {"content-type": "image/jpeg"}, photo)
    added, check = [], check_of(expected, tolerance=0.0)
    with tempfile.TemporaryFile("w") as log, endpoint(expected) as variables:
        forwarder_settings = Settings.from_environment(variables)
        target = Endpoint(forwarder_settings.forward_endpoint, variables)
        forward = Forwarder(forwarder_settings, target, lambda: 60.0)
        doorman = Service(settings, Artifact(Path(), ""), NO_MODEL, forward=forward)
        address = urlsplit(variables["AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME"])
        connection = HTTPConnection(str(address.hostname), address.port)

        def direct() -> tuple[int, bytes]:
            connection.request("POST", "/", photo)
            with connection.getresponse() as response:
                return response.status, response.read()

        def forwarded() -> tuple[int, bytes]:
            reply = doorman.respond(request)
            return reply.status, reply.body

        with redirect_stdout(log):
            logs.configure(settings.log_level)
        for number in range(100 * options.pairs):
            seconds = {}
            for call in (direct, forwarded)[:: -1 if number % 2 else 1]:
                started = time.perf_counter()
                found = call()
                seconds[call] = time.perf_counter() - started
                check(*found)
            added.append((seconds[forwarded] - seconds[direct]) * 1000)
    ratio, (low, high) = benchmark.interval(added[100:]).values()
    print(f"a doorman adds {ratio:.2f} ms ({low:.2f} to {high:.2f}) to an answer")


@contextmanager
def in_process(workers: int, photo: bytes, check: Check) -> Iterator[benchmark.Measure]:
    """Yield a function that measures the pipeline without HTTP."""
    os.environ.update({"MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1"})  # as entry.sh does
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:

        def measure_round(concurrency: int, seconds: float) -> Round:
            loops = min(workers, concurrency)
            found = [*pool.map(closed_loop, [photo] * loops, [seconds] * loops)]
            for _, _, answers in found:
                for status, body in answers:
                    check(status, body)
            cpu_seconds = sum(cpu for cpu, _, _ in found)
            rate = sum(len(latencies) / sum(latencies) for _, latencies, _ in found)
            return Round.of(rate, cpu_seconds, [one for _, each, _ in found for one in each])

        yield measure_round


@cache
def pipeline() -> Service:
    """Return this process's warm pipeline. Its log goes to a file, like the server's."""
    settings = Settings.from_environment(os.environ)
    sys.stdout = tempfile.TemporaryFile("w")  # noqa: SIM115 - open as long as the process lives
    logs.configure(settings.log_level)
    found = Service(settings, resolve(settings), model_of(settings))
    found.start()
    return found


def closed_loop(photo: bytes, seconds: float) -> tuple[float, list[float], set[tuple[int, bytes]]]:
    """Return the CPU seconds of this process, each answer's latency, and the distinct answers."""
    service, latencies, answers = pipeline(), [], set()
    request = Request("POST", "/invocations", {"content-type": "image/jpeg"}, photo)
    cpu, last = time.process_time(), time.perf_counter()
    until = last + seconds
    while last < until:
        reply = service.respond(request)
        answers.add((reply.status, reply.body))
        now = time.perf_counter()
        latencies.append(now - last)
        last = now
    return time.process_time() - cpu, latencies, answers


if __name__ == "__main__":
    parser = benchmark.parser_of(__doc__, pairs=10, attempts=3)
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="another checkout")
    parser.add_argument("--forwarding", action="store_true", help="what a doorman adds")
    sys.exit(benchmark.run(measure, parser))

"""`make bench`: what the HTTP server costs over the pipeline that it serves.

Rounds alternate between two closed loops over one request, a 640x480 JPEG:

    in-process   a process for each worker of the server, calling `Service.respond`
    HTTP         `entry.sh serve`, under `--concurrency` connections that are kept alive

The overhead is what throughput loses, 1 - HTTP / in-process, in the median of pairs of rounds.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import cv2
from rich.console import Console

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "container")]

from bench.load import drive, http_request  # noqa: E402 - found by the line above
from bench.measured import Round, WrongAnswer, machine_cpu_seconds  # noqa: E402
from bench.pipeline import closed_loop, expected_answer  # noqa: E402
from bench.report import Pair, is_quiet, machine, show, summary  # noqa: E402
from ops import faces  # noqa: E402
from ops.local import process_environment  # noqa: E402
from serving.errors import StartError  # noqa: E402
from serving.settings import Settings  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "overhead.json"
ATTEMPTS = 3  # at each quiet pair that is wanted


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench/overhead.py", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--concurrency", type=int, nargs="+", default=[8], metavar="N", help="connections (8)"
    )
    parser.add_argument("--pairs", type=int, default=12, help="quiet pairs (%(default)s)")
    parser.add_argument("--seconds", type=float, default=2.5, help="of a round (%(default)s)")
    parser.add_argument(
        "--quick", action="store_true", help="4 pairs of 1.5 s: a first look that writes no file"
    )
    options = parser.parse_args(arguments)
    pairs, seconds = (4, 1.5) if options.quick else (options.pairs, options.seconds)
    # Both sides read the same settings: those that `ops local` starts the server with.
    os.environ.update(process_environment())
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("MALLOC_ARENA_MAX", "1")  # as entry.sh does
    console = Console(highlight=False)
    runs = []
    try:
        for concurrency in options.concurrency:
            measured = measure(concurrency, pairs, seconds, console)
            runs.append(summary(concurrency, measured, pairs))
            show(runs[-1], console)
    except (WrongAnswer, StartError, faces.FaceError, OSError) as error:
        console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return 1
    if not options.quick:
        report = {"machine": machine(), "seconds_per_round": seconds, "runs": runs}
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(report, indent=1) + "\n")
        console.print(f"written: {RESULTS.relative_to(ROOT)}")
    return 0


def measure(concurrency: int, pairs: int, seconds: float, console: Console) -> list[Pair]:
    """Pairs of rounds, in either order by turns. Raises WrongAnswer, StartError or FaceError."""
    workers = Settings.from_environment(os.environ).workers
    photo = photograph()
    with ExitStack() as stack:
        port = stack.enter_context(server(workers))
        pools = [
            stack.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn")))
            for _ in range(min(workers, concurrency))
        ]
        expected, *_ = [pool.submit(expected_answer, photo).result() for pool in pools]
        request = http_request(photo)

        def in_process() -> Round:
            rounds = [pool.submit(closed_loop, photo, expected, seconds) for pool in pools]
            cpu_seconds, taken = zip(*(loop.result() for loop in rounds))
            return Round.of(
                sum(len(each) / sum(each) for each in taken),
                sum(cpu_seconds),
                [one for each in taken for one in each],
                busiest_worker=max(cpu_seconds) / sum(cpu_seconds),
            )

        def http() -> Round:
            return drive(port, request, expected, concurrency, seconds)

        in_process(), http()  # the first of each is slower, and does not count
        measured: list[Pair] = []
        while sum(map(is_quiet, measured)) < pairs and len(measured) < ATTEMPTS * pairs:
            if len(measured) % 2:
                theirs, ours = observed(http), observed(in_process)
            else:
                ours, theirs = observed(in_process), observed(http)
            measured.append((ours, theirs))
            before, after = ours.requests_per_second, theirs.requests_per_second
            console.print(
                f"concurrency {concurrency}, pair {len(measured)}: {before:.1f} in-process, "
                f"{after:.1f} HTTP requests/s, ratio {after / before:.3f}",
                "" if is_quiet(measured[-1]) else "(disturbed)",
                soft_wrap=True,
            )
    return measured


def observed(side: Callable[[], Round]) -> Round:
    """A round, and what the machine was busy with meanwhile that was not ours."""
    machine_before, started = machine_cpu_seconds(), time.perf_counter()
    found = side()
    seconds = time.perf_counter() - started
    all_cpus = (machine_cpu_seconds() - machine_before) / seconds
    our_cpus = found.requests * found.cpu_ms_per_request / 1000 / seconds + found.client_cpus
    return replace(found, other_cpus=max(0.0, all_cpus - our_cpus))


@contextmanager
def server(workers: int) -> Iterator[int]:
    """`entry.sh serve`; its port, once every worker has loaded the model. Raises FaceError."""
    port = faces.free_port()
    command = [str(faces.ENTRY), "serve", "--host", "127.0.0.1", "--port", str(port)]
    with faces.running(command, {}) as process:
        deadline = time.monotonic() + faces.START_SECONDS
        while process.output.count('"message": "ready"') < workers:
            process.check()
            if time.monotonic() > deadline:
                raise faces.FaceError(f"{workers} workers are not ready: {process.output[-500:]}")
            time.sleep(0.05)
        yield port


def photograph() -> bytes:
    pixels = cv2.imread(str(ROOT / "container" / "photos" / "coffee.png"))
    small = cv2.resize(pixels, (640, 480), interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 90])[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What the HTTP server costs over the pipeline that it serves.

Rounds alternate between two closed loops over one request, a 640x480 JPEG:

    in-process   a process for each worker of the server, calling `Service.respond`
    HTTP         `entry.sh serve`, under `--concurrency` connections that are kept alive

The overhead is what throughput loses, 1 - HTTP / in-process, in the median of pairs of rounds.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "container")]

from bench.load import drive  # noqa: E402 - found by the line above
from bench.measured import Round, WrongAnswer, check  # noqa: E402
from bench.ours import obey_image_settings, observed, photograph, server  # noqa: E402
from bench.pipeline import closed_loop, expected_answer  # noqa: E402
from bench.report import Pair, is_quiet, machine, show, summary  # noqa: E402
from ops import faces  # noqa: E402
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
    obey_image_settings()
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
        target, pid = stack.enter_context(server(workers))
        pools = [
            stack.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn")))
            for _ in range(min(workers, concurrency))
        ]
        expected, *_ = [pool.submit(expected_answer, photo).result() for pool in pools]
        request = target.request(photo)

        def exactly(status: int, body: bytes) -> None:
            check(status, body, expected)

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
            found = drive(target, request, exactly, concurrency, seconds, root=pid)
            if found.refused or found.broken:
                raise WrongAnswer(f"{found.refused} refused, {found.broken} broken connections")
            return found

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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

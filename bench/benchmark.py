"""What all benchmarks share: options, pairs of rounds, their statistics, and the results."""

import argparse
import json
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from bench.load import Round, WrongAnswer
from ops.local_servers import FaceError
from serving.core.errors import StartError

NOISE = 0.05  # a pair is disturbed if anything else uses more than this share of all CPUs
# The first figure is better if it is higher, the others if they are lower.
FIGURES = ("requests_per_second", "cpu_ms_per_request", "p50_ms", "p99_ms")

Measure = Callable[[int, float], Round]  # takes connections and seconds
Pair = tuple[Round, Round]  # our server first
Figures = Mapping[str, float]


def parser_of(text: str | None, *, pairs: int, attempts: int = 0) -> argparse.ArgumentParser:
    """Return a parser of the common options. Without `attempts`, rounds have no length."""
    parser = argparse.ArgumentParser(prog=sys.argv[0], description=text)
    add = parser.add_argument
    add("--pairs", type=int, default=pairs, help="quiet pairs (%(default)s)")
    add("--quick", action="store_true", help="fewer and shorter rounds")
    add("--out", type=Path, help="write the results to this file")
    if attempts:
        add("--concurrency", type=int, nargs="+", default=[1, 8, 32], help="connections (1 8 32)")
        add("--attempts", type=int, default=attempts, help="pairs for each quiet one (%(default)s)")
        add("--seconds", type=float, default=2.5, help="of a round (%(default)s)")
    return parser


def run(benchmark: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser) -> int:
    """Run a benchmark and return its exit status, which is 1 after an error or a wrong answer."""
    options = parser.parse_args()
    if options.quick:
        options.pairs, options.attempts, options.seconds, options.concurrency = 4, 1, 1.5, [8]
    try:
        benchmark(options)
    except (WrongAnswer, StartError, FaceError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def match(
    sides: Mapping[str, Measure], connections: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Measure pairs of rounds of the two sides, ours first; print and return the comparison.

    Stop after `options.pairs` quiet pairs, or after `options.attempts` times as many pairs. The
    order within a pair is random, so periodic noise favours neither side.
    """
    for measure in sides.values():
        measure(connections, options.seconds)  # a warm-up
    chance = random.Random(options.pairs)  # noqa: S311 - the same order in every run
    measured, limit = list[Pair](), options.attempts * options.pairs
    while not counted(measured, options.pairs)[1] and len(measured) < limit:
        order = chance.sample(list(sides), 2)
        rounds = {name: _observed(sides[name], connections, options.seconds) for name in order}
        ours, other = (rounds[name] for name in sides)
        measured.append((ours, other))
        rates = f"{ours.requests_per_second:.1f} and {other.requests_per_second:.1f} requests/s"
        disturbed = "" if is_quiet(measured[-1]) else " (disturbed)"
        print(f"pair {len(measured)}: {rates}{disturbed}", flush=True)
    found = compare(connections, measured, options.pairs, tuple(sides))
    _show(found)
    return found


def _observed(measure: Measure, connections: int, seconds: float) -> Round:
    """Measure a round, and the CPUs that everything else on the machine used meanwhile."""
    psutil.cpu_percent()  # starts the interval that the next call ends
    started = time.perf_counter()
    found = measure(connections, seconds)
    elapsed = time.perf_counter() - started
    busy = psutil.cpu_percent() / 100 * (os.cpu_count() or 1)
    ours = found.requests * found.cpu_ms_per_request / 1000 / elapsed + found.client_cpus
    return replace(found, other_cpus=max(0.0, busy - ours))


def is_quiet(pair: Pair) -> bool:
    return max(one.other_cpus for one in pair) <= NOISE * (os.cpu_count() or 1)


def counted(measured: Sequence[Pair], pairs: int) -> tuple[Sequence[Pair], bool]:
    """Return the quiet pairs and True if there are at least `pairs`, otherwise all and False."""
    quiet = [pair for pair in measured if is_quiet(pair)]
    return (quiet, True) if len(quiet) >= pairs else (measured, False)


def interval(values: Sequence[float]) -> dict[str, Any]:
    """Return the median and its 95 % interval by a bootstrap with a fixed seed."""
    draws = np.random.default_rng(0).choice(np.array(values), (10_000, len(values)))
    bounds = np.percentile(np.median(draws, axis=1), (2.5, 97.5)).tolist()
    return {"ratio": float(np.median(values)), "interval": bounds}


def compare(
    connections: int, measured: Sequence[Pair], pairs: int, names: Sequence[str]
) -> dict[str, Any]:
    """Summarise pairs: the ratio of each figure with its interval, medians, and all rounds."""
    chosen, settled = counted(measured, pairs)
    ours, other = ([asdict(one) for one in rounds] for rounds in zip(*chosen))
    return {
        "concurrency": connections,
        "settled": settled,
        "pairs": {"measured": len(measured), "counted": len(chosen)},
        "ratios": {key: _ratio(key, ours, other) for key in FIGURES},
        "medians": {name: medians(rounds) for name, rounds in zip(names, (ours, other))},
        "rounds": {n: [asdict(one) for one in rounds] for n, rounds in zip(names, zip(*measured))},
    }


def _ratio(key: str, ours: Sequence[Figures], other: Sequence[Figures]) -> dict[str, Any]:
    better, worse = (ours, other) if key == FIGURES[0] else (other, ours)
    return interval([max(a[key], 1e-9) / max(b[key], 1e-9) for a, b in zip(better, worse)])


def medians(rounds: Sequence[Figures]) -> dict[str, float]:
    return {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}


def _show(run: Mapping[str, Any]) -> None:
    settled = "" if run["settled"] else ", not settled: too few quiet pairs"
    print(f"{run['concurrency']} connections{settled}")
    (first, ours), (second, other) = run["medians"].items()
    for key, found in run["ratios"].items():
        ratio, (low, high) = found.values()
        figures = f"{first} {ours[key]:.2f}, {second} {other[key]:.2f}"
        print(f"    {key}: {figures}: {ratio:.3f} ({low:.3f} to {high:.3f})")
    print(f"    CPUs of the load generator: {ours['client_cpus']:.2f}")


def write(path: Path, found: Mapping[str, Any]) -> None:
    """Write results as JSON, with the machine that they were measured on. Raise OSError."""
    model = Path("/proc/cpuinfo").read_text().partition("model name")[2].partition("\n")[0]
    machine = {
        "cpu": model.lstrip("\t: "),
        "cpus": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine, **found}, indent=1) + "\n")
    print(f"written: {path}")

"""Pairs of rounds: how they alternate, and their medians, ratios and 95 % intervals."""

import argparse
import json
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from bench.load import Round

NOISE = 0.05  # of all CPUs: a pair is disturbed where anything else uses more of them
PACKAGES = ("flask", "gunicorn", "werkzeug", "numpy", "onnxruntime", "opencv-python-headless")
# Ratios say how many times better the first of a pair is. Only of the first figure is more better.
FIGURES = ("requests_per_second", "cpu_ms_per_request", "p50_ms", "p99_ms")

Measure = Callable[[int, float], Round]  # of connections and seconds
Pair = tuple[Round, Round]  # our server first


def match(
    sides: Mapping[str, Measure], connections: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Measure pairs of rounds of the two sides, ours first; print and return the comparison.

    Pairs are measured until `options.pairs` of them are quiet, or `options.attempts` times as
    many. Chance decides which of a pair is first, so that nothing periodic favours one of them.
    """
    for measure in sides.values():
        measure(connections, options.seconds)  # slower than the next, and does not count
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
    """Measure a round, and how many CPUs everything else on the machine used meanwhile."""
    psutil.cpu_percent()  # begins an interval, which the next call ends
    started = time.perf_counter()
    found = measure(connections, seconds)
    elapsed = time.perf_counter() - started
    busy = psutil.cpu_percent() / 100 * (os.cpu_count() or 1)
    ours = found.requests * found.cpu_ms_per_request / 1000 / elapsed + found.client_cpus
    return replace(found, other_cpus=max(0.0, busy - ours))


def is_quiet(pair: Pair) -> bool:
    return max(one.other_cpus for one in pair) <= NOISE * (os.cpu_count() or 1)


def counted(measured: Sequence[Pair], pairs: int) -> tuple[Sequence[Pair], bool]:
    """Return the quiet pairs, if there are `pairs` of them; else all, and False: not settled."""
    quiet = [pair for pair in measured if is_quiet(pair)]
    return (quiet, True) if len(quiet) >= pairs else (measured, False)


def interval(values: Sequence[float]) -> dict[str, Any]:
    """Return the median and its 95 % interval from a bootstrap with fixed draws."""
    draws = np.random.default_rng(0).choice(np.array(values), (10_000, len(values)))
    bounds = np.percentile(np.median(draws, axis=1), (2.5, 97.5)).tolist()
    return {"ratio": float(np.median(values)), "interval": bounds}


def compare(
    connections: int, measured: Sequence[Pair], pairs: int, names: Sequence[str]
) -> dict[str, Any]:
    """Summarise pairs: the ratio of each figure with its interval, medians, and all rounds."""
    chosen, settled = counted(measured, pairs)
    return {
        "concurrency": connections,
        "settled": settled,
        "pairs": {"measured": len(measured), "counted": len(chosen)},
        "ratios": {key: _ratio(key, chosen) for key in FIGURES},
        "medians": {name: _medians(rounds) for name, rounds in zip(names, zip(*chosen))},
        "rounds": {n: [asdict(one) for one in rounds] for n, rounds in zip(names, zip(*measured))},
    }


def _ratio(key: str, pairs: Sequence[Pair]) -> dict[str, Any]:
    columns = [[max(asdict(one)[key], 1e-9) for one in rounds] for rounds in zip(*pairs)]
    better, worse = columns if key == FIGURES[0] else reversed(columns)
    return interval([a / b for a, b in zip(better, worse)])


def _medians(rounds: Sequence[Round]) -> dict[str, float]:
    figures = [asdict(one) for one in rounds]
    keys = (*FIGURES, "client_cpus", "other_cpus")
    return {key: statistics.median(one[key] for one in figures) for key in keys}


def _show(run: Mapping[str, Any]) -> None:
    settled = "" if run["settled"] else ", not settled: too few quiet pairs"
    print(f"{run['concurrency']} connections{settled}")
    (first, ours), (second, other) = run["medians"].items()
    for key, found in run["ratios"].items():
        low, high = found["interval"]
        ratio = f"{found['ratio']:.3f} ({low:.3f} to {high:.3f})"
        figures = f"{first} {ours[key]:.2f}, {second} {other[key]:.2f}"
        print(f"    {key}: {figures}: {ratio}")
    print(f"    CPUs of the load generator: {ours['client_cpus']:.2f}")


def write(path: Path, found: Mapping[str, Any]) -> None:
    """Write results as JSON, with the machine that they were measured on. Raise OSError."""
    model = Path("/proc/cpuinfo").read_text().partition("model name")[2].partition("\n")[0]
    machine = {
        "cpu": model.lstrip("\t: "),
        "cpus": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine, **found}, indent=1) + "\n")
    print(f"written: {path}")

"""What the rounds amount to: medians, the ratio and how sure it is."""

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.measured import Round
from serving.settings import granted_cpus

GOAL = 0.87  # of the in-process throughput
NOISE = 0.05  # of all CPUs: where anything else uses more of them, a pair is disturbed
PACKAGES = ("flask", "gunicorn", "werkzeug", "numpy", "onnxruntime", "opencv-python-headless")
SIDES = ("in_process", "http")
ROWS = {
    "requests_per_second": "requests/s",
    "cpu_ms_per_request": "CPU ms a request",
    "p50_ms": "latency p50, ms",
    "p99_ms": "latency p99, ms",
    "client_cpus": "CPUs of the load generator",
    "other_cpus": "CPUs of anything else here",
    "busiest_worker": "busiest process, of the side's CPU",
}

Pair = tuple[Round, Round]  # one of each side


def is_quiet(pair: Pair) -> bool:
    return max(side.other_cpus for side in pair) <= NOISE * (os.cpu_count() or 1)


def counted(measured: Sequence[Pair], pairs: int) -> tuple[Sequence[Pair], bool]:
    """The quiet pairs, if there are `pairs` of them; else all, and False: nothing is settled."""
    quiet = [pair for pair in measured if is_quiet(pair)]
    return (quiet, True) if len(quiet) >= pairs else (measured, False)


def interval(ratios: Sequence[float]) -> tuple[float, float, float]:
    """The median, and its 95 % interval from a bootstrap: the same for the same ratios."""
    values = np.array(ratios)
    draws = np.random.default_rng(0).choice(values, (10_000, len(values)))
    low, high = np.percentile(np.median(draws, axis=1), (2.5, 97.5)).tolist()
    return float(np.median(values)), low, high


def ratio(ratios: Sequence[float]) -> dict[str, Any]:
    """The median and its interval, as results keep them."""
    middle, low, high = interval(ratios)
    return {"ratio": middle, "interval": [low, high]}


def write(path: Path, found: Mapping[str, Any], console: Console) -> None:
    """Results as JSON, with the machine that they are of. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine(), **found}, indent=1) + "\n")
    console.print(f"written: {path}", soft_wrap=True)


def medians(rounds: Sequence[Round]) -> dict[str, float]:
    return {key: statistics.median(getattr(one, key) for one in rounds) for key in ROWS}


def summary(concurrency: int, measured: Sequence[Pair], pairs: int) -> dict[str, Any]:
    """Medians, the median of the pairs' ratios, and its 95 % interval."""
    chosen, settled = counted(measured, pairs)
    found = ratio([b.requests_per_second / a.requests_per_second for a, b in chosen])
    low, high = found["interval"]
    goal = "met" if low >= GOAL else "missed" if high < GOAL else "not settled"
    return {
        "concurrency": concurrency,
        **found,
        "goal": goal if settled else "not settled, the machine was busy otherwise",
        "pairs": pair_counts(measured, chosen),
        "medians": {side: medians(rounds) for side, rounds in zip(SIDES, zip(*chosen))},
        "rounds": {
            side: [asdict(one) for one in rounds] for side, rounds in zip(SIDES, zip(*measured))
        },
    }


def pair_counts(measured: Sequence[Pair], chosen: Sequence[Pair]) -> dict[str, int]:
    quiet = sum(map(is_quiet, measured))
    return {"measured": len(measured), "quiet": quiet, "counted": len(chosen)}


def show(run: dict[str, Any], console: Console) -> None:
    table = Table("median of the rounds")
    for heading in ("in-process", f"HTTP, concurrency {run['concurrency']}"):
        table.add_column(heading, justify="right")
    for key, name in ROWS.items():
        table.add_row(name, *(f"{run['medians'][side][key]:.2f}" for side in SIDES))
    console.print(table)
    low, high = run["interval"]
    console.print(
        f"HTTP / in-process: {run['ratio']:.3f} (95 % interval {low:.3f} to {high:.3f}) "
        f"in {run['pairs']['counted']} pairs; goal, {GOAL} or more: {run['goal']}",
        soft_wrap=True,
    )


def machine() -> dict[str, Any]:
    model = Path("/proc/cpuinfo").read_text().partition("model name")[2].partition("\n")[0]
    return {
        "cpu": model.lstrip("\t: "),
        "cpus": granted_cpus(os.environ),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }

"""What pairs of rounds say of ours and a peer. Every ratio says how many times ours is better."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from bench.measured import Round
from bench.report import Pair, counted, medians, pair_counts, ratio

SIDES = ("ours", "peer")
MORE_IS_BETTER = {
    "requests_per_second": True,
    "cpu_ms_per_request": False,
    "p50_ms": False,
    "p99_ms": False,
}


def compare(
    concurrency: int, measured: Sequence[Pair], pairs: int, hangs: int = 0
) -> dict[str, Any]:
    """Of pairs (ours, peer): each figure's median ratio with its 95 % interval, and the medians.

    Of no pairs, only that there are none: a peer may hang (`hangs` times) before it has one.
    """
    if not measured:
        return {"concurrency": concurrency, "settled": False, "hangs": hangs}
    chosen, settled = counted(measured, pairs)
    return {
        "concurrency": concurrency,
        "settled": settled,  # enough pairs during which nothing else was busy
        "hangs": hangs,  # of the peer, each of which cost a pair and a new start
        "pairs": pair_counts(measured, chosen),
        "ratios": {key: _ratio(key, more, chosen) for key, more in MORE_IS_BETTER.items()},
        "medians": {side: medians(rounds) for side, rounds in zip(SIDES, zip(*chosen))},
        "refused": [sum(one.refused for one in rounds) for rounds in zip(*measured)],
        "broken": [sum(one.broken for one in rounds) for rounds in zip(*measured)],
        "rounds": {
            side: [asdict(one) for one in rounds] for side, rounds in zip(SIDES, zip(*measured))
        },
    }


def _ratio(key: str, more_is_better: bool, pairs: Sequence[Pair]) -> dict[str, Any]:
    ratios = [getattr(ours, key) / max(getattr(peer, key), 1e-9) for ours, peer in pairs]
    if not more_is_better:
        ratios = [1 / max(one, 1e-9) for one in ratios]
    found = ratio(ratios)
    low, high = found["interval"]
    return {**found, "ours_is": "ahead" if low > 1 else "behind" if high < 1 else "level"}


def sweep_point(concurrency: int, rounds: Sequence[Round]) -> dict[str, Any]:
    keys = ("requests_per_second", "p50_ms", "p99_ms", "refused", "broken")
    middle = {key: statistics.median(getattr(one, key) for one in rounds) for key in keys}
    return {"concurrency": concurrency, **middle}


def show(title: str, runs: Sequence[dict[str, Any]], console: Console) -> None:
    console.print(f"ours against {title}:", soft_wrap=True, markup=False)
    for run in runs:
        hung = f"; the peer's hangs: {run['hangs']}" if run["hangs"] else ""
        if "medians" not in run:
            console.print(f"  {run['concurrency']:>3} connections: nothing{hung}")
            continue
        ours, peer = (run["medians"][side] for side in SIDES)
        times, p99 = (run["ratios"][key] for key in ("requests_per_second", "p99_ms"))
        low, high = times["interval"]
        console.print(
            f"  {run['concurrency']:>3} connections: {ours['requests_per_second']:.1f} against "
            f"{peer['requests_per_second']:.1f} requests/s, {times['ratio']:.2f} times "
            f"({low:.2f} to {high:.2f}), {times['ours_is']}; "
            f"p99 {ours['p99_ms']:.0f} against {peer['p99_ms']:.0f} ms, {p99['ours_is']}; "
            f"CPU {ours['cpu_ms_per_request']:.1f} against {peer['cpu_ms_per_request']:.1f} ms a "
            f"request; load generator {ours['client_cpus']:.2f} CPUs"
            + ("" if run["settled"] else "; not settled, too few quiet pairs")
            + hung,
            soft_wrap=True,
        )

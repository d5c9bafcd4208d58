"""Which engine serves the cheapest: medians, ratios and dollars, and how sure they are."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench.billing import COLD_SHARE, memory_mb, usd_per_million
from bench.contenders import BASELINE
from bench.engine_rounds import EngineRound
from bench.report import NOISE, ratio

LEVEL = 0.02  # of a cost: less decides nothing
COLUMNS = {
    "import_ms": "import",
    "load_ms": "load",
    "first_ms": "first",
    "cold_ms": "cold",
    "warm_ms": "warm",
    "warm_billed_ms": "billed",
    "forward_ms": "forward",
    "peak_rss_mb": "MB",
}
RATIOS = ("usd_per_million", "cold_ms", "warm_ms", "forward_ms", "peak_rss_mb")

Rounds = Mapping[str, Sequence[EngineRound]]  # by engine; the n-th of each belong together


def threads_of(vcpus: float) -> int:
    return max(1, round(vcpus))


def grant(vcpus: float, rounds: Rounds, titles: Mapping[str, str]) -> dict[str, Any]:
    """What one grant's rounds amount to. Every ratio is to ONNX Runtime in the same round."""
    values = {name: [_values(vcpus, one) for one in of] for name, of in rounds.items()}
    base = values[BASELINE]
    engines: dict[str, Any] = {}
    for name, of in values.items():
        engines[name] = {
            "title": titles[name],
            "medians": {key: statistics.median(one[key] for one in of) for key in of[0]},
            "ratios": {
                key: ratio([one[key] / other[key] for one, other in zip(of, base)])
                for key in RATIOS
            },
            "rounds": of,
        }
    return {
        "vcpus": vcpus,
        "threads": threads_of(vcpus),
        "memory_mb": memory_mb(vcpus),
        "cold_share": COLD_SHARE,
        "engines": engines,
    }


def _values(vcpus: float, one: EngineRound) -> dict[str, float]:
    usd = usd_per_million(vcpus, one.warm_billed_ms, one.cold_ms)
    return {**asdict(one), "cold_ms": one.cold_ms, "usd_per_million": usd}


def per_second(whole_cpu: Mapping[str, Any]) -> dict[str, float]:
    """Requests a second of one thread on a whole CPU, by engine: what breaks ties."""
    return {name: 1000 / of["medians"]["warm_ms"] for name, of in whole_cpu["engines"].items()}


def cheapest(found: Mapping[str, Any], rates: Mapping[str, float]) -> str:
    """The engine whose median cost is the least; of those within LEVEL, the one of the best rate.

    Whether it is known to be cheaper, the intervals of the ratios say.
    """
    usd: dict[str, float] = {
        name: of["medians"]["usd_per_million"] for name, of in found["engines"].items()
    }
    tied = [name for name, cost in usd.items() if cost <= min(usd.values()) * (1 + LEVEL)]
    return max(tied, key=lambda name: (rates.get(name, 0.0), -usd[name]))


def show(found: Mapping[str, Any], console: Console) -> None:
    grants, rates = found["grants"].values(), found["requests_per_second"]
    for one in grants:
        console.print(_medians(one))
    names = [f"{one['vcpus']:g} vCPU" for one in grants]
    title = f"USD a million requests, {COLD_SHARE:.0%} of them cold (* the cheapest)"
    costs = _table(title, *names, "requests/s", "package, MB")
    ratios = _table("the same, ratio to ONNX Runtime's: 95 % interval", *names)
    for name, engine in found["engines"].items():
        rate = f"{rates[name]:.0f}" if name in rates else "-"
        size = f"{engine['installed_mb']:.0f}"
        costs.add_row(engine["title"], *(_cost(one, name) for one in grants), rate, size)
        ratios.add_row(engine["title"], *(_cost_ratio(one, name) for one in grants))
    console.print(costs)
    console.print(ratios)
    disturbed = sum(engine["disturbed_rounds"] for engine in found["engines"].values())
    if disturbed:
        console.print(
            f"{disturbed} rounds were disturbed: other processes used more than {NOISE:.0%} of the "
            "CPUs. Nothing is settled where those are many.",
            soft_wrap=True,
        )


def _medians(one: Mapping[str, Any]) -> Table:
    which = f"{one['vcpus']:g} vCPU, {one['memory_mb']} MB"
    title = f"{which}, threads: {one['threads']}; medians, ms and MB"
    table = _table(title, *COLUMNS.values())
    for of in one["engines"].values():
        middle = of["medians"]
        digits = {key: 0 if middle[key] >= 100 else 1 for key in COLUMNS}
        table.add_row(of["title"], *(f"{middle[key]:.{digits[key]}f}" for key in COLUMNS))
    return table


def _table(title: str, *names: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _cost(one: Mapping[str, Any], name: str) -> str:
    mark = "* " if name == one["cheapest"] else ""
    return f"{mark}{one['engines'][name]['medians']['usd_per_million']:.3f}"


def _cost_ratio(one: Mapping[str, Any], name: str) -> str:
    low, high = one["engines"][name]["ratios"]["usd_per_million"]["interval"]
    return f"{low:.2f} to {high:.2f}"


def show_forward(found: Mapping[str, Any], console: Console) -> None:
    forward = found["forward"]
    console.print(
        f"limit of a forward: {forward['operations'] / 1e6:.0f} million operations at "
        f"{forward['peak_operations_per_second'] / 1e9:.0f} GFLOP/s, the peak of one core: "
        f"{forward['limit_ms']:.2f} ms",
        soft_wrap=True,
    )
    batches = ", ".join(f"{size}: {ms:.2f}" for size, ms in found["batches"].items())
    console.print(f"ms a picture, by how many are in a forward: {batches}", soft_wrap=True)

"""Present an estimate as tables, as JSON, or as a plot."""

import math
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from ops.cost import CostError
from ops.cost.estimate import HIGHEST, LOWEST, Estimate
from ops.cost.prices import usd
from ops.cost.targets import Target, data_usd, lambda_usd
from ops.cost.workload import SECONDS_PER_MONTH, Traffic, count, rounded

LADDER = (1e6, 1e7, 1e8)  # the requests a month to show if the traffic is unknown
# The palette of Okabe and Ito, which colour-blind readers can tell apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
POINTS = 480
MOST_MARKED = 4  # further break-evens are too close together
# Keep text searchable, and write the same bytes for the same data.
_SVG = {"svg.fonttype": "none", "svg.hashsalt": "cost"}


def as_json(estimate: Estimate) -> dict[str, Any]:
    traffic, workload = estimate.traffic, estimate.workload
    return {
        "region": estimate.prices.region,
        "price_dates": dict(estimate.prices.dates),
        "requests_per_month": traffic and traffic.requests_per_month,
        "requests_per_second": traffic and traffic.mean_per_second,
        "peak_requests_per_second": traffic and traffic.peak_per_second,
        "request": asdict(workload.usage),
        "notes": list(workload.notes),
        "sizes": [asdict(size) for size in workload.sizes],
        "targets": [
            {**_target(estimate, target), "cheapest": target is estimate.best}
            for target in estimate.ranked
        ],
        "architecture": workload.architecture,
        "not_measured": [_target(estimate, target) for target in estimate.not_measured],
        "break_evens": [
            {
                "requests_per_month": point.requests_per_month,
                "requests_per_second": point.requests_per_month / SECONDS_PER_MONTH,
                "below": point.before.name,
                "above": point.after.name,
            }
            for point in estimate.break_evens
        ],
        "turning_point": estimate.turning_points[0],
        "advice": estimate.advice,
        "command": estimate.command,
        "missing": list(estimate.missing),
        **({"forwarding": [estimate.forwarding]} if estimate.forwarding else {}),
        "left_out": list(estimate.left_out),
    }


def _target(estimate: Estimate, target: Target) -> dict[str, Any]:
    found = {"target": target.key, "name": target.name}
    if not (traffic := estimate.traffic):
        return found
    quote = target.quote(traffic)
    if math.isinf(quote.usd_per_month):
        return {**found, "usd_per_month": None, "runs": quote.runs}
    return {
        **found,
        "usd_per_month": quote.usd_per_month,
        "usd_per_million_requests": quote.usd_per_month / traffic.requests_per_month * 1e6,
        "runs": quote.runs,
        "command": estimate.deploy(quote),
    }


def show(estimate: Estimate, console: Console, *, brief: bool) -> None:
    """Print the notes, the comparison unless `brief`, and the advice."""
    _print(console, estimate.workload.notes)
    if not brief:
        if estimate.workload.sizes:
            console.print(_sizes_table(estimate))
        console.print(_targets_table(estimate))
        said = estimate.turning_points
        _print(console, said if estimate.traffic else said[1:])  # the first is the advice
    _print(console, [_data(estimate), estimate.forwarding, estimate.assumption])
    _print(console, estimate.missing, "yellow")
    if not brief:
        console.print(f"Left out: {'; '.join(estimate.left_out)}.", style="dim")
    console.print(estimate.advice, style="bold")
    if estimate.command:  # soft_wrap keeps the command on one line
        console.print(f"  {estimate.command}", soft_wrap=True)
    if brief:
        console.print(f"({estimate.prices.title})", style="dim")


def _print(console: Console, lines: Iterable[str], style: str | None = None) -> None:
    for line in filter(None, lines):
        console.print(line, style=style)


def _targets_table(estimate: Estimate) -> Table:
    traffic = estimate.traffic
    columns = [traffic] if traffic else [Traffic(requests) for requests in LADDER]
    names = [f"{count(column.requests_per_month)} requests" for column in columns]
    title = "A month"
    if traffic:
        title = f"{names[0]} a month ({traffic.mean_per_second:,.3g}/s on average"
        even = traffic.peak_per_second <= traffic.mean_per_second * 1.001
        title += ")" if even else f", {traffic.peak_per_second:,.3g}/s in the busiest hour)"
        names = ["USD a month", "a million"]
    table = _table(f"{title}, {estimate.prices.title}", "", *names)
    if traffic:
        table.add_column("runs")
    for target in [*estimate.ranked, *estimate.not_measured]:
        quotes = [target.quote(column) for column in columns]
        cells = [usd(quote.usd_per_month) for quote in quotes]
        if traffic:
            each = quotes[0].usd_per_month / traffic.requests_per_month * 1e6
            cells += [usd(each), quotes[0].runs]
        name = target.name + " *" * (target in estimate.not_measured)
        table.add_row(name, *cells, style="green" if target is estimate.best else None)
    return table


def _sizes_table(estimate: Estimate) -> Table:
    table = _table("Memory sizes of Lambda", "MB", "median", "p95", "a million")
    workload = estimate.workload
    price = estimate.prices.of_lambda(workload.architecture)
    for size in workload.sizes:
        cost = lambda_usd(1e6, size.memory_mb, size.billed_ms, price) if price else math.inf
        cells = (f"{size.memory_mb:,}", f"{size.median_ms:.1f} ms", f"{size.p95_ms:.1f} ms")
        style = "green" if size.memory_mb == workload.usage.lambda_memory_mb else None
        table.add_row(*cells, usd(cost), style=style)
    return table


def _table(title: str, *numbers: str) -> Table:
    columns = [Column(name, justify="right" if name else "left") for name in numbers]
    return Table(*columns, title=title, title_justify="left", title_style="bold")


def _data(estimate: Estimate) -> str:
    """Return SageMaker's charge for data; an empty text without one."""
    data_bytes = estimate.workload.usage.data_bytes or 0.0
    if not (charged := data_usd(1e6, data_bytes, estimate.prices)):
        return ""
    each = f"{rounded(data_bytes / 1024)} KB each"
    return f"SageMaker charges {usd(charged)} for the data of a million requests, {each}."


def check_plot(path: Path) -> None:
    """Raise CostError if the plot cannot be drawn, before anything is measured."""
    if path.suffix not in (".svg", ".png"):
        raise CostError(f"--plot {path}: the name must end with .svg or .png")
    try:
        import matplotlib.figure  # noqa: F401 - an optional extra
    except ImportError:
        raise CostError("--plot needs matplotlib: `pip install matplotlib`") from None


def draw(estimate: Estimate, path: Path) -> None:
    """Plot cost against traffic, with today's and the break-evens. Raise OSError."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    today = estimate.traffic.requests_per_month if estimate.traffic else None
    points = estimate.break_evens[:MOST_MARKED]
    seen = [point.requests_per_month for point in points] + ([today] if today else []) or [1e6]
    low = max(math.log10(LOWEST), math.floor(math.log10(min(seen)) - 1.5))
    high = min(math.log10(HIGHEST * 100), math.ceil(math.log10(max(seen)) + 0.5))
    requests = [10 ** (low + (high - low) * step / POINTS) for step in range(POINTS + 1)]
    with rc_context(_SVG):
        figure = Figure(figsize=(9, 6.5), layout="constrained")
        axes = figure.subplots()
        for colour, target in zip(COLOURS, estimate.targets):
            costs = [
                target.usd_per_month(estimate.workload.asked.scaled_to(each)) for each in requests
            ]
            line = ":" if target.key == "lambda_kept_warm" else "-"
            axes.loglog(requests, costs, line, color=colour, linewidth=2.5, label=target.name)
        for point in points:
            x, what = point.requests_per_month, "limit" if point.is_a_limit else "break-even"
            axes.axvline(x, color="#555", ls="--", lw=1, label=f"{what} {_both_rates(x)}")
        if today:
            axes.axvline(today, color="#b00020", lw=1, label=f"today: {_both_rates(today)}")
        axes.set_title(f"A month's cost by traffic, {estimate.prices.title}")
        axes.set(xlabel="requests a month", ylabel="USD a month", xlim=(10.0**low, 10.0**high))
        axes.xaxis.set_major_formatter(lambda value, _: count(value))
        axes.yaxis.set_major_formatter(lambda value, _: usd(value))
        axes.grid(color="#ddd")
        figure.legend(loc="outside lower left", ncols=2, frameon=False)
        metadata = {"Date": None, "Creator": None} if path.suffix == ".svg" else None
        figure.savefig(path, dpi=100, metadata=metadata)


def _both_rates(requests: float) -> str:
    return f"{count(requests)} ({rounded(requests / SECONDS_PER_MONTH)}/s)"

"""Show an estimate as tables for a person, or as JSON for a machine."""

import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from ops.cost.estimate import Estimate
from ops.cost.prices import usd
from ops.cost.targets import Target, data_usd, on_demand
from ops.cost.traffic import SECONDS_PER_MONTH, Traffic, count, rounded
from ops.cost.workload import RequestUsage

LADDER = (1e6, 1e7, 1e8)  # the requests a month to show if the traffic is not known
_MOST_BREAK_EVENS = 2


def as_json(estimate: Estimate) -> dict[str, Any]:
    traffic, best = estimate.traffic, estimate.best
    return {
        "region": estimate.prices.region,
        "price_dates": dict(estimate.prices.dates),
        "requests_per_month": traffic and traffic.requests_per_month,
        "requests_per_second": traffic and traffic.mean_per_second,
        "peak_requests_per_second": traffic and traffic.peak_per_second,
        "request": asdict(estimate.workload.usage),
        "notes": list(estimate.workload.notes),
        "sizes": [asdict(size) for size in estimate.workload.sizes],
        "targets": [
            {
                "target": target.key,
                "name": target.name,
                "cheapest": target is best,
                **(_costs(estimate, target, traffic) if traffic else {}),
            }
            for target in estimate.ranked
        ],
        "architecture": estimate.workload.architecture,
        "not_measured": [
            {
                "target": target.key,
                "name": target.name,
                **(_costs(estimate, target, traffic) if traffic else {}),
            }
            for target in estimate.not_measured
        ],
        "break_evens": [
            {
                "requests_per_month": point.requests_per_month,
                "requests_per_second": point.requests_per_month / SECONDS_PER_MONTH,
                "below": point.before.name,
                "above": point.after.name,
            }
            for point in estimate.break_evens
        ],
        "turning_point": estimate.turning_point,
        "advice": estimate.advice,
        "command": estimate.command,
        "missing": list(estimate.missing),
        **({"forwarding": list(estimate.forwarding)} if estimate.forwarding else {}),
        "left_out": list(estimate.left_out),
    }


def _costs(estimate: Estimate, target: Target, traffic: Traffic) -> dict[str, Any]:
    costs, runs, command = target.quote(traffic)
    if math.isinf(costs):
        return {"usd_per_month": None, "runs": runs}
    return {
        "usd_per_month": costs,
        "usd_per_million_requests": costs / traffic.requests_per_month * 1e6,
        "runs": runs,
        "command": command + estimate.workload.deploy_options,
    }


def show(estimate: Estimate, console: Console, *, brief: bool) -> None:
    """Print how it was found out, the comparison unless `brief`, and the advice."""
    _print(console, estimate.workload.notes)
    if not brief:
        if estimate.workload.sizes:
            console.print(_sizes_table(estimate))
        console.print(_targets_table(estimate))
        _print(console, _break_evens(estimate))
    _print(console, _data(estimate))
    _print(console, estimate.forwarding)
    _print(console, [estimate.assumption] if estimate.not_measured else [])
    _print(console, estimate.missing, "yellow")
    if not brief:
        _print(console, [f"Left out: {'; '.join(estimate.left_out)}."], "dim")
    _print(console, [estimate.advice], "bold")
    if estimate.command:  # on a line of its own that is not broken
        console.print(f"  {estimate.command}", soft_wrap=True)
    if brief:
        _print(console, [f"({estimate.prices.title})"], "dim")


def _print(console: Console, lines: Iterable[str], style: str | None = None) -> None:
    for line in lines:
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
    usage, prices = estimate.workload.usage, estimate.prices
    for size in estimate.workload.sizes:
        cost = math.inf
        architecture = estimate.workload.architecture
        if prices.of_lambda(architecture):
            warm = RequestUsage(
                lambda_memory_mb=size.memory_mb, lambda_ms=size.billed_ms, vcpu_ms=0
            )
            lambda_alone = on_demand(warm, prices, architecture=architecture)
            cost = lambda_alone.usd_per_month(Traffic(1e6))
        times = (f"{size.median_ms:.1f} ms", f"{size.p95_ms:.1f} ms")
        style = "green" if size.memory_mb == usage.lambda_memory_mb else None
        table.add_row(f"{size.memory_mb:,}", *times, usd(cost), style=style)
    return table


def _table(title: str, *numbers: str) -> Table:
    columns = [Column(name, justify="right" if name else "left") for name in numbers]
    return Table(*columns, title=title, title_justify="left", title_style="bold")


def _break_evens(estimate: Estimate) -> list[str]:
    """Return what the advice does not say."""
    points = estimate.break_evens
    said = [point.sentence for point in points[:_MOST_BREAK_EVENS]]
    if more := len(points) - len(said):
        said.append(f"... and {more} more, with each further instance (--json).")
    if estimate.traffic is None:
        return said[1:]
    return said or [estimate.turning_point]


def _data(estimate: Estimate) -> list[str]:
    """Return what SageMaker charges for data, beside Lambda's whole price; nothing if unknown."""
    data_bytes = estimate.workload.usage.data_bytes or 0.0
    charged = data_usd(1e6, data_bytes, estimate.prices)
    if not charged:
        return []
    said = f"SageMaker takes {usd(charged)} for the data of a "
    said += f"million requests, {rounded(data_bytes / 1024)} KB each"
    for target in estimate.targets:
        if target.key == "lambda":
            total = usd(target.usd_per_month(Traffic(1e6)))
            said += f"; {target.name} takes {total} for all of it"
    return [f"{said}."]

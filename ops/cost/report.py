"""Present an estimate as tables or as JSON."""

import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from ops.cost.estimate import Estimate
from ops.cost.prices import usd
from ops.cost.targets import Target, data_usd, lambda_usd
from ops.cost.traffic import SECONDS_PER_MONTH, Traffic, count, rounded
from ops.cost.workload import RequestUsage

LADDER = (1e6, 1e7, 1e8)  # the requests a month to show if the traffic is unknown
_MOST_BREAK_EVENS = 2


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
        "turning_point": estimate.turning_point,
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
    costs, runs, command = target.quote(traffic)
    if math.isinf(costs):
        return {**found, "usd_per_month": None, "runs": runs}
    return {
        **found,
        "usd_per_month": costs,
        "usd_per_million_requests": costs / traffic.requests_per_month * 1e6,
        "runs": runs,
        "command": command + estimate.workload.deploy_options,
    }


def show(estimate: Estimate, console: Console, *, brief: bool) -> None:
    """Print the notes, the comparison unless `brief`, and the advice."""
    _print(console, estimate.workload.notes)
    if not brief:
        if estimate.workload.sizes:
            console.print(_sizes_table(estimate))
        console.print(_targets_table(estimate))
        _print(console, _break_evens(estimate))
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
        warm = RequestUsage(lambda_memory_mb=size.memory_mb, lambda_ms=size.billed_ms, vcpu_ms=0)
        cost = lambda_usd(1e6, warm, price) if price else math.inf
        cells = (f"{size.memory_mb:,}", f"{size.median_ms:.1f} ms", f"{size.p95_ms:.1f} ms")
        style = "green" if size.memory_mb == workload.usage.lambda_memory_mb else None
        table.add_row(*cells, usd(cost), style=style)
    return table


def _table(title: str, *numbers: str) -> Table:
    columns = [Column(name, justify="right" if name else "left") for name in numbers]
    return Table(*columns, title=title, title_justify="left", title_style="bold")


def _break_evens(estimate: Estimate) -> list[str]:
    """Return the sentences that the advice does not repeat."""
    points = estimate.break_evens
    said = [point.sentence for point in points[:_MOST_BREAK_EVENS]]
    if more := len(points) - len(said):
        said.append(f"... and {more} more, with each further instance (--json).")
    return said[1:] if estimate.traffic is None else said or [estimate.turning_point]


def _data(estimate: Estimate) -> str:
    """Compare SageMaker's charge for data with Lambda's whole price; empty without a charge."""
    data_bytes = estimate.workload.usage.data_bytes or 0.0
    if not (charged := data_usd(1e6, data_bytes, estimate.prices)):
        return ""
    said = f"SageMaker charges {usd(charged)} for the data of a million requests, "
    said += f"{rounded(data_bytes / 1024)} KB each"
    for target in estimate.targets:
        if target.key == "lambda":
            said += f"; {target.name} costs {usd(target.usd_per_month(Traffic(1e6)))} in all"
    return f"{said}."

"""An estimate as a table for a person, or as JSON for a machine."""

import math
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from ops.cost.arithmetic import SECONDS_PER_MONTH, data_usd
from ops.cost.estimate import Estimate
from ops.cost.found import Size
from ops.cost.prices import GB
from ops.cost.targets import Target
from ops.cost.traffic import Traffic
from ops.cost.words import count, rounded, usd

# Where the traffic is not known, the table has these.
LADDER = (1e6, 1e7, 1e8)
_MOST_BREAK_EVENS = 2


def as_json(estimate: Estimate) -> dict[str, Any]:
    traffic, best = estimate.traffic, estimate.best
    return {
        "region": estimate.prices.region,
        "price_dates": dict(estimate.prices.dates),
        "requests_per_month": traffic and traffic.requests_per_month,
        "requests_per_second": traffic and traffic.mean_per_second,
        "peak_requests_per_second": traffic and traffic.peak_per_second,
        "request": vars(estimate.found.work),
        "notes": list(estimate.found.notes),
        "sizes": [vars(size) for size in estimate.found.sizes],
        "targets": [
            {
                "target": target.key,
                "name": target.name,
                "cheapest": target is best,
                **(_costs(target, traffic) if traffic else {}),
            }
            for target in estimate.targets
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
        "missing": estimate.missing,
        "left_out": list(estimate.left_out),
    }


def show(estimate: Estimate, console: Console) -> None:
    """How it was found, the table, the break-even points, what is left out, what to do."""
    for note in estimate.found.notes:
        console.print(note, markup=False, highlight=False)
    if estimate.found.sizes:
        console.print(_sizes(estimate.found.sizes, estimate))
    console.print(_table(estimate))
    for line in _break_evens(estimate):
        console.print(line, markup=False, highlight=False)
    for line in estimate.missing:
        console.print(line, style="yellow", markup=False, highlight=False)
    left_out = "; ".join(estimate.left_out)
    console.print(f"Left out: {left_out}.", style="dim", markup=False, highlight=False)
    _advise(estimate, console)


def brief(estimate: Estimate, console: Console) -> None:
    """Only how it was found, and the advice with whose prices it is."""
    for line in (*estimate.found.notes, *_data(estimate)):
        console.print(line, markup=False, highlight=False)
    _advise(estimate, console)
    console.print(f"({estimate.prices.title})", style="dim", markup=False, highlight=False)


def _advise(estimate: Estimate, console: Console) -> None:
    """The sentence, and the command on a line of its own."""
    console.print(estimate.advice, style="bold", markup=False, highlight=False)
    if estimate.command:
        console.print(f"  {estimate.command}", markup=False, highlight=False, soft_wrap=True)


def _table(estimate: Estimate) -> Table:
    traffic = estimate.traffic
    title = "A month"
    if traffic:
        title = f"{count(traffic.requests_per_month)} requests a month"
        title += f" ({traffic.mean_per_second:,.3g}/s on average"
        even = traffic.peak_per_second <= traffic.mean_per_second * 1.001
        title += ")" if even else f", {traffic.peak_per_second:,.3g}/s in the busiest hour)"
    table = Table(
        title=f"{title}, {estimate.prices.title}", title_justify="left", title_style="bold"
    )
    table.add_column("")
    columns = [traffic] if traffic else [Traffic(requests) for requests in LADDER]
    for column in columns:
        name = "USD a month" if traffic else f"{count(column.requests_per_month)} requests"
        table.add_column(name, justify="right")
    if traffic:
        table.add_column("a million", justify="right")
        table.add_column("runs")
    for target in estimate.targets:
        cells = [usd(target.usd_per_month(column)) for column in columns]
        if traffic:
            each = target.usd_per_month(traffic) / traffic.requests_per_month * 1e6
            cells += [usd(each), target.remark(traffic)]
        style = "green" if target is estimate.best else None
        table.add_row(target.name, *cells, style=style)
    return table


def _break_evens(estimate: Estimate) -> list[str]:
    """What the advice does not say."""
    points = estimate.break_evens
    said = [point.sentence for point in points[:_MOST_BREAK_EVENS]]
    if more := len(points) - len(said):
        said.append(f"... and {more} more, with each further instance (--json).")
    if estimate.traffic is None:
        said = said[1:]
    elif not said:
        said = [estimate.turning_point]
    return [*said, *_data(estimate)]


def _data(estimate: Estimate) -> list[str]:
    data_bytes, asks = estimate.found.work.data_bytes, estimate.prices.data
    if not asks or not data_bytes:
        return []
    each = data_usd(1e6, bytes_per_request=data_bytes, usd_per_gb=asks[GB])
    said = f"SageMaker takes {usd(each)} for the data of a million requests, "
    said += f"{rounded(data_bytes / 1024)} KB each"
    by_call = [target for target in estimate.rivals if target.key == "lambda"]
    if by_call:
        total = by_call[0].usd_per_month(Traffic(1e6))
        said += f"; {by_call[0].name} takes {usd(total)} for all of it"
    return [f"{said}."]


def _sizes(sizes: Sequence[Size], estimate: Estimate) -> Table:
    table = Table(title="Memory sizes of Lambda", title_justify="left", title_style="bold")
    for name in ("MB", "median", "p95", "a million"):
        table.add_column(name, justify="right")
    chosen = estimate.found.work.lambda_memory_mb
    for size in sizes:
        table.add_row(
            f"{size.memory_mb:,}",
            f"{size.median_ms:.1f} ms",
            f"{size.p95_ms:.1f} ms",
            usd(size.usd_per_million(estimate.prices)),
            style="green" if size.memory_mb == chosen else None,
        )
    return table


def _costs(target: Target, traffic: Traffic) -> dict[str, Any]:
    total = target.usd_per_month(traffic)
    if math.isinf(total):
        return {"usd_per_month": None, "runs": target.remark(traffic)}
    return {
        "usd_per_month": total,
        "usd_per_million_requests": total / traffic.requests_per_month * 1e6,
        "runs": target.remark(traffic),
        "command": target.command(traffic),
    }

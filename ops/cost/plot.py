"""Draw cost against traffic on logarithmic axes, as an SVG or PNG file."""

import math
from pathlib import Path

from ops.cost import CostError
from ops.cost.estimate import HIGHEST, LOWEST, Estimate
from ops.cost.prices import usd
from ops.cost.traffic import SECONDS_PER_MONTH, Traffic, count, rounded

# The palette of Okabe and Ito, which colour-blind readers can tell apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
POINTS = 480
MOST_MARKED = 4  # further break-evens are too close together
# Keep text searchable, and write the same bytes for the same data.
_SVG = {"svg.fonttype": "none", "svg.hashsalt": "cost"}


def check(path: Path) -> None:
    """Raise CostError if the plot cannot be drawn, before anything is measured."""
    if path.suffix not in (".svg", ".png"):
        raise CostError(f"--plot {path}: the name must end with .svg or .png")
    try:
        import matplotlib.figure  # noqa: F401 - an optional extra
    except ImportError:
        raise CostError("--plot needs matplotlib: `pip install matplotlib`") from None


def draw(estimate: Estimate, path: Path) -> None:
    """Write a plot that shows today's traffic and the break-evens. Raise OSError."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    today = estimate.traffic.requests_per_month if estimate.traffic else None
    points = estimate.break_evens[:MOST_MARKED]
    seen = [point.requests_per_month for point in points] + ([today] if today else []) or [1e6]
    low = max(math.log10(LOWEST), math.floor(math.log10(min(seen)) - 1.5))
    high = min(math.log10(HIGHEST * 100), math.ceil(math.log10(max(seen)) + 0.5))
    requests = [10 ** (low + (high - low) * step / POINTS) for step in range(POINTS + 1)]
    shape = estimate.traffic or Traffic(1.0)
    with rc_context(_SVG):
        figure = Figure(figsize=(9, 6.5), layout="constrained")
        axes = figure.subplots()
        for colour, target in zip(COLOURS, estimate.targets):
            costs = [target.usd_per_month(shape.scaled_to(each)) for each in requests]
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

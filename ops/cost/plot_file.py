"""The drawing as a file: SVG by ourselves, PNG where matplotlib is installed."""

from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

from ops.cost.plot import Curve, Drawing, said, tick_count, tick_usd

# Okabe and Ito's, which colour-blind readers can tell apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
WIDTH, HEIGHT = 900, 540
LEFT, RIGHT, TOP, BOTTOM = 96, 24, 66, 64
_KEY_PIXELS = 22  # a line of the key
DASHED = ("kept warm",)  # names of curves that are only shown


class PlotError(Exception):
    """The plot cannot be written: why, and what to do, in one line."""


def write(drawn: Drawing, path: Path) -> None:
    """By the ending of the name, .svg or .png. Raises PlotError."""
    try:
        if path.suffix == ".svg":
            path.write_text(svg(drawn))
        elif path.suffix == ".png":
            _write_png(drawn, path)
        else:
            raise PlotError(f"--plot {path}: the name must end with .svg or .png")
    except OSError as error:
        raise PlotError(f"--plot {path}: {error.strerror}") from None


def svg(drawn: Drawing) -> str:
    height = HEIGHT + _KEY_PIXELS * len(drawn.curves)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="13" role="img">',
        f"<title>{escape(drawn.title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{LEFT}" y="24" font-size="16" font-weight="bold">{escape(drawn.title)}</text>',
        *_axes(drawn),
        *_turns(drawn),
        *_curves(drawn),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _place(drawn: Drawing, requests: float, dollars: float) -> tuple[float, float]:
    across, up = drawn.at(requests, dollars)
    x = LEFT + across * (WIDTH - LEFT - RIGHT)
    return round(x, 1), round(HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM), 1)


def _axes(drawn: Drawing) -> Iterator[str]:
    floor, ceiling = HEIGHT - BOTTOM, TOP
    for power in range(drawn.x[0], drawn.x[1] + 1):
        x, _ = _place(drawn, 10.0**power, 10.0 ** drawn.y[0])
        yield f'<path d="M{x} {floor}V{ceiling}" stroke="#ddd"/>'
        yield f'<text x="{x}" y="{floor + 20}" text-anchor="middle">{tick_count(power)}</text>'
    for power in range(drawn.y[0], drawn.y[1] + 1):
        x, y = _place(drawn, 10.0 ** drawn.x[0], 10.0**power)
        yield f'<path d="M{x} {y}H{WIDTH - RIGHT}" stroke="#ddd"/>'
        yield f'<text x="{x - 8}" y="{y + 4}" text-anchor="end">{tick_usd(power)}</text>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text x="{middle}" y="{floor + 44}" text-anchor="middle">requests a month</text>'
    yield f'<text x="{LEFT - 8}" y="{TOP - 16}" text-anchor="end">USD a month</text>'


def _turns(drawn: Drawing) -> Iterator[str]:
    """Break-evens as dashed lines, today's traffic as a solid one; labels step down the lines."""
    marks = [(requests, label, "6 4", "#555") for requests, label in drawn.turns]
    if drawn.today:
        marks.append((drawn.today, f"today: {said(drawn.today)}", "", "#b00020"))
    for number, (requests, label, dashes, colour) in enumerate(sorted(marks)):
        x, _ = _place(drawn, requests, 10.0 ** drawn.y[0])
        y = TOP - 8 + 18 * number
        on_left = x > WIDTH * 0.6
        side, anchor = (-6, "end") if on_left else (6, "start")
        yield (
            f'<path d="M{x} {HEIGHT - BOTTOM}V{TOP - 14}" stroke="{colour}" '
            f'stroke-dasharray="{dashes}" class="{"break-even" if dashes else "today"}"/>'
        )
        yield (
            f'<text x="{x + side}" y="{y}" text-anchor="{anchor}" fill="{colour}" stroke="#fff" '
            f'stroke-width="4" paint-order="stroke">{escape(label)}</text>'
        )


def _curves(drawn: Drawing) -> Iterator[str]:
    for number, curve in enumerate(drawn.curves):
        colour = COLOURS[number % len(COLOURS)]
        places = [
            _place(drawn, requests, dollars)
            for requests, dollars in curve.points
            if dollars >= 10.0 ** drawn.y[0]
        ]
        points = " ".join(f"{x},{y}" for x, y in places)
        dashes = ' stroke-dasharray="2 4"' if is_dashed(curve) else ""
        style = f'fill="none" stroke="{colour}" stroke-width="2.5"{dashes}'
        yield f'<polyline points="{points}" {style}/>'
        y = HEIGHT - 4 + _KEY_PIXELS * number
        yield f'<path d="M{LEFT} {y - 4}h28" {style}/>'
        yield f'<text x="{LEFT + 38}" y="{y}">{escape(curve.name)}</text>'


def is_dashed(curve: Curve) -> bool:
    return curve.name.endswith(DASHED)


def _write_png(drawn: Drawing, path: Path) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise PlotError(
            f"--plot {path}: a PNG needs matplotlib; `pip install matplotlib`, or name an .svg"
        ) from None
    figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), layout="constrained")
    axes = figure.subplots()
    for colour, curve in zip(COLOURS, drawn.curves):
        line = ":" if is_dashed(curve) else "-"
        axes.loglog(*zip(*curve.points), line, color=colour, linewidth=2, label=curve.name)
    for requests, label in drawn.turns:
        axes.axvline(requests, color="#555", linestyle="--", linewidth=1, label=label)
    if drawn.today:
        label = f"today: {said(drawn.today)}"
        axes.axvline(drawn.today, color="#b00020", linewidth=1, label=label)
    axes.set(
        title=drawn.title,
        xlabel="requests a month",
        ylabel="USD a month",
        xlim=(10.0 ** drawn.x[0], 10.0 ** drawn.x[1]),
        ylim=(10.0 ** drawn.y[0], 10.0 ** drawn.y[1]),
    )
    axes.grid(color="#ddd")
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=100)

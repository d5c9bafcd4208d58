"""Draws what `bench/results` holds, as SVG beside it: the same data give the same bytes."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams.update(
    {
        "svg.hashsalt": "bench",  # or every run names its parts anew
        "svg.fonttype": "none",
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.3,
        "legend.frameon": False,
    }
)

from matplotlib.axes import Axes  # noqa: E402 - after the choice of a backend
from matplotlib.figure import Figure  # noqa: E402

RESULTS = Path(__file__).resolve().parent / "results"
STAGES = {"imports": "emulator, interpreter, imports", "load": "load", "answer": "first answer"}
SIDES = {"ours": "ours", "proof_of_concept": "proof of concept"}
OURS = "black"
LIMIT = "tab:red"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench/plots.py", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder (%(default)s)")
    folder = parser.parse_args(arguments).results
    drawn = []
    if (peers := folder / "peers.json").exists():
        found = json.loads(peers.read_text())["peers"]
        for key, label, logarithmic in (
            ("requests_per_second", "requests/s", False),
            ("p99_ms", "latency p99, ms", True),
        ):
            figure = concurrency_figure(found, key, label, logarithmic)
            drawn.append(_save(figure, folder / f"peers_{key}.svg"))
    if (cold := folder / "cold_start.json").exists():
        figure = cold_start_figure(json.loads(cold.read_text()))
        drawn.append(_save(figure, folder / "cold_start.svg"))
    if (engines := folder / "engines.json").exists():
        forward = json.loads(engines.read_text()).get("forward")
        if forward:  # it is measured on a whole CPU only
            drawn.append(_save(forward_figure(forward), folder / "forward.svg"))
    print("drawn:", *drawn or ["nothing, for there are no results"])
    return 0


def concurrency_figure(peers: Mapping[str, Any], key: str, label: str, logarithmic: bool) -> Figure:
    """A line for each server over the number of connections; ours is the median of its sweeps."""
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, peer in peers.items():
        if points := peer["sweep"].get("peer"):
            title = peer["title"].partition(" (")[0]
            _line(axes, points, key, label=title, gid=name)
    ours = [peer["sweep"]["ours"] for peer in peers.values() if peer["sweep"].get("ours")]
    if ours:
        middle = [
            {**at[0], key: sorted(point[key] for point in at)[len(at) // 2]} for at in zip(*ours)
        ]
        _line(axes, middle, key, label="ours", gid="ours", color=OURS, linewidth=2.5)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.set_xlabel("connections, each asking again as soon as it is answered")
    axes.set_ylabel(label)
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:.0f}")
    else:
        axes.set_ylim(bottom=0)
    figure.legend(loc="outside lower center", ncols=2, fontsize="small")
    return figure


def _line(axes: Axes, points: Sequence[Mapping[str, float]], key: str, **style: Any) -> None:
    x, y = [point["concurrency"] for point in points], [point[key] for point in points]
    axes.plot(x, y, marker="o", markersize=4, **style)


def cold_start_figure(found: Mapping[str, Any]) -> Figure:
    """A bar for each side, its stages one after the other."""
    figure = Figure(figsize=(7.5, 2.2), layout="constrained")
    axes = figure.subplots()
    names = list(SIDES)[::-1]  # the first is drawn lowest
    left = [0.0] * len(names)
    for stage, label in STAGES.items():
        widths = [found[name]["medians"][stage] for name in names]
        axes.barh([SIDES[name] for name in names], widths, left=left, label=label, height=0.6)
        left = [start + width for start, width in zip(left, widths)]
    for place, name in enumerate(names):
        axes.text(left[place], place, f" {found[name]['medians']['total']:.0f} ms", va="center")
    axes.set_xlim(right=max(left) * 1.12)
    axes.set_xlabel("from the event to its answer, ms")
    axes.grid(axis="y", visible=False)
    figure.legend(loc="outside lower center", ncols=len(STAGES), fontsize="small")
    return figure


def forward_figure(found: Mapping[str, Any]) -> Figure:
    """A bar for each engine's forward with one thread, and how short one could be."""
    figure = Figure(figsize=(7.5, 2.8), layout="constrained")
    axes = figure.subplots()
    engines = list(found["engines"].values())[::-1]  # the first is drawn lowest
    times = [engine["forward_ms"] for engine in engines]
    colors = [OURS if place == len(engines) - 1 else "tab:blue" for place in range(len(engines))]
    axes.barh([engine["title"] for engine in engines], times, height=0.6, color=colors)
    for place, milliseconds in enumerate(times):
        part = found["limit_ms"] / milliseconds
        axes.text(
            milliseconds, place, f" {milliseconds:.2f} ms, {part:.0%} of the peak", va="center"
        )
    label = (
        f"limit: {found['operations'] / 1e6:.0f} million operations at the "
        f"{found['peak_operations_per_second'] / 1e9:.0f} GFLOP/s of a large f32 matrix product"
    )
    axes.axvline(found["limit_ms"], color=LIMIT, linestyle="--", label=label)
    axes.set_xlim(0, max(times) * 1.45)
    axes.set_xlabel("a forward of one picture, one thread on a whole CPU, ms")
    axes.grid(axis="y", visible=False)
    figure.legend(loc="outside lower center", fontsize="small")
    return figure


def _save(figure: Figure, path: Path) -> str:
    figure.savefig(path, metadata={"Date": None})
    return path.name


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

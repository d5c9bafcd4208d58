"""The table of goals and what was measured, from `bench/results`.

`--into FILE` puts it between that file's `<!-- bench -->` and `<!-- /bench -->`; else it is
printed. A test holds the README to it.
"""

import argparse
import json
import re
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = Path(__file__).resolve().parent / "results"
BLOCK = re.compile(r"(?<=<!-- bench -->\n).*?(?=<!-- /bench -->)", re.DOTALL)

Results = Callable[[str], dict[str, Any]]  # of a file's name
OURS = "onnxruntime"
SAME_WORK = {
    "multi_model_server": "multi-model-server, our graph",
    "litserve": "LitServe",
    "bentoml": "BentoML",
    "mlserver": "MLServer",
}


class Row(NamedTuple):
    what: str
    measured: str
    goal: str
    least: str
    reached: str


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench/table.py", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder (%(default)s)")
    parser.add_argument("--into", type=Path, help="the file to put it into")
    options = parser.parse_args(arguments)
    drawn = table(options.results)
    if not options.into:
        print(drawn, end="")
        return 0
    text = options.into.read_text()
    if not BLOCK.search(text):
        print(f"error: {options.into} has no <!-- bench --> and <!-- /bench -->", file=sys.stderr)
        return 1
    options.into.write_text(BLOCK.sub(lambda _: drawn, text))
    return 0


def table(folder: Path) -> str:
    """Markdown. Raises FileNotFoundError where a benchmark has not been run."""

    def results(name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
        return found

    rows = [
        Row("what", "measured", "goal", "at the least", "reached"),
        Row(*["---"] * 5),
        *_rows(results),
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _rows(results: Results) -> Iterator[Row]:
    peers = results("peers")["peers"]
    runs = {name: _by_concurrency(peer) for name, peer in peers.items()}
    concept = "requests/s ÷ the proof of concept's, {}"
    yield _rate(concept.format(8), runs["proof_of_concept"].get(8), 12, 9)
    yield _rate(concept.format(1), runs["proof_of_concept"].get(1), 5, 4)
    for name, handler in (("gluon", "simplest handler"), ("module", "own examples' handler")):
        what = f"÷ multi-model-server's with its {handler}, 8"
        yield _rate(what, runs[f"multi_model_server_{name}"].get(8), 6, 4)
    for name, title in SAME_WORK.items():
        for key, figure in (("requests_per_second", "requests/s"), ("p99_ms", "p99")):
            found = [run["ratios"][key] for run in runs[name].values()]
            both = name == "multi_model_server" and key == "requests_per_second"
            yield _standing(f"{figure} against {title}; 1, 8, 32", found, ahead_when_busy=both)
    http = _by_concurrency(results("overhead"))[8]
    yield _row("HTTP ÷ the pipeline in as many processes", http, 0.95, 0.87)
    name, forward = _fastest_other(results("engines"))
    yield _row(f"forward: {name}'s time ÷ ours", forward, 0.95, 0.8)
    cold = results("cold_start")
    yield _row("cold start: the proof of concept's ÷ ours", cold["times_sooner"], 8, 6)
    yield _row("resident memory: ours ÷ its", cold["memory"], 1 / 3, 0.4, smaller=True)
    sizes = results("image_size")["images"]
    yield _row("image without MXNet ÷ its", sizes["without_mxnet"], 0.4, 0.4, smaller=True)
    yield _row("image with MXNet ÷ its", sizes["with_mxnet"], 0.7, 0.7, smaller=True)
    yield _row("p99 ÷ p50, 8 connections", {"ratio": _tail(runs)}, 1.5, 2, smaller=True)
    yield _row("lowest ÷ highest requests/s, 16 to 256", {"ratio": _flatness(peers)}, 0.95, 0.9)


def _by_concurrency(found: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """The runs that have figures: a peer that hangs has none."""
    return {run["concurrency"]: run for run in found["runs"] if "medians" in run}


def _row(
    what: str,
    found: Mapping[str, Any],
    goal: float,
    least: float,
    *,
    smaller: bool = False,
    note: str = "",
) -> Row:
    """Of a ratio, with its interval where it has one; `smaller` is better, or larger.

    What the median reaches is not settled where the interval does not.
    """
    ratio = found["ratio"]
    low, high = found.get("interval", (None, None))
    measured = f"{ratio:.2f}" + (f" ({low:.2f} to {high:.2f})" if low else "") + note
    reached, settled = "no", True
    for name, bound in (("least", least), ("goal", goal)):
        if ratio <= bound if smaller else ratio >= bound:
            reached = name
            settled = not low or (high <= bound if smaller else low >= bound)
    reached += "" if settled else ", not settled"
    return Row(what, measured, f"{goal:.2g}", f"{least:.2g}", reached)


def _rate(what: str, run: Mapping[str, Any] | None, goal: float, least: float) -> Row:
    if not run:
        return Row(what, "it hung", f"{goal}", f"{least}", "-")
    hangs = f"; hangs: {run['hangs']}" if run["hangs"] else ""
    return _row(what, run["ratios"]["requests_per_second"], goal, least, note=hangs)


def _standing(what: str, found: Sequence[Mapping[str, Any]], *, ahead_when_busy: bool) -> Row:
    """Behind or ahead is said where the interval leaves out 1."""
    standings = [one["ours_is"] for one in found]
    if ahead_when_busy:
        least, enough = "ahead; 8, 32", set(standings[1:]) == {"ahead"}
    else:
        least, enough = "level", "behind" not in standings
    reached = "goal" if set(standings) == {"ahead"} else "least" if enough else "no"
    measured = ", ".join(f"{one['ratio']:.2f} {one['ours_is']}" for one in found)
    return Row(what, measured, "ahead", least, reached)


def _fastest_other(engines: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """At one thread and a whole CPU."""
    others = engines["grants"]["1"]["engines"]
    found = [(of["title"], of["ratios"]["forward_ms"]) for n, of in others.items() if n != OURS]
    return min(found, key=lambda item: float(item[1]["ratio"]))


def _tail(runs: Mapping[str, Mapping[int, Any]]) -> float:
    """Ours, of the medians against each peer: the middle one."""
    ours = [of[8]["medians"]["ours"] for of in runs.values() if 8 in of]
    ratios: list[float] = [one["p99_ms"] / one["p50_ms"] for one in ours]
    return statistics.median(ratios)


def _flatness(peers: Mapping[str, Any]) -> float:
    """Ours, of the medians of all sweeps."""
    sweeps = [peer["sweep"]["ours"] for peer in peers.values() if peer["sweep"].get("ours")]
    rates: list[float] = [
        statistics.median(point["requests_per_second"] for point in points)
        for points in zip(*sweeps)
        if points[0]["concurrency"] >= 16
    ]
    return min(rates) / max(rates)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The table of goals and what was measured, from `bench/results`.

`--into FILE` puts it between that file's `<!-- bench -->` and `<!-- /bench -->`; else it is
printed. A test holds the README to it.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = Path(__file__).resolve().parent / "results"
BLOCK = re.compile(r"(?<=<!-- bench -->\n).*?(?=<!-- /bench -->)", re.DOTALL)

Results = Callable[[str], dict[str, Any]]  # of a file's name
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

    rows = [Row("what", "measured", "goal", "at the least"), Row(*["---"] * 4), *_rows(results)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _rows(results: Results) -> Iterator[Row]:
    peers = results("peers")["peers"]
    concept = _by_concurrency(peers["proof_of_concept"])
    what = "requests/s against the proof of concept's way, {} connections"
    yield Row(what.format(8), _times(concept.get(8)), "12", "9")
    yield Row(what.format(1), _times(concept.get(1)), "5", "4")
    for name, handler in (("gluon", "simplest handler"), ("module", "own examples' handler")):
        run = _by_concurrency(peers[f"multi_model_server_{name}"]).get(8)
        yield Row(f"against multi-model-server 1.1.11, its {handler}, 8", _times(run), "6", "4")
    for name, title in SAME_WORK.items():
        runs = _by_concurrency(peers[name])
        measured = ", ".join(_standing(run, "requests_per_second") for run in runs.values())
        yield Row(f"against {title}, same engine and decode; 1, 8, 32", measured, "ahead", "level")
        measured = ", ".join(_standing(run, "p99_ms") for run in runs.values())
        yield Row(f"p99 against {title}; 1, 8, 32", measured, "ahead", "level")
    eight = _by_concurrency(results("overhead"))[8]
    yield Row("HTTP ÷ the pipeline in as many processes", _ratio(eight), "0.95", "0.87")
    yield Row("forward ÷ the fastest f32 engine's", _forward(results("engines")), "0.95", "0.8")
    cold = results("cold_start")
    what = "cold start, sooner than the proof of concept's handler"
    yield Row(what, _times(cold["times_sooner"]), "8", "6")
    yield Row("resident memory, one worker ÷ its", _ratio(cold["memory"]), "0.33", "0.4")
    sizes = results("image_size")["ratios"]
    yield Row("image without MXNet", f"{sizes['without_mxnet']:.2f}", "0.4", "0.4")
    yield Row("image with MXNet", f"{sizes['with_mxnet']:.2f}", "0.7", "0.7")
    yield Row("p99 ÷ p50, 8 connections", f"{_tail(peers):.2f}", "1.5", "2")
    yield Row("throughput from 16 to 256 connections", _flatness(peers), "flat", "flat")


def _by_concurrency(found: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """The runs that have figures: a peer that hangs has none."""
    return {run["concurrency"]: run for run in found["runs"] if "medians" in run}


def _ratio(found: Mapping[str, Any] | None, unit: str = "") -> str:
    if not found:
        return "the peer hung"
    low, high = found["interval"]
    return f"{found['ratio']:.2f}{unit} ({low:.2f} to {high:.2f})"


def _times(found: Mapping[str, Any] | None) -> str:
    if found and "ratios" in found:
        hangs = f"; it hung {found['hangs']} times" if found["hangs"] else ""
        return _ratio(found["ratios"]["requests_per_second"], " times") + hangs
    return _ratio(found, " times")


def _standing(run: Mapping[str, Any], key: str) -> str:
    found = run["ratios"][key]
    return f"{found['ratio']:.2f} {found['ours_is']}"


def _tail(peers: Mapping[str, Any]) -> float:
    """Of the medians over all peers' rounds, the middle one."""
    ours = (_by_concurrency(peer)[8]["medians"]["ours"] for peer in peers.values())
    ratios: list[float] = sorted(one["p99_ms"] / one["p50_ms"] for one in ours)
    return ratios[len(ratios) // 2]


def _forward(engines: Mapping[str, Any]) -> str:
    """The fastest other engine's forward over ours, at one thread and a whole CPU."""
    others = engines["grants"]["1"]["engines"]
    name, found = min(
        ((name, one["ratios"]["forward_ms"]) for name, one in others.items() if "ratios" in one),
        key=lambda item: float(item[1]["ratio"]),
    )
    return f"{_ratio(found)}, {name}"


def _flatness(peers: Mapping[str, Any]) -> str:
    """The lowest of our rates there against the highest, by the medians of all sweeps."""
    sweeps = [peer["sweep"]["ours"] for peer in peers.values() if peer["sweep"].get("ours")]
    rates = []
    for points in zip(*sweeps):
        if points[0]["concurrency"] >= 16:
            at = sorted(point["requests_per_second"] for point in points)
            rates.append(at[len(at) // 2])
    return f"lowest ÷ highest {min(rates) / max(rates):.2f}"

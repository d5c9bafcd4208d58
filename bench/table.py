"""Print the README's table of speed from `bench/results`, or update it with `--into FILE`.

The table is between `<!-- bench -->` and `<!-- /bench -->`.
"""

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results" / "peers.json"
BLOCK = re.compile(r"(?<=<!-- bench -->\n).*?(?=<!-- /bench -->)", re.DOTALL)
TITLES = {
    "proof_of_concept": "the proof of concept (Flask, MXNet)",
    "multi_model_server": "multi-model-server, our graph",
    "litserve": "LitServe, our graph",
    "bentoml": "BentoML, our graph",
    "mlserver": "MLServer, our graph",
}
HEAD = """\
| Compared with | Requests/s, ours ÷ theirs | p99 latency, theirs ÷ ours |
| --- | --- | --- |
"""


def table(results: Path) -> str:
    """Return the table as Markdown: a row for each peer that has results."""
    peers = json.loads(results.read_text())["peers"]
    drawn = HEAD
    for name, title in TITLES.items():
        if name not in peers:
            continue
        cells = [title]
        for key in ("requests_per_second", "p99_ms"):
            # A peer that hung has no ratios.
            found = [run.get("ratios") for run in peers[name]["runs"]]
            cells.append(", ".join(f"{one[key]['ratio']:.2f}" if one else "-" for one in found))
        drawn += f"| {' | '.join(cells)} |\n"
    return drawn


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="file (%(default)s)")
    parser.add_argument("--into", type=Path, help="the file to update")
    options = parser.parse_args(arguments)
    drawn = table(options.results)
    if options.into:
        options.into.write_text(BLOCK.sub(lambda _: drawn, options.into.read_text()))
    else:
        print(drawn, end="")


if __name__ == "__main__":
    main()

"""Print the README's table of speed from `bench/results`, or update it with `--into FILE`.

The table is between `<!-- bench -->` and `<!-- /bench -->`.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench/table.py", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="file (%(default)s)")
    parser.add_argument("--into", type=Path, help="the file to update")
    options = parser.parse_args(arguments)
    drawn = table(options.results)
    if not options.into:
        print(drawn, end="")
        return 0
    text, blocks = BLOCK.subn(lambda _: drawn, options.into.read_text())
    if not blocks:
        print(f"error: {options.into} has no <!-- bench --> and <!-- /bench -->", file=sys.stderr)
        return 1
    options.into.write_text(text)
    return 0


def table(results: Path) -> str:
    """Return the table as Markdown: a row for each peer that has results."""
    peers = json.loads(results.read_text())["peers"]
    rows = [f"| {TITLES[name]} | {_cells(peers[name])} |\n" for name in TITLES if name in peers]
    return HEAD + "".join(rows)


def _cells(peer: dict[str, Any]) -> str:
    """Return the ratios at each number of connections; a peer that hung has none."""
    found = [run.get("ratios") for run in peer["runs"]]
    keys = ("requests_per_second", "p99_ms")
    return " | ".join(
        ", ".join(f"{each[key]['ratio']:.2f}" if each else "-" for each in found) for key in keys
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

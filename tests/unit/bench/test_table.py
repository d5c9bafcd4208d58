import json
from pathlib import Path
from typing import Any

import pytest

from bench import table
from ops.local_servers import ROOT


def run(requests: float, p99: float) -> dict[str, Any]:
    return {"ratios": {"requests_per_second": {"ratio": requests}, "p99_ms": {"ratio": p99}}}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    hung = {"concurrency": 32, "hangs": 3}
    peers = {"litserve": {"runs": [run(1.2, 0.9), run(2, 3), hung]}}
    file = tmp_path / "peers.json"
    file.write_text(json.dumps({"peers": peers}))
    return file


def test_the_table_replaces_the_block_between_the_marks(results: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n")
    assert table.main(["--results", str(results), "--into", str(page)]) == 0
    row = "| LitServe, our graph | 1.20, 2.00, - | 0.90, 3.00, - |\n"
    table_ = f"<!-- bench -->\n{table.HEAD}{row}<!-- /bench -->\n"
    assert page.read_text() == f"before\n{table_}after\n"


def test_the_readme_shows_the_stored_results() -> None:
    assert table.table(table.RESULTS) in (ROOT / "README.md").read_text()

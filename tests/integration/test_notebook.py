"""examples/quickstart.ipynb runs from its first cell to its last, and shows what it promises."""

import copy
import re
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from ops.local_servers import ROOT

NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"
SECONDS = 300  # for one cell
LARGEST_BYTES = 400_000  # a file that a clone and a review can bear


def outputs(notebook: Any) -> list[Any]:
    return [shown for cell in notebook.cells for shown in cell.get("outputs", ())]


def printed(notebook: Any) -> str:
    """Everything that is text in the outputs."""
    texts = [shown.get("text", "") for shown in outputs(notebook)]
    return "\n".join(texts + [str(d.get("text/markdown", "")) for d in drawn(notebook)])


def drawn(notebook: Any) -> list[Any]:
    return [shown.data for shown in outputs(notebook) if "data" in shown]


@pytest.fixture(scope="module")
def kept() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def run(kept: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A copy, run where the notebook lies, as Jupyter does. The kernel is this environment's."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
            monkeypatch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        client = NotebookClient(
            copy.deepcopy(kept),
            timeout=SECONDS,
            coalesce_streams=True,
            kernel_name="python3",
            resources={"metadata": {"path": str(NOTEBOOK.parent)}},
        )
        return client.execute()


def test_it_runs_and_both_faces_say_the_same(run: Any) -> None:
    text = printed(run)
    assert text.count("the same bytes") == 4 + 4  # pictures; and the table of `ops parity`
    assert "DIFFERENT" not in text
    assert "The same: 4 inputs" in text
    assert text.count('403 {"error":{"code":"uri_not_allowed"') == 2
    assert not any(shown.get("name") == "stderr" for shown in outputs(run))


def test_what_is_kept_is_of_a_run_of_these_cells(kept: Any, run: Any) -> None:
    """In order, with the same outputs but for times and last digits. `make notebook` runs it."""

    def comparable(notebook: Any) -> str:
        return re.sub(r"\d+\.\d ms|0\.\d{5,}|[ -]+", " ", printed(notebook))

    counts = [cell.execution_count for cell in kept.cells if cell.cell_type == "code"]
    assert counts == [*range(1, len(counts) + 1)]
    assert comparable(kept) == comparable(run)
    assert [sorted(data) for data in drawn(kept)] == [sorted(data) for data in drawn(run)]


def test_it_is_small_and_says_nothing_of_where_it_ran() -> None:
    text = NOTEBOOK.read_text()
    assert len(text) < LARGEST_BYTES
    assert str(ROOT) not in text
    assert not re.search(r"/(home|root|Users|tmp)/", text)

"""INFERENCE: a file that replaces inference.py. A fault in it is reported in one line."""

from pathlib import Path

import pytest

from ops import local_servers
from ops.local_servers import ROOT, FaceError, process_environment
from serving.core.errors import StartError
from serving.model import custom_model


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, r"INFERENCE=.* is not a Python file"),
        ("1 / 0", "cannot be imported: division by zero"),
        ("def load_model(path): ...", "has no function infer"),
    ],
)
def test_a_file_that_is_not_a_model(text: str | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "inference.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(StartError, match=said) as refused:
        custom_model.load(path)
    assert "\n" not in str(refused.value)


def test_both_faces_report_it_in_one_line_and_end(tmp_path: Path) -> None:
    (tmp_path / "inference.py").write_text("import no_such_package\n")
    environment = process_environment(ROOT / "examples" / "skeleton")
    environment = {**environment, "INFERENCE": str(tmp_path / "inference.py")}
    said = r"inference\.py imports no_such_package, which is not installed; add it to the"
    with pytest.raises(FaceError, match=said), local_servers.http_process(environment):
        pass
    with (
        local_servers.lambda_process(environment) as function,
        pytest.raises(FaceError, match=said),
    ):
        function.send("GET", "/ping", {})

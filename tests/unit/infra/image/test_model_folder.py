"""`-c model_folder` puts another kind of model into the image of both targets."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from infra.config.context import ConfigError
from infra.image import build_context
from ops.local_servers import ROOT

IRIS = ROOT / "examples" / "iris"


def test_a_changed_folder_is_another_image(
    synthesize_anew: Any, synthesize: Any, tmp_path: Path
) -> None:
    first = synthesize(mode="both", model_folder=str(IRIS)).images.keys()
    copy = shutil.copytree(IRIS, tmp_path / "iris")
    (copy / "README.md").write_text("for people")  # the image does not contain it
    assert synthesize_anew(mode="lambda", model_folder=f"{copy}/").images.keys() == first
    (copy / "inference.py").write_text("def load_model(_): ...\n\n\ndef infer(*_): ...\n")
    assert synthesize_anew(mode="lambda", model_folder=str(copy)).images.keys() != first


def test_the_context_is_the_containers_but_for_the_model(tmp_path: Path) -> None:
    build_context.write(IRIS, tmp_path / "context")

    def relative(folder: Path) -> set[str]:
        files = (path for path in folder.rglob("*") if path.is_file())
        return {f.relative_to(folder).as_posix() for f in files if f.suffix != ".pyc"}

    added = {f"model/{name}" for name in relative(IRIS) if name.startswith("artifact/")}
    assert relative(tmp_path / "context") == relative(build_context.CONTAINER) | added
    for theirs in ("serving/inference.py", "model/requirements.txt"):
        written = (tmp_path / "context" / theirs).read_bytes()
        assert written == (IRIS / Path(theirs).name).read_bytes()


@pytest.mark.parametrize("lacking", ["inference.py", "artifact/manifest.json"])
def test_an_incomplete_folder(lacking: str, synthesize_anew: Any, tmp_path: Path) -> None:
    copy = shutil.copytree(IRIS, tmp_path / "iris")
    (copy / lacking).unlink()
    with pytest.raises(ConfigError, match=f"^model_folder='.*/iris': it lacks {lacking}; docs/"):
        synthesize_anew(mode="lambda", model_folder=str(copy))

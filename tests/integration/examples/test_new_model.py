"""`make new-model` writes a model that both faces can serve."""

import sys
from pathlib import Path

import pytest

from support import cases
from support.model_folders import Models
from support.programs import Done, run


def new_model(name: str) -> Done:
    return run([sys.executable, "-m", "ops.commands.new_model", name])


def test_a_new_model_answers_on_both_faces(models: Models, tmp_path: Path) -> None:
    folder = tmp_path / "my-flowers.v2"
    made = new_model(str(folder))
    assert (made.returncode, made.stderr) == (0, "")
    assert f"make test-model MODEL_FOLDER={folder}" in made.stdout
    readme = (folder / "README.md").read_text()
    assert readme.startswith("# my-flowers.v2\n")
    assert f"cdk deploy -c mode=lambda -c model_folder={folder} " in readme
    assert "THE_FOLDER" not in readme

    model = models(folder)
    assert model.pipeline.service._artifact.manifest["name"] == "my-flowers.v2"
    for case in cases.read(folder / "golden.json", folder):
        call = (case.method, case.path, case.headers, case.body({}))
        for face in (model.pipeline, model.http, model.function):
            case.check(face.send(*call), {})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("two words", "NAME='two words': it must be"),
        ("skeleton", "skeleton is there already"),
        ("/dev/null/model", "Not a directory"),
    ],
)
def test_a_bad_name_is_refused_in_one_line(name: str, said: str) -> None:
    refused = new_model(name)
    assert (refused.returncode, refused.stdout) == (2, "")
    (line,) = refused.stderr.splitlines()
    assert line.startswith("error: ") and said in line

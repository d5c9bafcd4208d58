"""Test the first word after the image's name: `serve`, a Lambda handler, or an unknown word."""

from pathlib import Path

import pytest

from ops.local_servers import ENTRY, process_environment
from support.farm import emulated
from support.programs import run


@pytest.mark.parametrize("word", ["train", "./train.sh", "json.nothing"])
def test_an_unknown_word_ends_at_once_with_one_line(word: str) -> None:
    """SageMaker would bill a training job for as long as `train` runs."""
    ended = run([ENTRY, word], env=process_environment(), timeout=60)
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"'{word}' is not \"serve\", and no Lambda handler of that name can be ")
    assert "usage: serve" in line


def test_it_works_from_any_folder_by_any_path(tmp_path: Path) -> None:
    (tmp_path / "a link").symlink_to(ENTRY)
    command = ["./a link", "serve", "--help"]
    ended = run(command, cwd=tmp_path, env=process_environment(), timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "--model-path" in ended.stdout


def test_help_exits_0() -> None:
    ended = run([ENTRY, "--help"], env=process_environment(), timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("usage: serve")


def test_a_users_own_handler_is_served(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def handler(event, context):\n    return [event]\n")
    with emulated({"PYTHONPATH": str(tmp_path)}, "mine.handler") as (function, _):
        assert function.invoke(7) == [7]

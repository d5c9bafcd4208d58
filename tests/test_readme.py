"""The README tells the truth: its commands are run and must print what it shows."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path

import pytest

from infra.config import FIRST, Config
from ops import faces
from ops.faces import ROOT
from ops.local import process_environment
from variables import variables_read

README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"<!-- runs(?: on: (\w+))? -->\n```console\n(.*?)```", re.DOTALL)
PORTS = {"serve": "8080", "lambda": "9000"}


def steps(block: str) -> Iterator[tuple[str, str]]:
    """Each command of a console block with the output that it shows."""
    for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        lines = step.splitlines(keepends=True)
        size = 1
        while size < len(lines) and lines[size].startswith("> "):
            size += 1
        command = "".join(line.removeprefix("> ") for line in lines[:size])
        yield command, "".join(lines[size:])


def comparable(output: str) -> str:
    """Without what differs from run to run and from CPU to CPU: times, and digits past the 5th."""
    output = re.sub(r"\d+\.\d ms", "N ms", output)
    output = re.sub(r"0\.\d{6,}", lambda match: f"{float(match[0]):.5f}", output)
    output = re.sub(r"[ ─┬┴━]+", " ", output)  # a column is as wide as its digits
    return "\n".join(line.strip() for line in output.splitlines())


@pytest.mark.parametrize(
    ("face", "command", "shown"),
    [
        pytest.param(face, command, shown, id=command.split("\n")[0][:60])
        for face, block in BLOCK.findall(README)
        for command, shown in steps(block)
    ],
)
def test_a_command_prints_what_the_readme_shows(face: str, command: str, shown: str) -> None:
    environment = process_environment()
    with ExitStack() as stack:
        if face:
            start = faces.http_process if face == "serve" else faces.lambda_process
            url = stack.enter_context(start(environment)).url
            command = command.replace(f"localhost:{PORTS[face]}", url.removeprefix("http://"))
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=ROOT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
    assert comparable(done.stdout) == comparable(shown), done.stderr


def test_the_plot_is_of_the_command_above_it(tmp_path: Path) -> None:
    command = next(c for _, block in BLOCK.findall(README) for c, _ in steps(block) if "cost" in c)
    plot = tmp_path / "cost.svg"
    subprocess.run([*command.split(), "--plot", str(plot)], cwd=ROOT, check=True, env=os.environ)
    assert plot.read_text() == (ROOT / "docs" / "cost.svg").read_text()


def test_the_readme_runs_something_on_both_faces() -> None:
    assert {face for face, _ in BLOCK.findall(README)} == {"", "serve", "lambda"}


def default(value: object) -> str:
    """As a table shows it: as the command line would have it, and nothing where there is none."""
    if value is None or value == ():
        return ""
    text = ",".join(value) if isinstance(value, tuple) else str(value)
    return f"`{text.lower() if isinstance(value, bool) else text}`"


def test_the_readme_shows_the_first_keys() -> None:
    expected = [
        f"| `{key.name}` | {default(key.default)} | {key.metadata['doc']} |"
        for key in fields(Config)
        if key.metadata["group"] == FIRST
    ]
    assert len(expected) == 5
    assert "\n".join(expected) in README


def test_the_deployment_guide_lists_every_key_in_its_group() -> None:
    expected = [""]
    for key in fields(Config):
        if f"### {key.metadata['group']}" not in expected:
            expected += [f"### {key.metadata['group']}", "| Key | Default | It must be | |"]
        expected.append(
            f"| `{key.name}` | {default(key.default)} | {key.metadata['rule'].allowed} "
            f"| {key.metadata['doc']} |"
        )
    guide = (ROOT / "docs" / "05-deployment.md").read_text()
    keys = guide.partition("## Keys")[2].partition("\nLeft out")[0]
    kept = [line for line in keys.splitlines() if line[:3] in ("###", "| K", "| `")]
    assert kept == expected[1:]


def test_every_variable_that_the_image_reads_is_in_the_readme() -> None:
    """And no other: the table is compared with what Settings asks its environment for."""
    platforms_own = {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "SAGEMAKER_BATCH"}
    table = set(re.findall(r"^\| `([A-Z_]+)` \|", README, re.MULTILINE))
    assert table == variables_read() - platforms_own | {"OMP_NUM_THREADS"}


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_every_make_target_that_the_readme_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE))
    assert named
    assert named <= targets


def test_python_runs_the_tools_that_the_readme_names() -> None:
    for command in set(re.findall(r"python -m ops (\w+)", README)):
        subprocess.run(
            [sys.executable, "-m", "ops", command, "--help"],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )

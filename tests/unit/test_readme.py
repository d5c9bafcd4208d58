"""The README and docs are true: commands print what is shown, links and generated tables work."""

import importlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from ops import __main__, local_servers
from ops.local_servers import ROOT, process_environment
from support.programs import run
from support.variables import variables_read

PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in (
        *(ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "bench" / "README.md"),
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted((ROOT / "examples").glob("*/README.md")),
    )
}
README = PAGES["README.md"]
BLOCK = re.compile(r"<!-- runs(?: on: (\w+))? -->\n```console\n(.*?)```", re.DOTALL)
PORTS = {"serve": "8080", "lambda": "9000"}


def steps(block: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a console block with the output that the block shows."""
    for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command = re.match(r".*\n(?:> .*\n)*", step)[0]  # and its continuation lines
        yield command.replace("\n> ", "\n"), step.removeprefix(command)


def comparable(output: str) -> str:
    """Remove what differs between runs and CPUs: times, digits after the fifth, column widths."""
    output = re.sub(r"\d+\.\d ms", "N ms", output)
    output = re.sub(r"0\.\d{6,}", lambda match: f"{float(match[0]):.5f}", output)
    output = re.sub(r"[ ─┬┴━]+", " ", output)
    return "\n".join(line.strip() for line in output.splitlines())


@pytest.mark.parametrize(
    ("face", "command", "shown"),
    [
        pytest.param(face, command, shown, id=command.split("\n")[0][:60])
        for text in PAGES.values()
        for face, block in BLOCK.findall(text)
        for command, shown in steps(block)
    ],
)
def test_a_command_prints_what_the_page_shows(face: str, command: str, shown: str) -> None:
    environment = process_environment()
    with ExitStack() as stack:
        if face:
            start = local_servers.http_process if face == "serve" else local_servers.lambda_process
            url = stack.enter_context(start(environment)).url
            command = command.replace(f"localhost:{PORTS[face]}", url.removeprefix("http://"))
        done = run(["bash", "-c", command], env={**os.environ, **environment})
    assert comparable(done.stdout) == comparable(shown), done.stderr


def test_the_generated_tables_are_up_to_date() -> None:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'container'}"}
    check = run([sys.executable, "docs/generate.py", "--check"], env=environment)
    assert check.returncode == 0, check.stdout + check.stderr


def test_the_deployment_guide_lists_every_variable_that_the_image_reads() -> None:
    set_by_the_platform = {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "SAGEMAKER_BATCH"}
    guide = PAGES["docs/05-deployment.md"]
    listed = set(re.findall(r"^\| `([A-Z_]+)` \|", guide, re.MULTILINE))
    assert listed == variables_read() - set_by_the_platform


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", PAGES[page]):
        if not target.startswith("http"):
            path = (ROOT / page).parent / target if target else ROOT / page
            assert path.exists(), target
            assert not anchor or anchor in anchors(path.read_text()), f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES)
def test_files_and_functions_that_a_page_names_exist(page: str) -> None:
    at_root, in_image = "tests|container|infra|ops|bench|docs", "core|fetch|artifact|model|http"
    paths = rf"`((?:{at_root})/[\w./-]+|(?:{in_image})/\w+\.\w+)`"
    for path in re.findall(paths, PAGES[page]):
        assert (ROOT / path).exists() or (ROOT / "container" / "serving" / path).exists(), path
    for module, name in re.findall(r"`(serving[.\w]*)\.(\w+)\b", PAGES[page]):
        found = importlib.import_module(module)
        assert hasattr(found, name) or importlib.import_module(f"{module}.{name}"), name


@pytest.mark.parametrize("page", PAGES)
def test_no_line_of_prose_is_longer_than_120_characters(page: str) -> None:
    """Tables, links and code blocks may be wider."""
    prose = re.sub(r"^ *```.*?^ *```", "", PAGES[page], flags=re.DOTALL | re.MULTILINE)
    lines = [line for line in prose.splitlines() if not line.startswith("|") and "](" not in line]
    assert [line for line in lines if len(line) > 120 and "://" not in line] == []


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 130


def test_every_make_target_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z0-9-]+)", "\n".join(PAGES.values()), re.MULTILINE))
    assert named
    assert named <= targets


def test_python_runs_the_tools_that_the_pages_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for command in set(re.findall(r"python -m ops (\w+)", "\n".join(PAGES.values()))):
        monkeypatch.setattr(sys, "argv", ["python -m ops", command, "--help"])
        with pytest.raises(SystemExit) as ended:
            __main__.parse()
        assert ended.value.code == 0, command

"""The clients in docs/10-clients.md, run as they stand there."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from cases import PHOTOS
from ops.faces import ROOT
from tests.clients.stand_in import INVOKE, INVOKE_ENDPOINT, Aws, paths, send, serving
from tests.ops.browser import dump_dom
from tests.test_readme import comparable

PAGE = (ROOT / "docs" / "10-clients.md").read_text()
RUNS = {
    name: (program, shown)
    for name, program, shown in re.findall(
        r"<!-- runs: (\S+) -->\n```\w+\n(.*?)```\n\n```\n(.*?)```\n", PAGE, re.DOTALL
    )
}
# What the Makefile makes for the two versions of the SageMaker Python SDK.
PYTHON = {
    "predictor.py": str(ROOT / ".venv-sdk2" / "bin" / "python"),
    "endpoint_v3.py": str(ROOT / ".venv-sdk3" / "bin" / "python"),
}
ASKS = {"endpoint": INVOKE_ENDPOINT, "function": INVOKE, "url": "/invocations"}
ASKS |= {"predictor": INVOKE_ENDPOINT, "endpoint_v3": INVOKE_ENDPOINT}
BIN = Path(sys.executable).parent
PROGRAMS = [name for name in RUNS if not name.endswith(".js")]

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(environment: Mapping[str, str], tmp_path: Path) -> Run:
    """Run a program of the page, where the photographs are where it looks for them."""
    (tmp_path / "container").symlink_to(ROOT / "container")

    def run(name: str, **variables: str) -> subprocess.CompletedProcess[str]:
        file = tmp_path / name
        file.write_text(RUNS[name][0])
        python = PYTHON.get(name, sys.executable)
        return subprocess.run(
            [python if name.endswith(".py") else "bash", name],
            cwd=tmp_path,
            env={**environment, **variables},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def test_the_page_has_every_client() -> None:
    assert {*PROGRAMS, "browser.js"} == {*RUNS}
    assert {Path(name).stem for name in PROGRAMS} == ASKS.keys()
    assert {Path(name).suffix for name in PROGRAMS} == {".py", ".sh"}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_client_asks_again_and_prints_what_the_page_shows(name: str, run: Run, aws: Aws) -> None:
    aws.busy = 1
    done = run(name)
    printed = "".join(
        line
        for line in done.stdout.splitlines(keepends=True)
        if not line.startswith("sagemaker.config INFO")  # the SDK tells of files that are not there
    )
    assert comparable(printed) == comparable(RUNS[name][1]), done.stderr
    assert paths(aws.asked) == [ASKS[Path(name).stem]] * 3


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_client_takes_no_fault_for_an_answer(name: str, run: Run, aws: Aws) -> None:
    """It tells the fault, and does not ask again, but for curl."""
    aws.broken = True
    done = run(name)
    assert done.returncode != 0
    assert "tiger cat" not in done.stdout
    assert "the model failed on this request" in done.stdout + done.stderr
    assert len(aws.asked) == (3 if name == "url.sh" else 1)


@pytest.mark.parametrize("name", ["endpoint.py", "url.py", "url.sh"])
def test_a_client_that_signs_with_another_key_is_refused(name: str, run: Run) -> None:
    done = run(name, AWS_SECRET_ACCESS_KEY="another")  # noqa: S106
    assert done.returncode != 0
    assert re.search("signature|Forbidden", done.stdout + done.stderr), done


def page(url: str) -> str:
    """A page with the client on it, which asks about a photograph and about no picture."""
    return f"""<!doctype html><body><script>{RUNS["browser.js"][0]}</script><script>
    (async () => {{
      const lines = [];
      for (const name of ["cat.jpg", "README.md"]) {{
        const picture = await (await fetch(name)).blob();
        const answer = await ask({json.dumps(url)}, picture);
        lines.push(JSON.stringify(answer.error ?? answer.results[0]));
      }}
      return lines.join("\\n");
    }})().catch(String).then(text => {{ document.body.textContent = text; }});
    </script>"""


@pytest.fixture
def origin(aws: Aws) -> Any:
    """Where the page is: another origin than the function's URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            photo = PHOTOS / self.path.removeprefix("/")
            if self.path == "/":
                send(self, 200, {"Content-Type": "text/html"}, page(f"{aws.url}/").encode())
            elif photo.is_file():
                send(self, 200, {"Content-Type": "image/jpeg"}, photo.read_bytes())
            else:
                send(self, 404, {}, b"")  # the browser's wish for an icon

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as url:
        yield url


def shared_with(origin: str, tmp_path: Path) -> Any:
    """The settings of the function's URL, in the template that the CDK makes of the page's keys."""
    command = re.search(r"cdk deploy (.*url_cors_origins.*)", PAGE)
    assert command
    keys = command[1].replace("https://pages.example.com", origin).split()
    subprocess.run(
        ["cdk", "synth", "--quiet", "--output", str(tmp_path / "cdk.out"), *keys],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
        check=True,
        capture_output=True,
        text=True,
    )
    template = json.loads((tmp_path / "cdk.out" / "DualInferenceStack.template.json").read_text())
    (url,) = (r for r in template["Resources"].values() if r["Type"] == "AWS::Lambda::Url")
    return url["Properties"]


def body_of(dom: str) -> str:
    return dom.partition("<body>")[2].partition("</body>")[0]


def test_a_page_of_an_allowed_origin_asks(aws: Aws, origin: str, tmp_path: Path) -> None:
    aws.url_settings = shared_with(origin, tmp_path)
    aws.busy = 1
    dom = dump_dom(origin + "/", "--virtual-time-budget=60000")
    assert comparable(body_of(dom)) == comparable(RUNS["browser.js"][1]).strip()
    methods = [asked.method for asked in aws.asked]
    assert methods[:2] == ["OPTIONS", "POST"]
    assert methods.count("POST") == 3


def test_a_page_of_another_origin_is_kept_out_by_the_browser(
    aws: Aws, origin: str, tmp_path: Path
) -> None:
    aws.url_settings = shared_with("https://pages.example.com", tmp_path)
    dom = dump_dom(origin + "/", "--virtual-time-budget=60000")
    assert body_of(dom) == "TypeError: Failed to fetch"
    assert {asked.method for asked in aws.asked} == {"OPTIONS"}

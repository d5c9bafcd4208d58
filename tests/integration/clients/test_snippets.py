"""Run the clients in docs/10-clients.md unedited."""

import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from unit.test_readme import comparable

from integration.clients.stand_in import INVOKE, INVOKE_ENDPOINT, Aws, forwarding, paths
from ops.local_servers import ROOT
from support import programs
from support.browser import Page
from support.cases import PHOTOS
from support.farm import emulated
from support.programs import Done, cdk
from support.upstream import Handler, listening

PAGE = (ROOT / "docs" / "10-clients.md").read_text()
RUNS = {
    name: (program, shown)
    for name, program, shown in re.findall(
        r"<!-- runs: (\S+) -->\n```\w+\n(.*?)```\n\n```\n(.*?)```\n", PAGE, re.DOTALL
    )
}
# The Makefile makes an environment for each version of the SageMaker Python SDK.
SDK2, SDK3 = (f"{ROOT}/.venv-sdk{version}/bin/python" for version in (2, 3))
PYTHON = {"predictor.py": SDK2, "endpoint_v3.py": SDK3}
ASKS = {"endpoint": INVOKE_ENDPOINT, "function": INVOKE, "url": "/invocations"}
ASKS |= {"predictor": INVOKE_ENDPOINT, "endpoint_v3": INVOKE_ENDPOINT}
PROGRAMS = [name for name in RUNS if not name.endswith(".js")]

Run = Callable[..., Done]


@pytest.fixture
def run(environment: Mapping[str, str], tmp_path: Path) -> Run:
    """Return a function that runs a program of the page, which finds the photographs."""
    (tmp_path / "container").symlink_to(ROOT / "container")

    def run(name: str, **variables: str) -> Done:
        file = tmp_path / name
        file.write_text(RUNS[name][0])
        python = PYTHON.get(name, sys.executable)
        command = [python if name.endswith(".py") else "bash", name]
        return programs.run(command, cwd=tmp_path, env={**environment, **variables})

    return run


def test_the_page_has_every_client() -> None:
    assert {*PROGRAMS, "browser.js"} == {*RUNS}
    assert {Path(name).stem for name in PROGRAMS} == ASKS.keys()
    assert {Path(name).suffix for name in PROGRAMS} == {".py", ".sh"}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_client_retries_and_prints_what_the_page_shows(name: str, run: Run, aws: Aws) -> None:
    aws.busy = 1
    done = run(name)
    # The SDK logs which configuration files are absent.
    printed = re.sub(r"^sagemaker\.config INFO.*\n", "", done.stdout, flags=re.MULTILINE)
    assert comparable(printed) == comparable(RUNS[name][1]), done.stderr
    assert paths(aws.asked) == [ASKS[Path(name).stem]] * 3


@pytest.mark.parametrize("name", ["url.sh", "function.py"])
def test_a_client_needs_no_change_when_the_function_forwards(
    name: str, run: Run, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    with emulated(forwarding(aws.url)) as (function, _):
        monkeypatch.setattr(aws, "function", function)
        done = run(name)
    assert comparable(done.stdout) == comparable(RUNS[name][1]), done.stderr
    assert paths(aws.asked) == [ASKS[Path(name).stem], INVOKE_ENDPOINT] * 2


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_client_reports_a_fault(name: str, run: Run, aws: Aws) -> None:
    """Only curl retries a fault."""
    aws.broken = True
    done = run(name)
    assert done.returncode != 0
    assert "tiger cat" not in done.stdout
    # The SageMaker SDK wraps what it logs.
    assert "the model failed on this request" in " ".join((done.stdout + done.stderr).split())
    assert len(aws.asked) == (3 if name == "url.sh" else 1)


def test_a_client_that_signs_with_another_key_is_refused(run: Run) -> None:
    done = run("url.sh", AWS_SECRET_ACCESS_KEY="another")  # noqa: S106 - of the test
    assert done.returncode != 0
    assert re.search("signature|Forbidden", done.stdout + done.stderr), done


def page(url: str) -> str:
    """Return a page whose client sends a photograph and a file that is not a picture."""
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
    """Serve the page; its origin is not the function's URL."""

    class Page(Handler):
        def reply(self, _body: bytes) -> None:
            photo = PHOTOS / self.path.removeprefix("/")
            if self.path == "/":
                self.answer(200, page(f"{aws.url}/").encode(), {"Content-Type": "text/html"})
            elif photo.is_file():
                self.answer(200, photo.read_bytes(), {"Content-Type": "image/jpeg"})
            else:
                self.answer(404, b"")  # the page's icon

    with listening(Page) as url:
        yield url


def test_an_allowed_origin_is_served(aws: Aws, origin: str, browser: Page, tmp_path: Path) -> None:
    command = re.search(r"cdk deploy (.*url_cors_origins.*)", PAGE)
    assert command
    keys = command[1].replace("https://pages.example.com", origin).split()
    done = cdk("synth", "--quiet", "--output", tmp_path / "cdk.out", *keys)
    assert done.returncode == 0, done.stderr
    template = json.loads((tmp_path / "cdk.out" / "DualInferenceStack.template.json").read_text())
    (url,) = (r for r in template["Resources"].values() if r["Type"] == "AWS::Lambda::Url")
    aws.url_settings = url["Properties"]
    aws.busy = 1
    browser.go(f"{origin}/")
    is_written = "document.body && !document.querySelector('script')"
    written = browser.wait_for(f"{is_written} && document.body.textContent")
    assert comparable(written) == comparable(RUNS["browser.js"][1]).strip()
    methods = [asked.method for asked in aws.asked]
    assert methods[:2] == ["OPTIONS", "POST"]
    assert methods.count("POST") == 3

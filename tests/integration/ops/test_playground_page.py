"""The playground in a real browser, with both local faces and with the stand-in for AWS."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from integration.ops.deployed import ENDPOINT, Deployed
from integration.ops.operator_tools import ScriptedReply
from ops.inputs import picture_of, read_inputs
from ops.local_servers import ROOT, HttpFace, free_port, running, wait_until
from support.browser import Page
from support.cases import PHOTOS
from support.signature import verify

pytestmark = pytest.mark.browser
HOSTILE = "'\"><img src=x onerror=\"document.title='taken'\"><script>document.title='taken'<script>"
SHOWN = ROOT / "docs" / "playground.png"  # in the README


@contextmanager
def playground(*arguments: str, **environment: str) -> Iterator[str]:
    """Run the command, and yield the page's address once it is served."""
    port = free_port()
    command = [sys.executable, "-m", "ops", "playground", *arguments, "--port", str(port)]
    with running(command, environment) as process:
        wait_until(lambda: "Ctrl-C ends it" in process.output, process, "not served")
        yield next(word for word in process.output.split() if "?token=" in word)


@contextmanager
def opened(browser: Page, url: str) -> Iterator[Page]:
    """Open the page, and check at the end that the browser reported no problem."""
    browser.go(url)
    browser.look(1200, 800)
    browser.wait_for("document.documentElement?.dataset.ready")
    yield browser
    assert browser.complaints == []
    assert browser.evaluate("document.title").startswith("Playground: ")
    assert browser.evaluate("location.search") == ""  # the address no longer shows the token


@pytest.fixture(scope="module")
def local() -> Iterator[str]:
    with playground("--local") as url:
        yield url


@pytest.fixture
def page(browser: Page, local: str) -> Iterator[Page]:
    with opened(browser, local) as found:
        yield found


def answered(page: Page, times: int) -> str:
    """Wait for this number of answers, and return the page's verdict."""
    page.wait_for(f"page.finished === {times}")
    return str(page.evaluate("find('verdict-text').textContent"))


def click(page: Page, selector: str) -> None:
    page.evaluate(f"document.querySelector({json.dumps(selector)}).click()")


def texts(page: Page, selector: str) -> list[str]:
    script = f"[...document.querySelectorAll({json.dumps(selector)})].map((e) => e.textContent)"
    found: list[str] = page.evaluate(script)
    return found


def focus(page: Page, text: str) -> None:
    """Press Tab until the element with this text or label has the focus."""
    name = "((e) => [e.ariaLabel, e.textContent.trim(), e.labels?.[0]?.textContent, "
    name += "e.querySelector('img')?.alt])(document.activeElement)"
    for _ in range(60):
        page.press("Tab")
        if page.evaluate(f"{name}.includes({json.dumps(text)})"):
            return
    raise AssertionError(f"Tab never reaches {text}")


def paste(page: Page, filled: str) -> None:
    event = "new ClipboardEvent('paste', {clipboardData: data, bubbles: true})"
    page.evaluate(
        f"{{ const data = new DataTransfer(); {filled}; document.body.dispatchEvent({event}) }}"
    )


def run_the_lines(page: Page) -> None:
    """Run each target's lines of curl and Python, which must print the page's answer."""
    answer = json.loads(texts(page, ".side1 pre")[0])
    shown = texts(page, ".snippet pre")
    assert len(shown) == 4
    for lines in shown:
        program = "bash" if "curl" in lines else sys.executable
        done = subprocess.run([program, "-c", lines], cwd=PHOTOS, capture_output=True, check=True)
        printed = json.loads(done.stdout)
        assert answer == (json.loads(printed["body"]) if "body" in printed else printed), lines


def check_signatures(deployed: Deployed) -> None:
    """Check the calls of the playground and of the printed lines."""
    asked = deployed.script.asked
    calls = [call for call in asked if call.path.partition("?")[0].endswith("/invocations")]
    assert len(calls) >= 8
    for request in calls:
        verify(request, deployed.script.url, "sagemaker" if request.path == ENDPOINT else "lambda")


def test_a_dropped_picture_gets_the_same_answer_twice(page: Page) -> None:
    page.drop(PHOTOS / "cat.jpg", "#drop")
    assert answered(page, 1) == "Identical"
    assert texts(page, "#answers h3") == ["Lambda face", "SageMaker face"]
    first = texts(page, ".side0 .bars span")
    assert (len(first), first[0], first[1][:5]) == (10, "tiger cat", "0.384")
    assert first == texts(page, ".side1 .bars span")
    assert texts(page, "#answers .badge") == ["200", "200"]
    model, _, million = texts(page, ".side0 dd")[1:]
    assert (len(model), million[0]) == (64, "$")
    assert "Lambda, 1,769 MB" in million
    assert [text.split(" ")[1] for text in texts(page, "#checks li")] == [
        *("image:", "model:", "settings:", "answers:")
    ]
    run_the_lines(page)
    # A screen reader has a name for every control.
    nodes = page.send("Accessibility.getFullAXTree")["nodes"]
    properties = [(node, {p["name"] for p in node.get("properties", ())}) for node in nodes]
    used = [node for node, names in properties if "focusable" in names]
    assert len(used) > 20
    assert [node["role"] for node in used if not node["name"]["value"]] == []


def test_by_keyboard_alone(page: Page) -> None:
    focus(page, "coffee.png")
    page.press("Enter")
    assert answered(page, 1) == "Identical"
    assert texts(page, ".side1 .bars span")[0] == "espresso"
    focus(page, "Ask 100 times")
    page.press("Enter")
    focus(page, "Cancel")
    page.wait_for("find('progress').value > 1")
    page.press("Enter")
    page.wait_for("find('note').textContent === 'Cancelled.'")
    calls = page.evaluate("page.times[0].length")
    assert 1 < calls < 100
    verdict = f"{calls} of {calls} pairs of answers are the same"
    assert texts(page, "#verdict-detail")[0].startswith(verdict)
    for side in (0, 1):
        [numbers] = texts(page, f".plot.side{side} p")
        assert numbers.startswith(f"{calls} calls, median ")
        assert page.evaluate(f"document.querySelectorAll('.plot.side{side} i').length") == 48
    focus(page, "Picture")
    page.press("ArrowRight")
    focus(page, "Request body")
    page.evaluate("find('editor').select()")
    for character in '{"uri": 7}':
        page.press(character)
    page.press("Enter", modifiers=2)  # Ctrl
    assert answered(page, 3) == "Identical"
    assert texts(page, ".error b") == ["malformed_request"] * 2


def test_the_history_is_an_input_of_parity(page: Page, downloads: Path) -> None:
    requests = ['{\n"uri":\n"ftp://x"}', '{"uri": 10000000000000000001}', "{"]
    page.drop(PHOTOS / "cat.jpg", "#drop")
    answered(page, 1)
    for request in requests:
        page.evaluate(f"find('editor').value = {json.dumps(request)}; askJson('request.json')")
    click(page, "#export")
    page.wait_for("find('note').textContent.startsWith('Exported')")
    note = "Exported 3 inputs; left out, as they are no JSON: 1."
    assert page.evaluate("find('note').textContent") == note
    exported = downloads / "inputs.jsonl"
    for _ in range(100):  # the browser renames the file at the end of the download
        if exported.exists():
            break
        page.evaluate("new Promise((done) => setTimeout(done, 50))")
    items = read_inputs([str(exported)])
    assert [json.loads(item.body) for item in items[1:]] == [json.loads(r) for r in requests[:2]]
    assert picture_of(items[0]) == ("image/jpeg", (PHOTOS / "cat.jpg").read_bytes())


@pytest.mark.parametrize(("width", "scheme"), [(400, "dark"), (1600, "light")])
def test_it_fits_a_phone_and_a_large_screen(page: Page, width: int, scheme: str) -> None:
    page.look(width, 1000, scheme)
    click(page, "#strip li:nth-child(2) button")
    answered(page, 1)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    cut = "[...document.querySelectorAll('button')].filter((e) => e.scrollWidth > e.clientWidth)"
    assert page.evaluate(f"{cut}.map((e) => e.textContent)") == []
    side_by_side = page.evaluate(
        "new Set([...document.querySelectorAll('#answers .card')].map((e) => e.offsetTop)).size"
    )
    assert side_by_side == (1 if width == 1600 else 2)
    red = "Number(getComputedStyle(document.body).{}.match(/[0-9]+/)[0])"
    paper, ink = (page.evaluate(red.format(name)) for name in ("backgroundColor", "color"))
    assert (paper > ink) == (scheme == "light")


def test_the_picture_in_the_readme_shows_this_page(page: Page) -> None:
    """After a change, copy build/playground.png to docs/."""
    page.look(1280, 750)
    for times in (1, 2, 3):
        click(page, "#strip li:nth-child(2) button")
        answered(page, times)
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    made = ROOT / "build" / "playground.png"
    page.screenshot(made)
    with Image.open(made) as shot:
        shot.convert("RGB").quantize(256).save(made, optimize=True)
    shown, now = (cv2.imread(str(path)) for path in (SHOWN, made))
    assert shown is not None
    assert now is not None
    assert SHOWN.stat().st_size < 200_000
    assert shown.shape == now.shape
    # Compare blurred pictures, because latencies and fonts differ.
    coarse = [cv2.resize(shot, (32, 18), interpolation=cv2.INTER_AREA) for shot in (shown, now)]
    assert np.abs(coarse[0].astype(int) - coarse[1]).mean() < 4


def test_a_photo_and_what_is_pasted(page: Page) -> None:
    click(page, "#photograph")
    page.wait_for("find('camera').querySelector('video').videoWidth")
    click(page, "#shoot")
    assert answered(page, 1) == "Identical"
    assert page.evaluate("find('camera').open") is False
    paste(page, "data.setData('text', 'https://169.254.169.254/a.png?secret')")
    answered(page, 2)
    assert texts(page, ".error b") == ["uri_not_allowed"] * 2
    paste(page, "data.items.add(new File(['no picture'], 'a.png', {type: 'image/png'}))")
    answered(page, 3)
    assert texts(page, ".error b") == ["undecodable_image"] * 2
    assert texts(page, "#asked button") == ["a.png", "https://169.254.169.254/a.png", "photo.jpg"]


def test_what_is_too_large_or_refused_is_said(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(bytes(7 * 1024**2))
    page.drop(path, "#drop")
    answered(page, 1)
    assert texts(page, "#answers .badge") == ["413", "413"]
    path.write_bytes(bytes(65 * 1024**2))
    page.drop(path, "#drop")
    page.wait_for("find('note').textContent.includes('larger than 64 MB')")
    page.send("Network.clearBrowserCookies")  # as after a restart of the playground
    page.drop(PHOTOS / "cat.jpg", "#drop")
    page.wait_for("find('note').textContent.includes('Open the address that it printed.')")
    page.complaints.clear()  # the browser reported the status


def test_json_has_an_editor_with_the_examples_of_its_folder(browser: Page) -> None:
    folder = ROOT / "examples" / "iris"
    with playground("--local", MODEL_FOLDER=str(folder)) as url, opened(browser, url) as page:
        assert page.evaluate("find('picture-panel').hidden")
        assert len(texts(page, "#examples option")) > 5
        assert json.loads(page.evaluate("find('editor').value"))["sepal_length_cm"] == 5.1
        click(page, "#json-panel .primary")
        assert answered(page, 1) == "Identical"
        assert texts(page, ".side0 .bars span")[0] == "setosa"


def test_a_strangers_text_is_no_markup(script: Any, browser: Page, tmp_path: Path) -> None:
    """Labels, errors and file names are shown as text, and another origin's page is refused."""
    results = {"uri": HOSTILE, "results": [{"label": HOSTILE, "prob": HOSTILE}]}
    script.json("/invocations", results)
    script.replies["/"] = (200, {"Content-Type": "text/html"}, b"<title>Playground: no</title>")
    script.replies["/favicon.ico"] = (200, {}, b"")
    named = tmp_path / f"{HOSTILE.replace('/', '')}.png"
    named.write_bytes(b"any")
    dead = "http://127.0.0.1:9"
    with playground("--left", script.url, "--right", dead) as url:
        with opened(browser, url) as page:
            page.drop(named, "#drop")
            assert answered(page, 1) == "Nothing to compare"
            script.json("/invocations", {"error": {"code": HOSTILE, "message": HOSTILE}}, 400)
            click(page, "#again")
            answered(page, 2)
            shown = page.evaluate("document.body.textContent")
            assert shown.count("document.title='taken'") > 4
            assert page.evaluate("document.querySelectorAll('[src=x], body script').length") == 0

            request = f"@{named}"  # curl may take a body that begins with @ as a file's name
            page.evaluate(f"find('editor').value = {json.dumps(request)}; askJson('a.json')")
            answered(page, 3)
            subprocess.run(["bash", "-c", texts(page, ".side0 .snippet pre")[0]], check=True)
            assert script.asked[-1].body == request.encode()

        asked = len(script.asked)
        page.send("Page.navigate", url=f"{script.url}/")
        page.wait_for("document.title === 'Playground: no'")
        options = "{method: 'POST', mode: 'no-cors', body: 'x'}"
        send = f"fetch('{url.partition('?')[0]}ask', {options})"
        page.evaluate(f"{send}.then(() => true, () => true)")
        assert "/invocations" not in {request.path for request in script.asked[asked:]}


def test_a_slow_target_is_waited_for_until_that_is_cancelled(
    script: Any, face: HttpFace, browser: Page
) -> None:
    asked, end = threading.Event(), threading.Event()

    def slow(request: Any) -> ScriptedReply:
        if asked.is_set():  # the command itself makes the first call
            end.wait(60)
        asked.set()
        return 200, {}, b"{}"

    script.replies["/invocations"] = slow
    names = ("--left", script.url, "--right", face.url)
    with playground(*names) as url, opened(browser, url) as page:
        page.drop(PHOTOS / "cat.jpg", "#drop")
        page.wait_for("Boolean(document.querySelector('.side1 .badge.ok'))")
        waiting = "document.querySelector('.side0 .waiting').textContent"
        page.wait_for(f"/Waiting, [1-9]/.test({waiting})")
        click(page, "#cancel")
        assert answered(page, 1) == "No answer"
        assert texts(page, "#verdict-detail, #note") == ["Cancelled."] * 2
        assert texts(page, ".side1 .bars span")[0] == "tiger cat"
        end.set()


def test_a_function_that_is_invoked_and_its_lines(deployed: Deployed, browser: Page) -> None:
    by_alias = "/2015-03-31/functions/the-function/invocations?Qualifier=live"
    deployed.script.replies[by_alias] = deployed.by_invocation
    stack = f"stack:{deployed.account.stack_name}"
    names = ("--left", f"{stack}:function", "--right", f"{stack}:sagemaker")
    with playground(*names) as url, opened(browser, url) as page:
        page.drop(PHOTOS / "cat.jpg", "#drop")
        assert answered(page, 1) == "Identical"
        run_the_lines(page)
        page.evaluate("find('editor').value = '{\"uri\": \"data:,x\"}'; askJson('request.json')")
        assert answered(page, 2) == "Identical"
        lines = next(text for text in texts(page, ".side0 .snippet pre") if "curl" in text)
        done = subprocess.run(["bash", "-c", lines], capture_output=True, check=True)
        assert json.loads(done.stdout)["statusCode"] == 422
        check_signatures(deployed)


def test_a_skew_and_a_denial_on_the_stand_in_for_aws(deployed: Deployed, browser: Page) -> None:
    def another_label(request: Any) -> ScriptedReply:
        status, headers, body = deployed.by_url(request)
        headers = {**headers, "X-Served-By": "sagemaker"}
        return status, headers, body.replace(b"tiger cat", b"house cat")

    stack = deployed.account.stack_name
    with playground("--stack", stack) as url, opened(browser, url) as page:
        assert texts(page, "#targets li") == ["Lambda", "SageMaker"]
        page.drop(PHOTOS / "cat.jpg", "#drop")
        assert answered(page, 1) == "Identical"
        assert texts(page, ".side1 dd")[2] == deployed.digest
        run_the_lines(page)
        check_signatures(deployed)
        deployed.script.replies["/invocations"] = another_label
        click(page, "#again")
        assert answered(page, 2) == "Different"
        assert "results[0].label house cat ≠ tiger cat" in texts(page, "#places li")[0]
        assert texts(page, ".side0 .changed em") == ["≠ no such label"]
        assert texts(page, ".time small") == [" ms, answered by SageMaker", " ms"]
        assert "image, model and settings are the same" in texts(page, "#verdict-detail")[0]

        deployed.script.deny(ENDPOINT)
        click(page, "#again")
        answered(page, 3)
        assert texts(page, ".error") == ["these credentials may not sagemaker:InvokeEndpoint"]
        assert texts(page, ".side0 .bars span")[0] == "house cat"
        assert texts(page, "#verdict-detail") == ["no answer of SageMaker"]
        for path in ("about", "ask"):  # the page must not get a credential
            asked = "{method: 'POST', body: 'x'}" if path == "ask" else "{}"
            got = page.evaluate(f"fetch('/{path}', {asked}).then((reply) => reply.text())")
            assert "SageMaker" in got
            assert [word for word in ("testing", "secret", "a-session") if word in got] == []

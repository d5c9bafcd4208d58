"""The page of `python -m ops parity --html`, opened in a real browser without a window."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from integration.ops.operator_tools import timed
from ops.findings import Finding, State
from ops.inputs import JSON, Input, default_exam, picture_of, read_input
from ops.local_servers import HttpFace
from ops.parity import page
from ops.parity.checks import Row
from ops.parity.compare import compare
from ops.parity.facts import Facts
from ops.parity.report import Report
from support.browser import Page
from support.cases import PHOTOS

HOSTILE = (
    "\"'><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
)

pytestmark = pytest.mark.browser


def opened(browser: Page, path: Path) -> Callable[[str], int]:
    """Open a page; return a function that counts the elements of a selector."""
    browser.go(path.as_uri())
    browser.wait_for("document.readyState === 'complete' && location.protocol === 'file:'")
    query = "document.querySelectorAll({}).length"
    return lambda selector: int(browser.evaluate(query.format(json.dumps(selector))))


def test_the_page_shows_pictures_answers_and_times(
    ops: Callable[..., Any], face: HttpFace, browser: Page, tmp_path: Path
) -> None:
    path = tmp_path / "parity.html"
    done = ops("parity", "--left", face.url, "--right", face.url, "--html", str(path))
    assert done.status == 0, done.err
    count = opened(browser, path)
    shown = [picture for picture in default_exam() if picture_of(picture)]
    assert count("img") == len(shown) == 8
    assert count("article") == len(default_exam())
    assert count("circle[fill-opacity]") == 5 * 2 * len(default_exam())
    # Nothing is loaded from anywhere.
    assert count("[src], [href]") == count("[src^='data:image/']") > 0
    # The page's policy allows its own pictures and styles.
    assert browser.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")
    assert browser.evaluate("getComputedStyle(document.querySelector('article')).display") == "flex"
    assert browser.complaints == []


def hostile() -> Report:
    """Return labels, names, URIs and messages that take over a page which does not escape them."""
    picture = Input(HOSTILE, HOSTILE, read_input(str(PHOTOS / "cat.jpg")).body)
    pairs = [
        (
            timed({"uri": HOSTILE, "results": [{"label": HOSTILE, "prob": "0.5"}]}),
            timed({"uri": HOSTILE, "results": [{"label": "cat", "prob": HOSTILE}]}),
        ),
        (
            timed({"error": {"code": HOSTILE, "message": HOSTILE}}, 400),
            timed({HOSTILE: [HOSTILE]}),
        ),
    ]
    svg = base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>").decode()
    uri = json.dumps({"uri": f"data:image/svg+xml;base64,{svg}"}).encode()
    pairs.append((timed([{"error": {"code": HOSTILE}}, HOSTILE]), timed([])))
    rows = [Row(picture, pair, [compare(*pair)]) for pair in pairs]
    rows.append(Row(Input("svg", JSON, uri), pairs[0], [compare(*pairs[0])]))
    sides = [Facts(HOSTILE, HOSTILE), Facts("SageMaker", "b")]
    return Report(sides, rows, {HOSTILE: Finding(State.FAILS, HOSTILE, HOSTILE)}, 1e-5, HOSTILE)


def test_what_a_target_says_does_nothing_on_the_page(browser: Page, tmp_path: Path) -> None:
    path = tmp_path / "hostile.html"
    path.write_text(page.render(hostile()))
    count = opened(browser, path)
    assert count("script") == 0
    assert browser.evaluate("document.title").startswith("Parity of \"'><script>")
    assert count("img") == 3  # the cat's; an SVG is no thumbnail
    names = "[...document.querySelectorAll('*')].flatMap((e) => e.getAttributeNames())"
    assert browser.evaluate(f"{names}.filter((name) => name.startsWith('on'))") == []


def test_large_pictures_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MAX_IMAGES_BYTES", 60_000)  # the cat has 50,163
    assert page.render(hostile()).count("data:image/jpeg;base64,") == 1

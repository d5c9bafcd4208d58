"""The page of `python -m ops parity --html`, opened in a real browser without a window."""

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cases import PHOTOS
from ops.faces import HttpFace, Reply
from ops.findings import Finding, State
from ops.local import Picture, read
from ops.parity import inputs, page
from ops.parity.comparing import Heard, compare
from ops.parity.conclusions import Row
from ops.parity.facts import Facts
from ops.parity.report import Report

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
HOSTILE = (
    "\"'><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
)
WIDTH, HEIGHT = 1040, 1600


@dataclass
class Dom(HTMLParser):
    """What a browser made of a page: its elements, and the text of each kind."""

    html: str
    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    title: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] == "title":
            self.title = self.title or data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def browse(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """`browse(page, option...)`: what the browser prints."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert found, f"install one of {', '.join(BROWSERS)} (Debian: apt-get install chromium)"
    profile = tmp_path_factory.mktemp("profile")

    def run(page: Path, *options: str) -> str:
        command = [found, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += [f"--user-data-dir={profile}", f"--window-size={WIDTH},{HEIGHT}", *options]
        return subprocess.run(
            [*command, page.as_uri()], check=True, capture_output=True, text=True, timeout=300
        ).stdout

    return run


def test_the_page_shows_pictures_answers_and_times(
    ops: Callable[..., Any], face: HttpFace, browse: Callable[..., str], tmp_path: Path
) -> None:
    path, shot = tmp_path / "parity.html", tmp_path / "page.png"
    done = ops("parity", "--left", face.url, "--right", face.url, "--html", str(path))
    assert done.status == 0, done.err
    dom = Dom(browse(path, "--dump-dom"))
    shown = [picture for picture in inputs.shipped() if inputs.shown(picture)]
    assert len(dom.of("img")) == len(shown) == 8
    assert len(dom.of("article")) == len(inputs.shipped())
    calls = [c for c in dom.of("circle") if "fill-opacity" in c]
    assert len(calls) == 5 * 2 * len(inputs.shipped())
    # Nothing is loaded from anywhere.
    sources = [
        value for _, a in dom.elements for name, value in a.items() if name in ("src", "href")
    ]
    assert all(str(source).startswith("data:image/") for source in sources)
    browse(path, f"--screenshot={shot}")
    pixels = cv2.imread(str(shot))
    assert pixels is not None
    assert pixels.shape[:2] == (HEIGHT, WIDTH)
    # The plot's colours are seen, and the first thumbnail.
    for colour in ((0xB2, 0x72, 0x00), (0x00, 0x5E, 0xD5)):  # BGR
        assert (np.abs(pixels.astype(int) - colour).max(axis=2) < 8).sum() > 50
    assert (pixels.astype(int).max(axis=2) - pixels.min(axis=2) > 60).sum() > 2000


def hostile() -> Report:
    """Labels, names, URIs and messages that would take over a page which does not escape them."""

    def heard(value: object, status: int = 200) -> Heard:
        return Heard.of([Reply(status, {}, json.dumps(value).encode(), 0.01)])

    picture = Picture(HOSTILE, HOSTILE, read(str(PHOTOS / "cat.jpg")).body)
    pairs = [
        (
            heard({"uri": HOSTILE, "results": [{"label": HOSTILE, "prob": "0.5"}]}),
            heard({"uri": HOSTILE, "results": [{"label": "cat", "prob": HOSTILE}]}),
        ),
        (
            heard({"error": {"code": HOSTILE, "message": HOSTILE}}, 400),
            heard({HOSTILE: [HOSTILE]}),
        ),
    ]
    svg = base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>").decode()
    uri = json.dumps({"uri": f"data:image/svg+xml;base64,{svg}"}).encode()
    pairs.append((heard([{"error": {"code": HOSTILE}}, HOSTILE]), heard([])))
    rows = [Row(picture, pair, [compare(*pair)]) for pair in pairs]
    rows.append(Row(Picture("svg", inputs.JSON, uri), pairs[0], [compare(*pairs[0])]))
    sides = [Facts(HOSTILE, HOSTILE), Facts("SageMaker", "b")]
    return Report(sides, rows, {HOSTILE: Finding(State.FAILS, HOSTILE, HOSTILE)}, 1e-5, HOSTILE)


def test_what_a_target_says_does_nothing_on_the_page(
    browse: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "hostile.html"
    path.write_text(page.of(hostile()))
    dom = Dom(browse(path, "--dump-dom"))
    assert dom.of("script") == []
    assert dom.title.startswith("Parity of \"'><script>")
    assert len(dom.of("img")) == 3  # the cat's; an SVG is no thumbnail
    assert not [name for _, a in dom.elements for name in a if name.startswith("on")]


def test_large_pictures_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "_IMAGES_BYTES", 60_000)  # the cat has 50,163
    assert page.of(hostile()).count("data:image/jpeg;base64,") == 1

"""A real browser without a screen: what it makes of a page, as a picture or as its elements.

Debian's `chromium`. Pages are files of our own, so it runs without its sandbox, which root may not
use; it has a profile of its own, and no network but loopback.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SECONDS = 120
_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


def screenshot(page: str | Path, png: Path, width: int = 1000, height: int = 1000) -> None:
    """The page, at a URL or in a file, as it looks after it has loaded. `png` is in pixels."""
    _run(page, f"--window-size={width},{height}", f"--screenshot={png}")
    assert png.is_file(), "the browser made no picture"


def dump_dom(page: str | Path, *options: str) -> str:
    """The page's elements as text, after it has loaded."""
    return _run(page, "--dump-dom", *options)


def _run(page: str | Path, *options: str) -> str:
    url = page.resolve().as_uri() if isinstance(page, Path) else page
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        done = subprocess.run(
            [_program(), *_OPTIONS, f"--user-data-dir={profile}", *options, url],
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _program() -> str:
    for name in PROGRAMS:
        if found := shutil.which(name):
            return found
    pytest.fail("there is no browser on the PATH; `apt-get install chromium` brings one")

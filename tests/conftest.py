"""Fixtures that several folders use: the artifact, the faces, the upstream, the image."""

import fcntl
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis.configuration import set_hypothesis_home_dir

from ops.local_servers import ROOT
from support.browser import Page, open_browser
from support.farm import Farm
from support.upstream import Upstream, bridge_address, upstream

# Hypothesis stores Unicode tables even without a database.
set_hypothesis_home_dir(ROOT / "build" / "hypothesis")

# A background job of a script ignores Ctrl-C, and `nohup` a hangup; started programs would, too.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

TESTS = ROOT / "tests"
TEST_IMAGE = "one-image:test"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of `make test`: unit and contract tests that need no Docker and no browser.

    The deployment tests take the longest, so they come first; another process runs the others.
    """
    items.sort(key=lambda item: "deploy" not in item.path.parts)
    for item in items:
        tier = item.path.relative_to(TESTS).parts[0]
        others = any(item.get_closest_marker(name) for name in ("docker", "browser"))
        if tier in ("unit", "contract") and not others:
            item.add_marker("quick")


@pytest.fixture(scope="session")
def artifact_folder() -> Path:
    """Return the default model's artifact, which `make test` builds."""
    return ROOT / "build" / "artifacts" / "efficientnet_lite0"


@pytest.fixture(scope="session")
def image() -> str:
    """Build the image from container/ and return its name. Needs a Docker engine."""
    command = ["docker", "build", "--platform", "linux/amd64", "--tag", TEST_IMAGE]
    # One process builds; the others wait and then use its layers.
    with (ROOT / "build" / "image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run([*command, ROOT / "container"], check=True)
    return TEST_IMAGE


@pytest.fixture(scope="session")
def local_upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    with upstream("127.0.0.1", tmp_path_factory.mktemp("authority")) as running:
        yield running


@pytest.fixture(scope="session")
def bridge_upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    """Start the upstream at the address under which containers reach this machine."""
    with upstream(bridge_address(), tmp_path_factory.mktemp("authority")) as running:
        yield running


@pytest.fixture(scope="session")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="session")
def browser(downloads: Path) -> Iterator[Page]:
    with open_browser(downloads) as found:
        yield found


@pytest.fixture(scope="session")
def farm(request: pytest.FixtureRequest) -> Iterator[Farm]:
    with ExitStack() as stack:
        yield Farm(request.getfixturevalue, stack)

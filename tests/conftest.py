"""What several tests share: the artifact, the faces, the upstream, the image."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis.configuration import set_hypothesis_home_dir

from farm import Farm
from ops.faces import ROOT
from upstream import Upstream, bridge_address, upstream

# Even without a database Hypothesis keeps tables of Unicode.
set_hypothesis_home_dir(ROOT / "build" / "hypothesis")

TEST_IMAGE = "one-image:test"


def docker_runs() -> bool:
    docker = shutil.which("docker")
    if not docker:
        return False
    return subprocess.run([docker, "info"], capture_output=True, check=False).returncode == 0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without a Docker engine the container tests are left out, loudly; CI has to have one."""
    containers = [item for item in items if item.get_closest_marker("docker")]
    if not containers or docker_runs():
        return
    if os.environ.get("CI"):
        raise pytest.UsageError("no Docker engine is running, and CI has to run every test")
    config.stash[LEFT_OUT] = len(containers)
    config.hook.pytest_deselected(items=containers)
    items[:] = [item for item in items if item not in containers]


LEFT_OUT = pytest.StashKey[int]()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if left_out := config.stash.get(LEFT_OUT, 0):
        terminalreporter.section("NOT TESTED", sep="!", red=True, bold=True)
        terminalreporter.line(
            f"{left_out} container tests were left out: no Docker engine is running. "
            "The image itself is untested."
        )


@pytest.fixture(scope="session")
def artifact_folder() -> Path:
    """The default model's artifact, which `make test` builds."""
    return ROOT / "build" / "artifacts" / "efficientnet_lite0"


@pytest.fixture(scope="session")
def image() -> str:
    """The image, really built from container/."""
    command = ["docker", "build", "--platform", "linux/amd64", "--tag", TEST_IMAGE]
    subprocess.run([*command, ROOT / "container"], check=True)
    return TEST_IMAGE


@pytest.fixture(scope="session")
def local_upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    with upstream("127.0.0.1", tmp_path_factory.mktemp("authority")) as running:
        yield running


@pytest.fixture(scope="session")
def bridge_upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    """The upstream at the address under which containers reach this machine."""
    with upstream(bridge_address(), tmp_path_factory.mktemp("authority")) as running:
        yield running


@pytest.fixture(scope="session")
def farm(request: pytest.FixtureRequest) -> Iterator[Farm]:
    """Every face, started when it is first asked for."""
    with Farm(request.getfixturevalue) as running:
        yield running

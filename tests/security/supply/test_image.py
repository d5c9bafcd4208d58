"""The audit covers all packages in the image."""

from pathlib import Path

import pytest

from support.docker import docker
from support.locks import ROOT, normalised, pins

pytestmark = pytest.mark.docker

REMOVED = {"protobuf", "scipy"}  # the Dockerfile removes them after the installation


def test_the_image_holds_what_is_locked_and_nothing_else(image: str) -> None:
    """The search covers the whole image, also leftovers of an installer and of the base image."""
    script = r"find / -xdev \( -name '*.dist-info' -o -name '*.egg-info' \) -not -path '/proc/*'"
    ran = docker("run", "--rm", "--entrypoint=/bin/sh", image, "-c", script)
    held = [Path(place).stem.split("-")[:2] for place in ran.split()]
    locked = {
        (pin.name, pin.version)
        for path in ("requirements.txt", "requirements-mxnet.txt")
        for pin in pins(ROOT / "container" / path)
        if pin.name not in REMOVED
    }
    assert sorted((normalised(name), version) for name, version in held) == sorted(locked)

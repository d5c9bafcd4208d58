"""The reader of PyTorch's legacy format: the real file, and files that mean harm."""

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

# What torch 2.13.0 reads in the package's file: first three and last number of some tensors, and
# the sha256 over every tensor's line "name shape dtype" and its bytes, in the file's order.
RECORDED: dict[str, tuple[tuple[int, ...], list[float]]] = {
    "_conv_stem.weight": ((32, 3, 3, 3), [-1.110336, -1.3087704, -0.010156915, 2.2351742e-08]),
    "_bn0.running_var": ((32,), [1.6314286, 70.371574, 14.107358, 0.0]),
    "_blocks.15._project_conv.weight": (
        (320, 1152, 1, 1),
        [0.037382703, 0.029342927, -0.028256789, -0.04374096],
    ),
    "_fc.weight": ((1000, 1280), [-0.045610435, -0.09470871, -0.056841467, 0.04085797]),
    "_fc.bias": ((1000,), [0.03205391, -0.015985761, 0.005290735, 0.031384297]),
}
DIGEST = "fe79d1d4e3b4d67766fc4ccc81f3aca7278b09746d8b0f0f67c8c80e3ed1a4bf"


def test_reads_the_real_file_as_torch_does(weights: Path) -> None:
    state = load_state_dict(weights)
    for name, (shape, numbers) in RECORDED.items():
        assert state[name].shape == shape
        ends = [*state[name].ravel()[:3], state[name].ravel()[-1]]
        np.testing.assert_allclose(ends, numbers, rtol=1e-6)
    counter = state["_blocks.0._bn1.num_batches_tracked"]
    assert (counter.shape, str(counter.dtype), int(counter)) == ((), "int64", 0)

    assert (len(state), sum(tensor.size for tensor in state.values())) == (296, 4694073)
    digest = hashlib.sha256()
    for name, tensor in state.items():
        digest.update(f"{name} {tensor.shape} {tensor.dtype}\n".encode() + tensor.tobytes())
    assert digest.hexdigest() == DIGEST


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write a legacy file as torch does, from stand-ins for the names that its pickles hold."""
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")
    for module, name in ((torch, "FloatStorage"), (utils, "_rebuild_tensor_v2")):
        stand_in = type(name, (), {"__module__": module.__name__})
        setattr(module, name, stand_in)
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


@pytest.mark.parametrize(
    ("view", "numbers"),
    [
        ((0, (2, 3), (3, 1)), [[0, 1, 2], [3, 4, 5]]),
        ((0, (3, 2), (1, 3)), [[0, 3], [1, 4], [2, 5]]),  # a transposed tensor
        ((4, (2,), (1,)), [4, 5]),
        ((5, (), ()), 5),
    ],
)
def test_reads_views(write: Callable[..., Path], view: Any, numbers: Any) -> None:
    state = load_state_dict(write(view=view))
    assert list(state) == ["weight"]
    np.testing.assert_array_equal(state["weight"], np.array(numbers, np.float32))


@pytest.mark.parametrize(
    "view", [(0, (7,), (1,)), (1, (2, 3), (3, 1)), (0, (2,), (-1,)), (0, (2, 2**40), (2**40, 1))]
)
def test_refuses_a_tensor_beyond_its_storage(write: Callable[..., Path], view: Any) -> None:
    """It would hand out the memory next to it."""
    with pytest.raises(pickle.UnpicklingError):
        load_state_dict(write(view=view))


def test_runs_no_code_of_the_file(write: Callable[..., Path], tmp_path: Path) -> None:
    marker = tmp_path / "marker"

    class Attack:
        def __reduce__(self) -> Any:
            return os.system, (f"touch '{marker}'",)

    for attack in (
        write(Attack()),
        write(OrderedDict(weight=Attack())),
        write(header=(MAGIC, PROTOCOL, {"little_endian": Attack()})),
    ):
        with pytest.raises(pickle.UnpicklingError, match=r"\.system has no place in a state dict"):
            load_state_dict(attack)
        assert not marker.exists()
    pickle.loads(pickle.dumps(Attack()))  # noqa: S301 - the proof that the attack is one
    assert marker.exists()


def test_refuses_what_is_not_its_format(write: Callable[..., Path], tmp_path: Path) -> None:
    def refused(data: bytes) -> str:
        (tmp_path / "given.pth").write_bytes(data)
        with pytest.raises(pickle.UnpicklingError) as refusal:
            load_state_dict(tmp_path / "given.pth")
        return str(refusal.value)

    assert "zip format" in refused(b"PK\x03\x04" + bytes(100))
    assert "not PyTorch's legacy format" in refused(write(header=(1, 2, SIZES)).read_bytes())
    refused(b"")
    for seed in range(200):
        refused(np.random.default_rng(seed).bytes(500))


def test_refuses_a_truncated_file(write: Callable[..., Path], tmp_path: Path) -> None:
    """Wherever it ends: within a pickle, between two, within the numbers."""
    whole = write().read_bytes()
    for length in range(len(whole)):
        (tmp_path / "short.pth").write_bytes(whole[:length])
        with pytest.raises(pickle.UnpicklingError):
            load_state_dict(tmp_path / "short.pth")

"""Read the tensors of a `.pth` file in PyTorch's format before 1.6, without PyTorch.

Such a file holds five pickles (a magic number, the protocol's version, the writer's type sizes, the
state dict, the storages' keys), then each storage: its length as int64 and its raw elements. The
unpickler accepts only the few names that a state dict of floats needs, so a file cannot run code.
"""

import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class _View(NamedTuple):
    """A tensor as a view of a storage. The fields are PyTorch's arguments."""

    storage: tuple[str, Any]
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    requires_grad: Any = None
    hooks: Any = None


_NAMES = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _View,
    ("torch", "FloatStorage"): np.dtype("<f4"),
    ("torch", "LongStorage"): np.dtype("<i8"),
}


class _StateDictUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a state dict")
        return _NAMES[module, name]

    def persistent_load(self, pid: Any) -> tuple[str, Any]:
        _, dtype, key, *_ = pid
        return key, dtype


def load_state_dict(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return each tensor of the file by name. Raises pickle.UnpicklingError for other files."""
    try:
        with path.open("rb") as file:
            return _load(file)
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # the exceptions for a broken pickle have no common base
        problem = "is incomplete or not in PyTorch's legacy format"
        raise pickle.UnpicklingError(f"{path.name} {problem}: {error!r}") from error


def _load(file: BinaryIO) -> dict[str, npt.NDArray[Any]]:
    magic, protocol, sizes, views, keys = (_StateDictUnpickler(file).load() for _ in range(5))
    if (magic, protocol) != (_MAGIC, _PROTOCOL) or not sizes["little_endian"]:
        raise ValueError("magic number, protocol or byte order")
    dtypes = dict(view.storage for view in views.values())
    storages = {}
    for key in keys:
        (length,) = struct.unpack("<q", file.read(8))
        storages[key] = np.fromfile(file, dtypes[key], length)
    tensors: dict[str, npt.NDArray[Any]] = {}
    for name, view in views.items():
        storage = storages[view.storage[0]]
        strides = [step * storage.itemsize for step in view.stride]
        offset = view.offset * storage.itemsize
        # NumPy refuses a view outside the storage, such as one from a truncated file.
        tensors[name] = np.ndarray(view.shape, storage.dtype, storage.data, offset, strides).copy()
    return tensors

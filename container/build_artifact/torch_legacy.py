"""Read the tensors of a `.pth` file in PyTorch's format before 1.6, without PyTorch.

Such a file holds five pickles (a magic number, the protocol's version, the writer's type sizes, the
state dict, the storages' keys), then each storage: its length as int64 and its raw elements. The
unpickler accepts only the few names that a state dict of floats needs, so a file cannot run code.
"""

import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_NAMES = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): lambda *view: view,  # a view of a storage
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
    """Return each tensor of the file by name. Raises pickle.UnpicklingError for other names."""
    with path.open("rb") as file:
        _, _, _, views, keys = (_StateDictUnpickler(file).load() for _ in range(5))
        dtypes = dict(storage for storage, *_ in views.values())
        storages = {}
        for key in keys:
            (length,) = struct.unpack("<q", file.read(8))
            storages[key] = np.fromfile(file, dtypes[key], length)
    tensors: dict[str, npt.NDArray[Any]] = {}
    for name, ((key, _), offset, shape, stride, *_) in views.items():
        data, size = storages[key], storages[key].itemsize
        strides = [step * size for step in stride]
        # NumPy refuses a view outside the storage.
        tensors[name] = np.ndarray(shape, data.dtype, data.data, offset * size, strides).copy()
    return tensors

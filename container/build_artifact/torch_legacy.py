"""Tensors out of a `.pth` file in PyTorch's format before 1.6, without PyTorch.

Such a file is four pickles (a magic number, the protocol's version, the writer's type sizes, the
state dict), a fifth with the storages' keys, then each storage: its length as int64 and its raw
elements. The unpickler knows the few names that a state dict of floats needs and refuses every
other, so that a file cannot run code.
"""

import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_STORAGES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _Tensor:
    """A view to be: which part of which storage, filled in once the storages are read."""

    def __init__(
        self, storage: str, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any
    ) -> None:
        self.storage, self.offset, self.shape, self.stride = storage, offset, shape, stride


class _StateDictUnpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.dtypes: dict[str, np.dtype[Any]] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Tensor
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a state dict of floats")

    def persistent_load(self, pid: Any) -> str:
        _, dtype, key, *_ = pid
        self.dtypes[key] = dtype
        return str(key)


def load_state_dict(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Every tensor of the file by name. Raises pickle.UnpicklingError for anything else in it."""
    with path.open("rb") as file:
        try:
            return _load(file)
        except pickle.UnpicklingError:
            raise
        except Exception as error:  # what a broken pickle can raise has no common base
            raise pickle.UnpicklingError(
                f"{path.name} is not whole or not of PyTorch's legacy format "
                f"({type(error).__name__}: {error})"
            ) from error


def _load(file: BinaryIO) -> dict[str, npt.NDArray[Any]]:
    if file.read(4) == b"PK\x03\x04":
        raise pickle.UnpicklingError("this is PyTorch's zip format, and not its legacy one")
    file.seek(0)
    header = [_StateDictUnpickler(file).load() for _ in range(3)]
    if header[:2] != [_MAGIC, _PROTOCOL] or not header[2]["little_endian"]:
        raise pickle.UnpicklingError("this is not PyTorch's legacy format")
    unpickler = _StateDictUnpickler(file)
    tensors: dict[str, _Tensor] = unpickler.load()
    storages = {}
    for key in _StateDictUnpickler(file).load():
        (length,) = struct.unpack("<q", file.read(8))
        storages[key] = np.fromfile(file, unpickler.dtypes[key], length)
        if len(storages[key]) != length:
            raise EOFError(f"storage {key} ends after {len(storages[key])} of {length} numbers")
    return {name: _view(tensor, storages[tensor.storage]) for name, tensor in tensors.items()}


def _view(tensor: _Tensor, storage: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The numbers of a tensor, copied. NumPy refuses a view that reaches outside the storage."""
    strides = [step * storage.itemsize for step in tensor.stride]
    offset = tensor.offset * storage.itemsize
    return np.ndarray(tensor.shape, storage.dtype, storage.data, offset, strides).copy()

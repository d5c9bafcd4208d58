"""What a graph may have its engine do besides computing. Looked for before an engine sees it.

A model is trusted code all the same: it can take any time and memory. But it must not reach files
or memory that are not the artifact's.
"""

import json
import mmap
import re
from collections.abc import Iterator
from pathlib import Path

from serving.errors import StartError

MAX_SYMBOL_BYTES = 64 * 1024**2

# MXNet's operators that call Python, or functions at addresses that the graph itself names, and
# those that read files. None is exported from a network that was trained.
_NATIVE = re.compile(rb'"op"\s*:\s*"([^"]*(?:Custom|_Native|_NDArray|CachedOp|imread)[^"]*)"')

# Which fields of an ONNX message hold others, down to the tensors. https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
_MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_EXTERNAL_DATA = 13  # of a tensor: a key and a value


def check(folder: Path) -> None:
    """Refuse a graph that names what is not in the folder. Raises StartError.

    ONNX: weights in other files. ONNX Runtime checks that itself, in its later versions. MXNet, of
    a folder without `model.onnx`: its operators that run code.
    """
    compiled = folder / "model.onnx"
    if not compiled.exists():
        for symbol in folder.glob("*symbol.json"):
            _check_symbol(symbol)
    elif compiled.stat().st_size:  # what is empty cannot be mapped, and names nothing
        with compiled.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
            try:
                places = list(_places(data))
            except (ValueError, IndexError):
                raise StartError(f"{compiled} is broken, or no ONNX graph") from None
        for place, end in places:
            path = Path(place)
            inside = place.isprintable() and not path.is_absolute() and ".." not in path.parts
            if not inside or not (folder / path).is_file():
                raise StartError(
                    f"{compiled} has weights in {place[:200]!a}, which is no file beside it"
                )
            if (folder / path).stat().st_size < end:
                raise StartError(f"{folder / path} is cut off: {compiled} has weights up to {end}")


def _check_symbol(path: Path) -> None:
    if path.stat().st_size > MAX_SYMBOL_BYTES:
        raise StartError(f"{path} is larger than {MAX_SYMBOL_BYTES} bytes")
    text = path.read_bytes()
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        raise StartError(f"{path} is not JSON") from None
    if operator := _NATIVE.search(text):
        name = ascii(operator[1][:100].decode(errors="replace"))
        raise StartError(f"{path} has the operator {name}, which does more than compute")


def _places(data: mmap.mmap) -> Iterator[tuple[str, int]]:
    """The file of each tensor's external data, and where in it that ends.

    Raises ValueError or IndexError for what is no ONNX.
    """
    waiting = [("model", 0, len(data))]
    while waiting:
        message, start, end = waiting.pop()
        if message == "tensor":
            pairs = []
            for number, first, last in _fields(data, start, end):
                if number == _EXTERNAL_DATA:
                    pair = {n: data[a:b] for n, a, b in _fields(data, first, last)}
                    pairs.append((pair.get(1, b""), pair.get(2, b"")))
            where = dict(pairs)
            data_end = int(where.get(b"offset", b"0")) + int(where.get(b"length", b"0"))
            yield from ((value.decode(), data_end) for key, value in pairs if key == b"location")
            continue
        inside = _MESSAGES[message]
        for number, first, last in _fields(data, start, end):
            if number in inside:
                waiting.append((inside[number], first, last))


def _fields(data: mmap.mmap, position: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The number, start and end of each field of a message that has a length.

    https://protobuf.dev/programming-guides/encoding
    """
    while position < end:
        tag, position = _varint(data, position)
        wire_type = tag & 7
        if wire_type == 0:
            _, position = _varint(data, position)
        elif wire_type == 2:
            length, position = _varint(data, position)
            yield tag >> 3, position, position + length
            position += length
        elif wire_type in (1, 5):
            position += 8 if wire_type == 1 else 4
        else:
            raise ValueError
    if position != end:
        raise ValueError


def _varint(data: mmap.mmap, position: int) -> tuple[int, int]:
    """A number of at most 64 bits, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError

"""Hostile archives, folders and graphs by name, with the message that refuses each."""

import gzip
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

MIB = 1024**2
Edit = Callable[[Path], object]


def member(name: str, **fields: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def packed(*members: tuple[tarfile.TarInfo, bytes], end: bytes = b"") -> bytes:
    """Write a `tar.gz` with these headers as they are, whatever they claim."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in members:
            tar.addfile(info)
            tar.fileobj.write(data + bytes(-len(data) % 512))
    return gzip.compress(plain.getvalue() + end, 1)


def plain(name: str, data: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    return member(name, size=len(data)), data


def special(kind: bytes, **fields: Any) -> bytes:
    """Pack one member that is neither a file nor a folder."""
    return packed((member("n", type=kind, **fields), b""))


OUTSIDE = "cannot be unpacked: .*would be extracted to .*outside the destination"
NO_PLAIN_FILE = "the archive's member 'n' is neither a regular file nor a folder"
NO_ARTIFACT = "is not an artifact"
SPARSE = {"GNU.sparse.map": "0,0", "GNU.sparse.size": "1" * 13}

# A harmless archive, such as one with a name twice, is unpacked but is not an artifact.
ARCHIVES: dict[str, tuple[bytes, str]] = {
    "climbs": (packed(plain("../escape")), OUTSIDE),
    "climbs from a folder": (packed(plain("a/../../escape")), OUTSIDE),
    "absolute": (packed(plain("/escape")), NO_ARTIFACT),
    "a link, then a file through it": (
        packed((member("n", type=tarfile.SYMTYPE, linkname=".."), b""), plain("n/escape")),
        NO_PLAIN_FILE,
    ),
    "a link inside": (special(tarfile.SYMTYPE, linkname="x"), NO_PLAIN_FILE),
    "a hard link": (special(tarfile.LNKTYPE, linkname="/etc/passwd"), NO_PLAIN_FILE),
    "a device": (special(tarfile.CHRTYPE), NO_PLAIN_FILE),
    "a fifo": (special(tarfile.FIFOTYPE), NO_PLAIN_FILE),
    "a size below zero": (packed((member("n", size=-1024), b""), plain("x")), NO_PLAIN_FILE),
    "a size of nine gigabytes": (packed((member("n", size=9 << 30), b"")), "unpacks to more than"),
    "sparse: a terabyte in nothing": (
        packed((member("s", pax_headers=SPARSE), b"")),
        "unpacks to more than",
    ),
    "headers without end": (
        packed((member("n", pax_headers={"comment": "x" * 4 * MIB}), b"")),
        "more than 1048576 bytes of headers or padding in a row",
    ),
    "a header of two gigabytes, of which 64 MiB come": (
        gzip.compress(member("n", type=tarfile.XHDTYPE, size=2 << 30).tobuf() + bytes(64 * MIB), 1),
        "bytes of headers or padding in a row",  # so they are not read to their end
    ),
    "zeros after the end": (packed(plain("x"), end=bytes(4 * MIB)), "padding in a row"),
    "too many members": (
        packed(*[(member(f"{i}", type=tarfile.DIRTYPE), b"") for i in range(10_001)]),
        "10000 members",
    ),
    "the same name twice": (packed(plain("labels.txt"), plain("labels.txt")), NO_ARTIFACT),
    "a name with NUL": (packed((member("n", pax_headers={"path": "a\0b"}), b"")), "cannot be un"),
    "a name of two lines": (packed(plain("a\nb")), "which is not a printable name"),
    "another checksum": (packed(plain("x"))[:-8] + bytes(8), "CRC check failed"),
    "something after it": (packed(plain("x")) + b"more", "cannot be unpacked: Not a gzipped"),
}


def edit_manifest(**changes: Any) -> Edit:
    def edit(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))

    return edit


def overwrite(name: str, data: bytes) -> Edit:
    return lambda folder: (folder / name).write_bytes(data)


def link(name: str, target: str) -> Edit:
    def edit(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return edit


def weights_by_link(folder: Path) -> None:
    """Move the weights out of the folder; their digest stays as in the manifest."""
    (folder / "w.bin").rename(folder.parent / "outside.bin")
    (folder / "w.bin").symlink_to("../outside.bin")


def only_a_symbol(data: bytes) -> Edit:
    def edit(folder: Path) -> None:
        for path in folder.iterdir():
            path.unlink()
        (folder / "a-symbol.json").write_bytes(data)
        (folder / "a-0000.params").write_bytes(b"")

    return edit


def symbol(operator: str) -> Edit:
    """Make a symbol with that operator in the body of a loop."""
    nodes = [{"op": "null", "name": "data"}, {"op": operator, "name": "x"}]
    outer = [{"op": "_foreach", "name": "y", "subgraphs": [{"nodes": nodes}]}]
    return only_a_symbol(json.dumps({"nodes": outer}, indent=1).encode())


def huge(name: str, size: int) -> Edit:
    return lambda folder: os.truncate(folder / name, size)


NO_MANIFEST = "is not a manifest of format 1"
NOT_BELOW = "which is not a file in the folder"
LEADS_OUT = "a link that leads out of it"
NO_FILE = "which is neither a file nor a folder"
SHA = "0" * 64

FOLDERS: dict[str, tuple[Edit, str]] = {
    "a link to /etc/passwd": (link("notes", "/etc/passwd"), f"has notes, {LEADS_OUT}"),
    "the manifest by a link": (link("manifest.json", "/etc/hostname"), LEADS_OUT),
    "weights by a link": (weights_by_link, f"has w.bin, {LEADS_OUT}"),
    "a link to itself": (link("loop", "loop"), f"has loop, {NO_FILE}"),
    "a fifo": (lambda folder: os.mkfifo(folder / "pipe"), f"has pipe, {NO_FILE}"),
    "a name of two lines": (
        lambda f: (f / "a\nb").touch(),
        r"has 'a\\nb', which is not a printable name",
    ),
    "a name that is not UTF-8": (
        lambda f: (f / "a\udcff").touch(),
        r"'a\\udcff', which is not a printable name",
    ),
    "names /etc/passwd": (edit_manifest(files={"/etc/passwd": SHA}), f"'/etc/passwd', {NOT_BELOW}"),
    "names what is above": (edit_manifest(files={"../../etc/passwd": SHA}), NOT_BELOW),
    "names a folder": (edit_manifest(files={".": SHA}), "lacks ., which its manifest names"),
    "digests of another kind": (edit_manifest(files={"labels.txt": 7}), NO_MANIFEST),
    "a name of another kind": (edit_manifest(name=["small"]), NO_MANIFEST),
    "a manifest that is deep": (overwrite("manifest.json", b"[" * 9**5), NO_MANIFEST),
    "a manifest of 2 GB": (huge("manifest.json", 2 << 30), "is larger than 1048576 bytes"),
    "calls Python": (symbol("Custom"), "has the operator 'Custom', which does more than compute"),
    "calls an address": (symbol("_Native"), "has the operator '_Native'"),
    "calls one backwards": (symbol("_backward__Native"), "has the operator '_backward__Native'"),
    "calls a function": (symbol("_NDArray"), "has the operator '_NDArray'"),
    "reads files": (symbol("_cvimread"), "has the operator '_cvimread'"),
    "a symbol that is deep": (only_a_symbol(b"[" * 9**5), "a-symbol.json is not JSON"),
    "a symbol of 2 GB": (
        lambda f: (symbol("x")(f), huge("a-symbol.json", 2 << 30)(f)),
        "is larger than 67108864 bytes",
    ),
}


def varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def encode(message: dict[int, Any]) -> bytes:
    """Encode a protocol buffer: numbers, texts, messages or lists of these, by field number."""
    data = b""
    for field, values in message.items():
        for value in values if isinstance(values, list) else [values]:
            if isinstance(value, int):
                data += varint(field << 3) + varint(value)
            else:
                inner = encode(value) if isinstance(value, dict) else value.encode()
                data += varint(field << 3 | 2) + varint(len(inner)) + inner
    return data


# Field numbers of ONNX: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
def weights(location: str, offset: str = "0") -> dict[int, Any]:
    entries = {"location": location, "offset": offset, "length": "16"}
    pairs = [{1: name, 2: value} for name, value in entries.items()]
    return {1: 4, 2: 1, 8: "w", 13: pairs, 14: 1}


def onnx(graph: dict[int, Any], *nodes: dict[int, Any], operator: str = "Add") -> bytes:
    """Return a ModelProto that adds `w` to its input of four floats. `graph`: more fields."""
    add = {1: ["data", "w"], 2: "out", 4: operator}
    four_floats = {1: {1: 1, 2: {1: {1: 4}}}}
    data, out = ({1: name, 2: four_floats} for name in ("data", "out"))
    whole = {1: [add, *nodes], 2: "g", **graph, 11: data, 12: out}
    return encode({1: 8, 7: whole, 8: {2: 13}})


def initializer(location: str, offset: str = "0") -> dict[int, Any]:
    return {5: weights(location, offset)}


ABOVE = "../outside.bin"
CONSTANT_ABOVE = {2: "w", 4: "Constant", 5: {1: "value", 5: weights(ABOVE), 20: 4}}

# ONNX Runtime itself refuses these. Its version is pinned; the test tells whether a new one does.
GRAPHS: dict[str, bytes] = {
    "weights in /etc/passwd": onnx(initializer("/etc/passwd")),
    "weights above": onnx(initializer(ABOVE)),
    "weights by a link": onnx(initializer("by-link.bin")),
    "weights nowhere": onnx(initializer("absent.bin")),
    "weights beyond the file": onnx(initializer("w.bin", "4096")),
    "weights at an address in memory": onnx(initializer("*/_ORT_MEM_ADDR_/*", "4096")),
    "a constant above": onnx({}, CONSTANT_ABOVE),
    "a sparse tensor above": onnx({15: {1: weights(ABOVE), 3: 4}}),
    "cut off": onnx(initializer("w.bin"))[:-20],
    "no ONNX": b"#!/bin/sh\n",
    "nothing": b"",
    "an operator that calls Python": onnx(initializer("w.bin"), operator="PyOp"),
}

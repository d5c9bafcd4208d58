"""Hostile archives and folders by name, each with what its refusal says; and how to write such.

Tar members with the headers that they are given, and ONNX's protocol buffers.
"""

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serving import manifest as manifest_of

MIB = 1024**2


def member(name: str, **fields: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def packed(*members: tuple[tarfile.TarInfo, bytes], end: bytes = b"") -> bytes:
    """A `tar.gz` with these headers as they are, whatever they claim."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in members:
            tar.addfile(info)
            tar.fileobj.write(data + bytes(-len(data) % 512))
    return gzip.compress(plain.getvalue() + end, 1)


def plain(name: str, data: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    return member(name, size=len(data)), data


def varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def message(number: int, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return varint(number << 3 | 2) + varint(len(data)) + data


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def weights(location: str, offset: str = "0") -> bytes:
    """A TensorProto of four floats in another file."""
    entries = {"location": location, "offset": offset, "length": "16"}
    pairs = [
        message(13, message(1, k.encode()), message(2, v.encode())) for k, v in entries.items()
    ]
    return b"".join([number(1, 4), number(2, 1), message(8, b"w"), *pairs, number(14, 1)])


def onnx(*of_graph: bytes, of_model: bytes = b"", operator: bytes = b"Add") -> bytes:
    """A ModelProto that adds `w` to its input of four floats."""
    float4 = message(2, message(1, number(1, 1), message(2, message(1, number(1, 4)))))
    node = message(
        1, message(1, b"data"), message(1, b"w"), message(2, b"out"), message(4, operator)
    )
    values = [message(11, message(1, b"data"), float4), message(12, message(1, b"out"), float4)]
    graph = message(7, node, message(2, b"g"), *of_graph, *values)
    return number(1, 8) + graph + message(8, number(2, 13)) + of_model


def initializer(location: str, offset: str = "0") -> bytes:
    return message(5, weights(location, offset))


def in_a_branch(location: str) -> bytes:
    """The same in a graph that is an attribute of a node."""
    return message(1, message(4, b"If"), message(5, message(6, initializer(location))))


NOT_BELOW = "is not a plain file below it"
ARCHIVES: dict[str, tuple[bytes, str]] = {
    "climbs": (packed(plain("../escape")), NOT_BELOW),
    "climbs from a folder": (packed(plain("a/../../escape")), NOT_BELOW),
    "climbs after ./": (packed(plain("./../escape")), NOT_BELOW),
    "absolute": (packed(plain("/escape")), NOT_BELOW),
    "absolute by a long header": (
        packed((member("a", pax_headers={"path": "/x"}), b"")),
        NOT_BELOW,
    ),
    "a link, then a file through it": (
        packed((member("a", type=tarfile.SYMTYPE, linkname=".."), b""), plain("a/escape")),
        NOT_BELOW,
    ),
    "a link inside": (
        packed(plain("x"), (member("y", type=tarfile.SYMTYPE, linkname="x"), b"")),
        NOT_BELOW,
    ),
    "a hard link": (
        packed((member("y", type=tarfile.LNKTYPE, linkname="/etc/passwd"), b"")),
        NOT_BELOW,
    ),
    "a character device": (packed((member("n", type=tarfile.CHRTYPE), b"")), NOT_BELOW),
    "a block device": (packed((member("n", type=tarfile.BLKTYPE), b"")), NOT_BELOW),
    "a fifo": (packed((member("n", type=tarfile.FIFOTYPE), b"")), NOT_BELOW),
    "a kind that nobody knows": (
        packed((member("n", type=b"Z", size=1 << 40), b"")),
        "is not a plain",
    ),
    "sparse: a terabyte in nothing": (
        packed(
            (member("s", pax_headers={"GNU.sparse.map": "0,0", "GNU.sparse.size": "1" * 13}), b"")
        ),
        NOT_BELOW,
    ),
    "a size below zero": (packed((member("n", size=-1024), b""), plain("x")), NOT_BELOW),
    "a size of nine gigabytes": (packed((member("n", size=9 << 30), b"")), "unpacks to more than"),
    "headers without end": (
        packed((member("n", pax_headers={"comment": "x" * 4 * MIB}), b"")),
        "more than 1048576 bytes in a row that are no file's",
    ),
    "a long name without end": (packed(plain("x" * 4 * MIB)), "more than 1048576 bytes in a row"),
    "headers upon headers": (
        packed(*[(member("h", type=tarfile.XHDTYPE, size=0), b"")] * 5000, plain("x")),
        "recursion|in a row",
    ),
    "zeros after the end": (packed(plain("x"), end=bytes(4 * MIB)), "bytes in a row"),
    "too many members": (
        packed(*[(member(f"{i}", type=tarfile.DIRTYPE), b"") for i in range(10_001)]),
        "10000 members",
    ),
    "the same name twice": (packed(plain("labels.txt"), plain("labels.txt")), "is there twice"),
    "the same name, spelt apart": (packed(plain("a/b"), plain("a/./b")), "is there twice"),
    "a file, then a folder of its name": (packed(plain("a"), plain("a/b")), "is there twice"),
    "a folder, then a file of its name": (packed(plain("a/b"), plain("a")), "is there twice"),
    "no name": (packed(plain("./")), "is there twice"),
    "a name with NUL": (
        packed((member("n", pax_headers={"path": "a\0b"}), b"")),
        "a name that is not",
    ),
    "a name of two lines": (packed(plain("a\nb")), "a name that is not plain"),
    "a name that turns the text": (packed(plain("a\u202eb")), "a name that is not plain"),
    "a name that is not UTF-8": (packed(plain("a\udcff")), "a name that is not plain"),
    "a name too long for a file": (packed(plain("x" * 300)), "a name that is not plain"),
    "only folders": (packed((member("d", type=tarfile.DIRTYPE), b"")), "is no artifact"),
    "a folder in a file's place": (
        packed(plain("a-symbol.json", b"{}"), plain("a.params/x")),
        "is no artifact",
    ),
    "another case": (packed(plain("MANIFEST.JSON", b"{}"), plain("Model.onnx")), "is no artifact"),
    "bzip2": (
        bz2.compress(gzip.decompress(packed(plain("x")))),
        "cannot be unpacked: Not a gzipped",
    ),
    "xz": (lzma.compress(gzip.decompress(packed(plain("x")))), "cannot be unpacked: Not a gzipped"),
    "not compressed": (gzip.decompress(packed(plain("x"))), "cannot be unpacked: Not a gzipped"),
    "gzip of no tar": (gzip.compress(b"no tar" * 1000), "cannot be unpacked"),
    "gzip of nothing": (gzip.compress(b""), "cannot be unpacked"),
    "another checksum": (
        packed(plain("x"))[:-8] + bytes(8),
        "cannot be unpacked: CRC check failed",
    ),
    "something after it": (packed(plain("x")) + b"more", "cannot be unpacked: Not a gzipped"),
}


def edit_manifest(**changes: Any) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        for name, value in changes.items():
            more = name == "files" and isinstance(value, dict)
            manifest[name] = {**manifest["files"], **value} if more else value
        (folder / "manifest.json").write_text(json.dumps(manifest))

    return edit


def graph(*of_graph: bytes, **arguments: bytes) -> Callable[[Path], object]:
    """Another graph, with a manifest that agrees."""

    def edit(folder: Path) -> None:
        rewrite(folder, "model.onnx", onnx(*of_graph, **arguments))

    return edit


def rewrite(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    manifest_of.write(folder, {"name": "small"})


def link(name: str, target: str) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return edit


def weights_by_link(folder: Path) -> None:
    """What the manifest promises, but elsewhere: the digest is right."""
    (folder / "w.bin").rename(folder.parent / "outside.bin")
    (folder / "w.bin").symlink_to("../outside.bin")


def symbol(operator: str) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        for path in folder.iterdir():
            path.unlink()
        nodes = [{"op": "null", "name": "data"}, {"op": operator, "name": "x"}]
        inner = [{"op": "_foreach", "name": "y", "subgraphs": [{"nodes": nodes}]}]
        (folder / "a-symbol.json").write_text(json.dumps({"nodes": inner}, indent=1))
        (folder / "a-0000.params").write_bytes(b"")

    return edit


def only_a_symbol_that_is(data: bytes) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        symbol("x")(folder)
        (folder / "a-symbol.json").write_bytes(data)

    return edit


def huge(name: str, size: int) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        with (folder / name).open("wb") as file:
            file.truncate(size)

    return edit


NO_MANIFEST = "is not a manifest of format 1"
NO_FILE_BESIDE = "which is no file beside it"
NO_FILE_BELOW = "which is no file below the folder"
BROKEN = "model.onnx is broken, or no ONNX graph"
SHA = "0" * 64

FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a link to /etc/passwd": (
        link("notes", "/etc/passwd"),
        "has notes, a link that leads out of it",
    ),
    "labels by a link": (link("labels.txt", "/etc/passwd"), "has labels.txt, a link that leads"),
    "the manifest by a link": (link("manifest.json", "/etc/hostname"), "a link that leads out"),
    "a folder by a link": (link("etc", "/etc"), "has etc, a link that leads out"),
    "a link to the folder above": (link("up", ".."), "has up, a link that leads out"),
    "weights by a link": (weights_by_link, "has w.bin, a link that leads out"),
    "a link to itself": (link("loop", "loop"), "has loop, no file and no folder"),
    "a link to nothing": (link("absent", "absent2"), "has absent, no file and no folder"),
    "a fifo": (lambda folder: os.mkfifo(folder / "pipe"), "has pipe, no file and no folder"),
    "a name of two lines": (
        lambda folder: (folder / "a\nb").touch(),
        r"has 'a\\nb', no plain name",
    ),
    "a name that is not UTF-8": (lambda f: (f / "a\udcff").touch(), r"'a\\udcff', no plain name"),
    "names /etc/passwd": (
        edit_manifest(files={"/etc/passwd": SHA}),
        f"'/etc/passwd', {NO_FILE_BELOW}",
    ),
    "names what is above": (edit_manifest(files={"../../etc/passwd": SHA}), NO_FILE_BELOW),
    "names it round a corner": (edit_manifest(files={"a/../../x": SHA}), NO_FILE_BELOW),
    "names nothing printable": (edit_manifest(files={"a\x1b[2J": SHA}), NO_FILE_BELOW),
    "names a folder": (edit_manifest(files={".": SHA}), "lacks ., which its manifest names"),
    "digests of another kind": (edit_manifest(files={"labels.txt": 7}), NO_MANIFEST),
    "files as a list": (edit_manifest(files=["labels.txt"]), NO_MANIFEST),
    "a name of another kind": (edit_manifest(name=["small"]), NO_MANIFEST),
    "a manifest that is a list": (lambda f: (f / "manifest.json").write_text("[1]"), NO_MANIFEST),
    "a manifest that is no text": (
        lambda f: (f / "manifest.json").write_bytes(b"\xff"),
        NO_MANIFEST,
    ),
    "a manifest that is deep": (
        lambda f: (f / "manifest.json").write_text("[" * 9**5),
        NO_MANIFEST,
    ),
    "a manifest of 2 GB": (huge("manifest.json", 2 << 30), "is larger than 1048576 bytes"),
    "weights in /etc/passwd": (
        graph(initializer("/etc/passwd")),
        f"'/etc/passwd', {NO_FILE_BESIDE}",
    ),
    "weights above": (graph(initializer("../outside.bin")), NO_FILE_BESIDE),
    "weights round a corner": (graph(initializer("x/../../outside.bin")), NO_FILE_BESIDE),
    "weights in a folder": (graph(initializer(".")), NO_FILE_BESIDE),
    "weights nowhere": (graph(initializer("absent.bin")), NO_FILE_BESIDE),
    "weights in no place": (graph(initializer("")), NO_FILE_BESIDE),
    "weights at an address in memory": (
        graph(initializer("*/_ORT_MEM_ADDR_/*", "4096")),
        NO_FILE_BESIDE,
    ),
    "weights in a branch": (
        graph(initializer("w.bin"), in_a_branch("/etc/passwd")),
        NO_FILE_BESIDE,
    ),
    "weights of a sparse tensor": (
        graph(message(15, message(2, weights("/etc/passwd")))),
        NO_FILE_BESIDE,
    ),
    "weights of a function": (
        graph(of_model=message(25, message(7, message(5, message(10, weights("/etc/passwd")))))),
        NO_FILE_BESIDE,
    ),
    "weights of a training step": (
        graph(of_model=message(20, message(2, initializer("/etc/passwd")))),
        NO_FILE_BESIDE,
    ),
    "a second graph upon the first": (
        graph(initializer("w.bin"), of_model=message(7, initializer("/etc/passwd"))),
        NO_FILE_BESIDE,
    ),
    "weights cut off": (lambda f: rewrite(f, "w.bin", bytes(15)), "w.bin is cut off: "),
    "weights at no number": (graph(initializer("w.bin", "x")), BROKEN),
    "no ONNX": (lambda folder: rewrite(folder, "model.onnx", b"#!/bin/sh\n"), BROKEN),
    "ONNX cut off": (lambda f: rewrite(f, "model.onnx", onnx(initializer("w.bin"))[:-20]), BROKEN),
    "ONNX longer than it is": (
        lambda f: rewrite(f, "model.onnx", b"\x3a" + b"\xff" * 9 + b"\x01"),
        BROKEN,
    ),
    "numbers without end": (lambda f: rewrite(f, "model.onnx", b"\xff" * 1000), BROKEN),
    "calls Python": (symbol("Custom"), "has the operator 'Custom', which does more than compute"),
    "calls an address": (symbol("_Native"), "has the operator '_Native'"),
    "calls an address, too": (symbol("_NDArray"), "has the operator '_NDArray'"),
    "calls one backwards": (symbol("_backward__Native"), "has the operator '_backward__Native'"),
    "reads files": (symbol("_cvimread"), "has the operator '_cvimread'"),
    "no JSON": (only_a_symbol_that_is(b"{"), "a-symbol.json is not JSON"),
    "a symbol that is deep": (only_a_symbol_that_is(b"[" * 9**5), "a-symbol.json is not JSON"),
    "a symbol of 2 GB": (
        lambda f: (symbol("x")(f), huge("a-symbol.json", 2 << 30)(f)),
        "is larger",
    ),
}

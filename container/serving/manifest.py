"""The artifact's manifest: the other files by their sha256, and what is known of the model.

The *model id* is the sha256 over the sorted lines `sha256  relative-path` of all files. SageMaker
unpacks `model.tar.gz` before the container sees it, so this is what both targets can compare.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from serving.errors import StartError

MANIFEST = "manifest.json"
FORMAT = 1
MAX_BYTES = 1024**2
MAX_SIDE = 4096  # of the picture that a model takes, in pixels

_IMAGENET = {
    "resize_short": 256,
    "crop": 224,
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
}


def read(folder: Path) -> dict[str, Any]:
    """The manifest of an artifact, `{}` where there is none.

    Raises StartError, also for a name of a file that is not below the folder.
    """
    path = folder / MANIFEST
    if not path.exists():
        return {}
    if path.stat().st_size > MAX_BYTES:
        raise StartError(f"{path} is larger than {MAX_BYTES} bytes")
    try:
        manifest = json.loads(path.read_bytes())
        readable = manifest["format"] == FORMAT and _are_texts(manifest["files"])
        readable = readable and isinstance(manifest.get("name", ""), str)
    except (ValueError, KeyError, TypeError, RecursionError):
        readable = False
    if not readable:
        raise StartError(f"{path} is not a manifest of format {FORMAT}")
    for name in manifest["files"]:
        if name.startswith("/") or ".." in PurePosixPath(name).parts or not name.isprintable():
            raise StartError(f"{path} names {name[:200]!a}, which is no file below the folder")
    return dict(manifest)


def preprocessing(folder: Path) -> dict[str, Any]:
    """`resize_short`, `crop`, `mean` and `std` of the manifest; without any, GluonCV's of ImageNet.

    Raises StartError for values that are no transform of pictures.
    """
    found = read(folder).get("preprocessing", _IMAGENET)
    try:
        right = (
            all(type(found[name]) is int for name in ("crop", "resize_short"))
            and 1 <= found["crop"] <= found["resize_short"] <= MAX_SIDE
            and all(_are_numbers(found[name]) for name in ("mean", "std"))
            and min(map(abs, found["std"])) > 1e-6
        )
    except (KeyError, TypeError, OverflowError):
        right = False
    if not right:
        raise StartError(
            f"{folder / MANIFEST}: preprocessing must have whole numbers with "
            f"1 <= crop <= resize_short <= {MAX_SIDE}, and mean and std, three numbers each, "
            "no std 0"
        )
    return dict(found)


def _are_texts(value: object) -> bool:
    """Whether it is an object of texts."""
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def _are_numbers(values: Any) -> bool:
    """Whether they are three numbers that a float32 holds."""
    return len(values) == 3 and all(
        type(value) in (int, float) and math.isfinite(value) and abs(value) < 1e30
        for value in values
    )


def write(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the manifest: `facts`, and the sha256 of every other file in the folder."""
    kept = {key: value for key, value in facts.items() if key not in ("format", "files")}
    (folder / MANIFEST).unlink(missing_ok=True)
    manifest = {"format": FORMAT, **kept, "files": dict(sorted(digests(folder).items()))}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def model_id(digests: Mapping[str, str]) -> str:
    """The model id of files by their relative path and sha256."""
    lines = sorted(f"{digest}  {name}\n" for name, digest in digests.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def digests(folder: Path) -> dict[str, str]:
    """The sha256 of every file below a folder, by its relative path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

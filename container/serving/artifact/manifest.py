"""The artifact's manifest: the sha256 of the other files, and facts about the model.

The *model id* is the sha256 over the sorted lines `sha256  relative-path` of all files. Unlike the
archive's sha256, both targets can compute it: SageMaker unpacks `model.tar.gz` itself.
"""

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from serving.core.errors import StartError

MANIFEST = "manifest.json"
FORMAT = 1
LOGITS, PROBABILITIES = "logits", "probabilities"  # the allowed values of `output`
# Files of macOS, Windows and Jupyter, and the archive from the SageMaker SDK's local mode.
_LEFT = re.compile(
    r"(.*/)?(\._[^/]*|\.DS_Store|Thumbs\.db|desktop\.ini|(__MACOSX|\.ipynb_checkpoints)/.*)"
    r"|model\.tar\.gz",
    re.DOTALL,
)


def read(folder: Path) -> dict[str, Any]:
    """Return the manifest of an artifact, or `{}` without one. Raises StartError."""
    path = folder / MANIFEST
    if not path.exists():
        return {}
    try:
        found: dict[str, Any] = json.loads(read_file(path, 1024**2))
        texts = [found.get("name", ""), *found["files"].values()]
        readable = found["format"] == FORMAT and all(isinstance(text, str) for text in texts)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        readable = False
    if not readable:
        raise StartError(f"{path} is not a manifest of format {FORMAT}")
    for name in found["files"]:
        if name.startswith("/") or ".." in PurePosixPath(name).parts or not name.isprintable():
            raise StartError(f"{path} names {name[:200]!a}, which is not a file in the folder")
    return found


def read_file(path: Path, most_bytes: int) -> bytes:
    """Return a file's bytes. Raises StartError for more than `most_bytes`."""
    if path.stat().st_size > most_bytes:
        raise StartError(f"{path} is larger than {most_bytes} bytes")
    return path.read_bytes()


def write(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the manifest: the facts, and the sha256 of every other file in the folder."""
    kept = {key: value for key, value in facts.items() if key not in ("format", "files")}
    (folder / MANIFEST).unlink(missing_ok=True)
    manifest = {"format": FORMAT, **kept, "files": dict(sorted(digests(folder).items()))}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def model_id(digests: Mapping[str, str]) -> str:
    """Return the model id of files, given their relative paths and sha256."""
    lines = sorted(f"{digest}  {name}\n" for name, digest in digests.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def files(folder: Path, named: Collection[str] = ()) -> dict[str, Path]:
    """Return an artifact's files by relative path, without those of other programs.

    Files that the manifest names (`named`) are always part of the artifact.
    """
    paths = (path for path in folder.rglob("*") if path.is_file())
    found = {path.relative_to(folder).as_posix(): path for path in paths}
    return {name: found[name] for name in found if name in named or not _LEFT.fullmatch(name)}


def digests(folder: Path, named: Collection[str] = ()) -> dict[str, str]:
    """Return the sha256 of each file of an artifact by relative path."""
    return {name: sha256(path) for name, path in files(folder, named).items()}


def sha256(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

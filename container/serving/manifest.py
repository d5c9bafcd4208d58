"""The artifact's manifest: the other files by their sha256, and what is known of the model.

The *model id* is the sha256 over the sorted lines `sha256  relative-path` of all files. SageMaker
unpacks `model.tar.gz` before the container sees it, so this is what both targets can compare.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serving.errors import StartError

MANIFEST = "manifest.json"
FORMAT = 1


def read(folder: Path) -> dict[str, Any]:
    """The manifest of an artifact, `{}` where there is none. Raises StartError."""
    path = folder / MANIFEST
    if not path.exists():
        return {}
    try:
        manifest = json.loads(path.read_bytes())
        readable = manifest["format"] == FORMAT and isinstance(manifest["files"], dict)
    except (ValueError, KeyError, TypeError):
        readable = False
    if not readable:
        raise StartError(f"{path} is not a manifest of format {FORMAT}")
    return dict(manifest)


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

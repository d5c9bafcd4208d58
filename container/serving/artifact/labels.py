"""The names of a model's classes."""

from importlib.resources import files
from pathlib import Path

from serving.artifact.manifest import read_file
from serving.core.errors import StartError


def read(folder: Path) -> tuple[str, ...]:
    """Return the lines of `labels.txt`, or () if there is no such file. Raises StartError."""
    path = folder / "labels.txt"
    if not path.exists():
        return ()
    try:
        text = read_file(path, 16 * 1024**2).decode("utf-8-sig")  # Windows' editors write a BOM
    except UnicodeDecodeError:
        raise StartError(f"{path} is not UTF-8 text") from None
    # `splitlines` would also split at other characters within a label.
    lines = text.replace("\r\n", "\n").removesuffix("\n")
    return tuple(lines.split("\n")) if lines else ()


def imagenet_labels() -> tuple[str, ...]:
    """Return ImageNet's 1,000 classes, as GluonCV names them."""
    return tuple((files("serving.artifact") / "imagenet_labels.txt").read_text().splitlines())

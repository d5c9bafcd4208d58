"""The names of classes: an artifact's, or those of one that brings none."""

from importlib.resources import files
from pathlib import Path

from serving.errors import StartError

MAX_BYTES = 16 * 1024**2


def read(folder: Path) -> tuple[str, ...]:
    """The lines of `labels.txt`, none without it. Raises StartError."""
    path = folder / "labels.txt"
    if not path.exists():
        return ()
    if path.stat().st_size > MAX_BYTES:
        raise StartError(f"{path} is larger than {MAX_BYTES} bytes")
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except UnicodeDecodeError:
        raise StartError(f"{path} is not UTF-8 text") from None


def imagenet_labels() -> tuple[str, ...]:
    """ImageNet's 1,000 classes, as GluonCV names them."""
    return tuple((files("serving") / "imagenet_labels.txt").read_text().splitlines())


def default_labels(classes: int) -> tuple[str, ...]:
    """ImageNet's where there are 1,000 classes, else their indices."""
    return imagenet_labels() if classes == 1000 else tuple(str(i) for i in range(classes))

"""The names of classes, for artifacts that bring none."""

from importlib.resources import files


def imagenet_labels() -> tuple[str, ...]:
    """ImageNet's 1,000 classes, as GluonCV names them."""
    return tuple((files("serving") / "imagenet_labels.txt").read_text().splitlines())


def default_labels(classes: int) -> tuple[str, ...]:
    """ImageNet's where there are 1,000 classes, else their indices."""
    return imagenet_labels() if classes == 1000 else tuple(str(i) for i in range(classes))

"""Read from the manifest how a picture becomes a classifier's input."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serving.artifact import manifest
from serving.core.errors import StartError

MAX_SIDE = 4096  # of a model's input, in pixels
_CROP_RATIO = 0.875  # of GluonCV's ImageNet evaluation
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """Resize the short side, crop the centre, scale to 0..1, subtract `mean`, divide by `std`.

    The defaults are those of GluonCV's evaluation on ImageNet.
    """

    resize_short: int = 256
    crop: int = 224
    mean: tuple[float, float, float] = _IMAGENET_MEAN
    std: tuple[float, float, float] = _IMAGENET_STD

    @classmethod
    def for_size(cls, size: int, **values: Any) -> "Preprocessing":
        """Return that of an input of `size` pixels a side, with GluonCV's margin around it."""
        return cls(math.ceil(size / _CROP_RATIO), size, **values)

    @classmethod
    def read(cls, folder: Path) -> "Preprocessing":
        """Read it from an artifact's manifest; return the default if the manifest has none.

        Raises StartError.
        """
        return cls.check(manifest.read(folder), str(folder / manifest.MANIFEST))

    @classmethod
    def check(cls, facts: Mapping[str, Any], place: str) -> "Preprocessing":
        """Return the preprocessing in a manifest's facts, which were given in `place`.

        Raises StartError for values that cannot be applied to a picture.
        """
        found = facts.get("preprocessing", asdict(cls()))
        try:
            right = (
                found.keys() == asdict(cls()).keys()
                and all(type(found[name]) is int for name in ("crop", "resize_short"))
                and 1 <= found["crop"] <= found["resize_short"] <= MAX_SIDE
                and all(_are_numbers(found[name]) for name in ("mean", "std"))
                and min(map(abs, found["std"])) > 1e-6
            )
        except (AttributeError, KeyError, TypeError, OverflowError):
            right = False
        if not right:
            raise StartError(
                f"{place}: preprocessing must have whole numbers with "
                f"1 <= crop <= resize_short <= {MAX_SIDE}, and mean and std, three numbers each, "
                "no std 0, and nothing else"
            )
        if max(map(abs, (*found["mean"], *found["std"]))) > 1:
            raise StartError(
                f"{place}: mean and std are for values from 0 to 1; divide those for values from "
                "0 to 255 by 255"
            )
        made = cls(found["resize_short"], found["crop"], tuple(found["mean"]), tuple(found["std"]))
        described: Any = facts.get("input")
        for name, served in made.facts()["input"].items() if isinstance(described, dict) else ():
            if name != "name" and not _fits(described.get(name, served), served):
                raise StartError(
                    f"{place} has input {described[name]}, and its preprocessing makes pictures of "
                    f"{served}"
                )
        return made

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Return the shape of the model's input."""
        return (1, 3, self.crop, self.crop)

    def facts(self) -> dict[str, Any]:
        """Return the manifest's entries for this preprocessing and the input that it makes."""
        shape = list(self.input_shape)
        return {
            "input": {"name": "data", "shape": shape, "layout": "NCHW, RGB"},
            "preprocessing": asdict(self),
        }


def _are_numbers(values: Any) -> bool:
    """Return whether these are three numbers that fit a float32."""
    return len(values) == 3 and all(
        type(value) in (int, float) and math.isfinite(value) and abs(value) < 1e30
        for value in values
    )


def _fits(described: Any, served: Any) -> bool:
    """Return whether a manifest describes what is served. A size that may vary is no number."""
    if isinstance(described, list) and isinstance(served, list) and len(described) == len(served):
        pairs = zip(described, served)
        return all(size == made for size, made in pairs if isinstance(size, int))
    return bool(described == served)

"""Read the preprocessing of a classifier's pictures from the manifest."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serving.artifact import manifest
from serving.core.errors import StartError

MAX_SIDE = 4096  # the largest side of a model's input, in pixels


@dataclass(frozen=True)
class Preprocessing:
    """Resize the short side, crop the centre, scale to 0..1, subtract `mean`, divide by `std`.

    The defaults are those of GluonCV's evaluation on ImageNet.
    """

    resize_short: int = 256
    crop: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    @classmethod
    def for_size(cls, size: int, **values: Any) -> "Preprocessing":
        """Return the preprocessing for an input of `size` pixels a side, with GluonCV's margin."""
        return cls(math.ceil(size / 0.875), size, **values)

    @classmethod
    def read(cls, folder: Path) -> "Preprocessing":
        """Read an artifact's manifest. Raises StartError."""
        return cls.check(manifest.read(folder), str(folder / manifest.MANIFEST))

    @classmethod
    def check(cls, facts: Mapping[str, Any], place: str) -> "Preprocessing":
        """Return the preprocessing that the manifest in `place` describes. Raises StartError."""
        found = facts.get("preprocessing", asdict(cls()))
        try:
            right = (
                found.keys() == asdict(cls()).keys()
                and all(type(found[name]) is int for name in ("crop", "resize_short"))
                and 1 <= found["crop"] <= found["resize_short"] <= MAX_SIDE
                and all(_are_numbers(found[name]) for name in ("mean", "std"))
                and min(map(abs, found["std"])) > 1e-6
            )
        except (AttributeError, TypeError):
            right = False
        if not right:
            raise StartError(
                f"{place}: preprocessing must have whole numbers with "
                f"1 <= crop <= resize_short <= {MAX_SIDE}, and mean and std, three numbers each, "
                "for values from 0 to 1 (divide those for values from 0 to 255 by 255), "
                "no std 0, and nothing else"
            )
        made = cls(found["resize_short"], found["crop"], tuple(found["mean"]), tuple(found["std"]))
        described: Any = facts.get("input")
        for name, served in made.facts()["input"].items() if isinstance(described, dict) else ():
            given = described.get(name, served)
            if name != "name" and given != served:
                problem = f"has input {given}, but its preprocessing makes pictures of {served}"
                raise StartError(f"{place} {problem}")
        return made

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        return (1, 3, self.crop, self.crop)

    def facts(self) -> dict[str, Any]:
        """Return the manifest's entries for this preprocessing and its output."""
        shape = list(self.input_shape)
        described = {"name": "data", "shape": shape, "layout": "NCHW, RGB"}
        return {"input": described, "preprocessing": asdict(self)}


def _are_numbers(values: Any) -> bool:
    """Return whether these are three numbers for pictures with values from 0 to 1."""
    return len(values) == 3 and all(type(x) in (int, float) and abs(x) <= 1 for x in values)

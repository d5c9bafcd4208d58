"""An image classifier: from an artifact's folder to the probabilities of a picture's classes.

Apart from `inference.py`, which a user replaces, because the artifact builder holds the exported
network to it.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from serving import engines, manifest
from serving.images import Transform, decode
from serving.turns import Turns

_IMAGENET_PREPROCESSING = {
    "resize_short": 256,
    "crop": 224,
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
}


@dataclass(frozen=True)
class Classifier:
    """A loaded model; its methods may be called from many threads."""

    forward: engines.Forward
    transform: Transform
    labels: tuple[str, ...]
    # One picture at a time in a process: two would share its core and slow each other down, and
    # decoded pictures of several callers would be in memory at once.
    _turn: Turns = field(default_factory=Turns)

    @classmethod
    def load(cls, folder: Path, threads: int = 1) -> "Classifier":
        """Load the artifact in `folder`, to use that many threads. Raises StartError."""
        preprocessing = manifest.read(folder).get("preprocessing", _IMAGENET_PREPROCESSING)
        labels = folder / "labels.txt"
        return cls(
            forward=engines.load(folder, threads),
            transform=Transform.from_manifest(preprocessing),
            labels=tuple(labels.read_text().splitlines()) if labels.exists() else (),
        )

    def probabilities(self, image: bytes) -> engines.Tensor:
        """Every class's probability, shape (classes,). Raises UndecodableImage."""
        with self._turn:
            logits = self.forward(self.transform(decode(image)))[0]
        exponentials = np.exp(logits - logits.max())
        softmax: engines.Tensor = exponentials / exponentials.sum()
        return softmax

"""An image classifier: from an artifact's folder to the probabilities of a picture's classes.

Apart from `inference.py`, which a user replaces, because the artifact builder holds the exported
network to it.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np

from serving import engines, labels, manifest
from serving.images import Transform, decode
from serving.turns import Turns

# Beside a forward on every thread, decoding ahead cost 4 % at 80 KB (640 x 480 pixels) and gained
# 11 % at 320 KB (1600 x 1200).
_LARGE_BYTES = 200_000


@dataclass(frozen=True)
class Classifier:
    """A loaded model; its methods may be called from many threads."""

    forward: engines.Forward
    transform: Transform
    labels: tuple[str, ...]
    threads: int = 1
    # Told the seconds that `queue`, `decode` and `infer` took.
    observe: Callable[..., object] = dict
    # One picture at a time in a process: two would share its core and slow each other down, and
    # decoded pictures of several callers would be in memory at once.
    _turn: Turns = field(default_factory=Turns)

    @classmethod
    def load(
        cls, folder: Path, threads: int = 1, observe: Callable[..., object] = dict
    ) -> "Classifier":
        """Load the artifact in `folder`, to use that many threads. Raises StartError."""
        transform = Transform.from_manifest(manifest.preprocessing(folder))
        names = labels.read(folder)
        return cls(engines.load(folder, threads), transform, names, threads, observe)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_cores", threading.BoundedSemaphore(self.threads))

    def prepare(self, image: bytes) -> bytes | engines.Tensor:
        """What `probabilities` takes: decoded outside its turn where that is faster.

        It is with more threads than one, of which decoding uses one, and for a large picture.
        Raises UndecodableImage.
        """
        if self.threads == 1 or len(image) < _LARGE_BYTES:
            return image
        with vars(self)["_cores"]:
            begun = perf_counter()
            tensor = self.transform(decode(image))
            self.observe(decode=perf_counter() - begun)
            return tensor

    def probabilities(self, image: bytes | engines.Tensor) -> engines.Tensor:
        """Every class's probability, shape (classes,). Raises UndecodableImage."""
        asked = perf_counter()
        with self._turn:
            begun = perf_counter()
            tensor = self.transform(decode(image)) if isinstance(image, bytes) else image
            decoded = perf_counter()
            logits = self.forward(tensor)[0]
            ended = perf_counter()
        self.observe(queue=begun - asked, decode=decoded - begun, infer=ended - decoded)
        exponentials = np.exp(logits - logits.max())
        softmax: engines.Tensor = exponentials / exponentials.sum()
        return softmax

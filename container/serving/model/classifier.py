"""Classify images. The artifact builder compares this pipeline with the exported network."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from serving.artifact import labels, manifest
from serving.artifact.manifest import LOGITS, PROBABILITIES
from serving.artifact.preprocessing import Preprocessing
from serving.core import logs
from serving.core.errors import StartError, reason
from serving.model import engines
from serving.model.fifo_lock import FifoLock
from serving.model.images import Transform, decode


@dataclass
class Classifier:
    """A loaded model. Its methods may be called from many threads."""

    forward: engines.Forward
    transform: Transform
    labels: tuple[str, ...]
    output: str = LOGITS
    # A process handles one picture at a time: two would compete for its core, and their decoded
    # pixels would be in memory together.
    lock: FifoLock = field(default_factory=FifoLock)

    @classmethod
    def load(cls, folder: Path, threads: int = 1) -> "Classifier":
        """Load and check the artifact in `folder`. Raises StartError."""
        transform = Transform(Preprocessing.read(folder))
        output = manifest.read(folder).get("output", LOGITS)
        if output not in (LOGITS, PROBABILITIES):
            path = folder / manifest.MANIFEST
            raise StartError(f"{path}: output must be {LOGITS!r} or {PROBABILITIES!r}")
        loaded = cls(engines.load(folder, threads), transform, labels.read(folder), output)
        classes = loaded._classes()
        if not loaded.labels:
            indices = tuple(map(str, range(classes)))
            loaded.labels = labels.imagenet_labels() if classes == 1000 else indices
        if len(loaded.labels) != classes:
            raise StartError(f"{len(loaded.labels)} labels for a model of {classes} classes")
        return loaded

    def _classes(self) -> int:
        """Run the model on an artificial picture. Return its class count. Raises StartError."""
        shape = self.transform.preprocessing.input_shape
        picture = np.linspace(-1, 1, math.prod(shape), dtype=np.float32).reshape(shape)
        try:
            answer: Any = self.forward(picture)
        except Exception as error:  # an engine's
            raise StartError(
                f"the model does not take {list(shape)}, the shape that its preprocessing makes: "
                f"{reason(error)}"
            ) from None
        is_array = isinstance(answer, np.ndarray) and answer.dtype.kind == "f"
        if not is_array or answer.shape[:2] != (1, answer.size) or answer.size < 2:
            shown = f"an array of {list(answer.shape)}" if is_array else "no array of floats"
            raise StartError(
                f"the model answers {shown}; it must be [1, CLASSES], with two classes or more"
            )
        try:
            self._probabilities(answer)
        except ArithmeticError as error:
            raise StartError(str(error)) from None
        is_softmax = bool(answer.min() >= 0) and abs(float(answer.sum()) - 1) < 1e-3
        if is_softmax and self.output == LOGITS:
            raise StartError(
                "the model ends in a softmax, and the server would apply a second one; export the "
                f'model without it, or set "output": "{PROBABILITIES}" in the manifest '
                "(build_artifact --probabilities)"
            )
        if self.output == PROBABILITIES and not is_softmax:
            raise StartError(
                f'the manifest has "output": "{PROBABILITIES}", but the sum of the model\'s answer '
                f"is {float(answer.sum()):.3g}"
            )
        return int(answer.size)

    def probabilities(self, image: bytes) -> engines.Tensor:
        """Return the probability of each class. Raises UndecodableImage or ArithmeticError."""
        asked = perf_counter()
        with self.lock:
            started = perf_counter()
            tensor = self.transform(decode(image))
            decoded = perf_counter()
            answer = self.forward(tensor)
            ended = perf_counter()
        logs.spent(queue=started - asked, decode=decoded - started, infer=ended - decoded)
        return self._probabilities(answer)

    def _probabilities(self, answer: engines.Tensor) -> engines.Tensor:
        """Convert a graph's answer to probabilities. Raises ArithmeticError."""
        found = answer.reshape(-1).astype(np.float32, copy=False)
        if self.output == LOGITS:
            with np.errstate(invalid="ignore"):
                exponentials = np.exp(found - found.max())
            found = exponentials / exponentials.sum()
        if not np.isfinite(found).all():
            raise ArithmeticError("the model's answer is not finite")
        return found

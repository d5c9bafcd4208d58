"""Our pipeline as a user of a peer would paste it: decode, resize, engine settings and answer.

The peers differ only in the server around it.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from serving.model.classifier import Classifier


def load() -> Callable[[bytes], dict[str, Any]]:
    """Return a warm function from an image's bytes to its five most probable classes."""
    classifier = Classifier.load(Path(os.environ["BENCH_ARTIFACT"]), threads=1)

    def classify(image: bytes) -> dict[str, Any]:
        found = classifier.probabilities(image)
        best = np.argsort(-found, kind="stable")[:5]
        return {
            "uri": f"sha256:{hashlib.sha256(image).hexdigest()}",
            "results": [{"label": classifier.labels[i], "prob": str(found[i])} for i in best],
        }

    classify(Path(os.environ["BENCH_PHOTO"]).read_bytes())
    ready()
    return classify


def ready() -> None:
    """Tell the benchmark that this process can answer."""
    Path(os.environ["BENCH_READY"], str(os.getpid())).touch()

"""The pipeline as a user of a peer pastes it: our decode, resize, engine settings and answer.

The peers differ in what is around it, and in nothing else.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from serving.model.classifier import Classifier

Answer = dict[str, Any]


def load() -> Callable[[bytes], Answer]:
    """From an image's bytes to the five most probable classes, with one thread; warm."""
    classifier = Classifier.load(Path(os.environ["BENCH_ARTIFACT"]), threads=1)

    def classify(image: bytes) -> Answer:
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
    """Tell the harness that this process answers from now on."""
    Path(os.environ["BENCH_READY"], str(os.getpid())).touch()

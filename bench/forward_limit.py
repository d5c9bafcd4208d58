"""How fast a forward could be: the graph's operations at the rate of the best matrix product."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.contenders import MODELS
from bench.engine_rounds import script
from bench.environments import python_of

PEAK_REPEATS, BATCH_ROUNDS = 12, 12


def peak(prefix: Sequence[str]) -> float:
    """f32 operations a second of one core, as numpy's BLAS reaches them. Raises PeerError."""
    python = python_of("onnx", "engines")
    return float(script(python, "onnx/peak.py", str(PEAK_REPEATS), prefix=prefix))


def freed_graph(artifact: Path) -> tuple[int, Path]:
    """The operations of a forward, counted from the graph, and the graph for any batch.

    Raises PeerError.
    """
    MODELS.mkdir(parents=True, exist_ok=True)
    model, freed = str(artifact / "model.onnx"), MODELS / "any_batch.onnx"
    counted = script(python_of("onnx", "engines"), "onnx/graph.py", model, str(freed))
    return int(counted), freed


def batches(freed: Path, rounds: int, prefix: Sequence[str]) -> dict[str, float]:
    """Milliseconds a picture, by how many are in a forward of ONNX Runtime. Raises PeerError."""
    found: dict[str, float] = json.loads(
        script(None, "onnxruntime/batches.py", str(freed), str(rounds), prefix=prefix)
    )
    return found


def summary(operations: int, peaks: Sequence[float], grant: dict[str, Any]) -> dict[str, Any]:
    """Each engine's forward with one thread on a whole CPU, beside the limit: milliseconds."""
    best = max(peaks)
    return {
        "operations": operations,
        "peak_operations_per_second": best,
        "limit_ms": operations / best * 1000,
        "engines": {
            name: {"title": of["title"], "forward_ms": of["medians"]["forward_ms"]}
            for name, of in grant["engines"].items()
        },
    }

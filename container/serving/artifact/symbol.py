"""Refuse an MXNet symbol that does more than compute.

MXNet runs any operator that a symbol names. ONNX Runtime itself limits a graph to its folder.
"""

import json
import re
from pathlib import Path

from serving.artifact.manifest import read_file
from serving.core.errors import StartError

SYMBOL, PARAMS = "model-symbol.json", "model-0000.params"  # the names that we write

# Operators that call Python or functions at an address in the symbol, or read files. An exported
# network has none.
_NATIVE = re.compile(rb'"op"\s*:\s*"([^"]*(?:Custom|_Native|_NDArray|CachedOp|imread)[^"]*)"')
# Operators that compute a loss or its gradient from labels, which a request does not have.
_TRAINING = re.compile(rb'"op"\s*:\s*"(SoftmaxOutput|SVMOutput|\w+RegressionOutput|MakeLoss)"')


def find(folder: Path, pattern: str) -> list[Path]:
    """Return the matching files, sorted, without macOS's `._*` files."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("._"))


def check(path: Path) -> None:
    """Check a `*symbol.json` before MXNet loads it. Raises StartError."""
    text = read_file(path, 64 * 1024**2)
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        raise StartError(f"{path} is not JSON") from None
    if operator := _NATIVE.search(text):
        name = ascii(operator[1][:100].decode(errors="replace"))
        raise StartError(f"{path} has the operator {name}, which does more than compute")
    if operator := _TRAINING.search(text):
        name = operator[1].decode()
        raise StartError(
            f"{path} has the operator {name}, which is for training and needs labels; save the "
            "layer before it: `mx.sym.load(FILE).get_internals()['LAYER_output'].save(FILE)`"
        )

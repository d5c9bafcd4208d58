"""`python -m build_artifact.check FOLDER`: whether the image would serve it, and its model id.

Prints a JSON object: `model_id`, `name` (of the manifest, or empty), `files`, `bytes`, `started`
(whether the model has answered here), `warnings`. What needs no package is checked anywhere.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from serving import archive, artifact, labels, manifest
from serving.errors import StartError


def check(folder: Path) -> dict[str, Any]:
    """Check an artifact as a start of the image does, and what only its answers would show.

    Raises StartError.
    """
    found = artifact.check(folder)
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    if sum(sizes) > archive.MAX_UNPACKED_BYTES or len(sizes) > archive.MAX_MEMBERS:
        raise StartError(
            f"{folder} has {len(sizes)} files of {sum(sizes)} bytes; the image unpacks at most "
            f"{archive.MAX_MEMBERS} of {archive.MAX_UNPACKED_BYTES}"
        )
    warnings = []
    # What another inference.py serves has neither.
    if not found.manifest or "preprocessing" in found.manifest:
        warnings += _check_classifier(found)
    if lacking := _start(folder):
        warnings.append(f"not started: {lacking} is not installed here; --docker starts it")
    return {
        "model_id": found.model_id,
        "name": found.manifest.get("name", ""),
        "files": len(sizes),
        "bytes": sum(sizes),
        "started": not lacking,
        "warnings": warnings,
    }


def _check_classifier(found: artifact.Artifact) -> list[str]:
    """Warnings. Raises StartError for shapes that do not fit together."""
    folder, warnings = found.folder, []
    side = manifest.preprocessing(folder)["crop"]
    described = found.manifest.get("input")
    if isinstance(described, dict) and "shape" in described:
        _compare(f"{folder / manifest.MANIFEST} has input", described["shape"], side)
    if not (folder / "model.onnx").exists():
        warnings.append(
            "no model.onnx: it runs on MXNet, several times slower, and not at all in an image of "
            "WITH_MXNET=0; `python -m build_artifact NAME OUTPUT_DIR --network FOLDER` compiles it"
        )
    elif shape := _input_of(folder / "model.onnx"):
        _compare(f"{folder / 'model.onnx'} takes", shape, side)
    if not labels.read(folder):
        warnings.append(
            "no labels.txt: answers name ImageNet's classes where there are 1,000, and numbers else"
        )
    return warnings


def _compare(said: str, shape: Any, side: int) -> None:
    """Raises StartError unless pictures of that side fit; a size that may vary is no int."""
    made = (1, 3, side, side)
    if not isinstance(shape, list) or [
        size if isinstance(size, int) else wanted for size, wanted in zip(shape, made)
    ] != [*made]:
        raise StartError(f"{said} {shape}, and its preprocessing makes pictures of {[*made]}")


def _input_of(graph: Path) -> list[Any] | None:
    """The shape that an ONNX graph takes; None where ONNX Runtime is not installed."""
    try:
        from serving import engines

        import onnxruntime as ort  # isort: skip - after the line that switches its telemetry off
    except ModuleNotFoundError:
        return None
    options = ort.SessionOptions()
    options.log_severity_level = 4  # it would say on stderr what it raises
    shape: list[Any] = engines.open_session(graph, options).get_inputs()[0].shape
    return shape


def _start(folder: Path) -> str | None:
    """Answer once, as each process of the image does first; the package that this takes and lacks.

    Raises StartError.
    """
    try:
        from serving.service import model_of
        from serving.settings import Settings

        model = model_of(Settings.from_environment(os.environ))
    except ModuleNotFoundError as error:
        return error.name
    except StartError as error:
        if isinstance(error.__cause__, ModuleNotFoundError):
            return error.__cause__.name
        raise
    net = model.load_model(folder)
    # Another kind of model may have none.
    getattr(model, "warm_up", lambda _: None)(net)
    return None


if __name__ == "__main__":
    try:
        print(json.dumps(check(Path(sys.argv[1]))))
    except StartError as failure:
        sys.exit(f"error: {failure}")

"""`python -m build_artifact.check FOLDER`: check that the image would serve an artifact.

Prints a JSON object: `model_id`, `name` (the manifest's, or empty), `names` (the files'), `files`,
`bytes`, `started` (whether the model has answered here) and `warnings`.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from serving.artifact import archive, labels, manifest
from serving.artifact import resolve as artifact
from serving.artifact.preprocessing import Preprocessing
from serving.core.errors import StartError
from serving.core.settings import Settings
from serving.examiner import exam
from serving.service import model_of


def check(folder: Path) -> dict[str, Any]:
    """Check an artifact as the image does at start. Raises StartError."""
    found = artifact.check(folder)
    names = manifest.files(folder, found.manifest.get("files", ()))
    sizes = [path.stat().st_size for path in names.values()]
    if sum(sizes) > archive.MAX_UNPACKED_BYTES or len(sizes) > archive.MAX_MEMBERS:
        raise StartError(
            f"{folder} has {len(sizes)} files of {sum(sizes)} bytes; the image unpacks at most "
            f"{archive.MAX_MEMBERS} of {archive.MAX_UNPACKED_BYTES}"
        )
    warnings = []
    # A replaced inference.py needs neither preprocessing nor labels.
    if not found.manifest or "preprocessing" in found.manifest:
        Preprocessing.read(folder)  # raises StartError even if no engine is installed
        if not (folder / "model.onnx").exists():
            warnings.append(
                "no model.onnx: the model runs on MXNet, several times slower, and needs an image "
                "built with WITH_MXNET=1; `python -m build_artifact NAME OUTPUT_DIR --network "
                "FOLDER` compiles it"
            )
        if not labels.read(folder):
            named = "answers name ImageNet's classes if there are 1,000, otherwise numbers"
            warnings.append(f"no labels.txt: {named}")
    elif not (folder / exam.EXAM).is_file():
        warnings.append(
            f"no {exam.EXAM}: unless the model takes pictures, the stack's examiner has nothing to "
            "ask, and a deployment needs examiner=false; the golden cases of a model folder become "
            "its exam"
        )
    if (folder / exam.EXAM).is_file():
        exam.read(folder / exam.EXAM)
    if missing := _start(folder):
        warnings.append(f"not started: {missing} is not installed here; --docker starts it")
    return {
        "model_id": found.model_id,
        "name": found.manifest.get("name", ""),
        "names": sorted(names),
        "files": len(sizes),
        "bytes": sum(sizes),
        "started": not missing,
        "warnings": warnings,
    }


def _start(folder: Path) -> str | None:
    """Run the warm-up. Return the name of a missing package, or None. Raises StartError."""
    try:
        model = model_of(Settings.from_environment(os.environ))
    except (ModuleNotFoundError, StartError) as error:
        missing = error.__cause__ or error
        if isinstance(missing, ModuleNotFoundError):
            return missing.name
        raise
    net = model.load_model(folder)
    if model.warm_up:
        model.warm_up(net)
    return None


if __name__ == "__main__":
    try:
        print(json.dumps(check(Path(sys.argv[1]))))
    except StartError as failure:
        sys.exit(f"error: {failure}")

"""Write the artifact: the files that `load_model` reads, and the manifest of their sha256."""

import json
import shutil
from pathlib import Path

from serving.artifact import manifest

HERE = Path(__file__).parent


def main() -> None:
    artifact = HERE / "artifact"
    shutil.rmtree(artifact, ignore_errors=True)  # whatever lies there becomes part of the model
    artifact.mkdir()
    weights = {"a": 1.0, "b": -0.25}  # train here; export as ONNX, or numbers; never a pickle
    (artifact / "weights.json").write_text(json.dumps(weights) + "\n")
    manifest.write(artifact, {"name": HERE.name})


if __name__ == "__main__":
    main()

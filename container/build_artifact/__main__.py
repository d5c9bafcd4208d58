"""`python -m build_artifact NAME OUTPUT_DIR`: an artifact, compared first."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from build_artifact import own_network
from build_artifact.optimise import ENGINE, optimise
from build_artifact.own_network import OwnNetwork
from serving import manifest
from serving.classifier import Classifier
from serving.errors import StartError

# Past this the artifact is refused: the same model, on another engine, is another answer.
LIMIT = 1e-5
EXAMPLES = """\
examples:
  python -m build_artifact mobilenet1.0 build/artifacts/mobilenet1.0
  python -m build_artifact cats build/artifacts/cats --network trained --input-size 160 \\
      --exporter .venv-builder/bin/python
"""
_CONTAINER = Path(__file__).resolve().parent.parent


def build(
    name: str, output: Path, exporter: str, photos: Path, own: OwnNetwork | None = None
) -> str:
    """Export `name`, compare both engines on the photographs, and put the artifact at `output`.

    `own` is a network of the user's, which is given that name.

    Returns its model id. Raises StartError, and then leaves `output` as it was.
    """
    if output.exists() and not _may_be_replaced(output):
        raise StartError(f"{output} holds something that is no artifact; name another folder")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".building-") as temporary:
        folder, reference = Path(temporary, "artifact"), Path(temporary, "reference.npz")
        folder.mkdir()
        if own:
            own.copy(name, folder)
        print(f"{name}: exporting with MXNet", flush=True)
        try:
            exported = subprocess.run(
                [exporter, "-m", "build_artifact.export", name, folder, photos, reference],
                env={**os.environ, "PYTHONPATH": str(_CONTAINER)},
                check=False,
                stderr=subprocess.PIPE,
                text=True,
            )
        except OSError as error:
            raise StartError(f"--exporter {exporter} cannot be run: {error.strerror}") from None
        if exported.returncode:
            lines = exported.stderr.strip().splitlines()
            raise StartError(lines[-1].removeprefix("error: ") if lines else "the exporter failed")
        optimise(folder / "model.onnx")
        difference = compare(folder, reference, photos)
        if not difference <= LIMIT:  # which not-a-number is not, either
            raise StartError(
                f"{name} is refused: MXNet and ONNX Runtime differ by {difference:.1e} in a "
                f"probability, and {LIMIT:.0e} is the limit"
            )
        facts = manifest.read(folder)
        facts["engine"] = ENGINE
        # What was held, and not what was measured: that depends on the CPU, the model id may not.
        facts["max_probability_difference"] = LIMIT
        manifest.write(folder, facts)
        if output.exists():
            shutil.rmtree(output)
        folder.rename(output)
    return manifest.model_id(manifest.digests(output))


def _may_be_replaced(output: Path) -> bool:
    return output.is_dir() and (not any(output.iterdir()) or (output / manifest.MANIFEST).is_file())


def compare(folder: Path, reference: Path, photos: Path) -> float:
    """The largest difference of a probability between MXNet and the serving pipeline."""
    classifier = Classifier.load(folder)
    differences = []
    for photo, expected in np.load(reference).items():
        served = classifier.probabilities((photos / photo).read_bytes())
        difference = float(np.abs(served - expected).max())
        label = classifier.labels[int(expected.argmax())]
        print(f"  {photo:<16} {label}: differs by at most {difference:.1e}", flush=True)
        differences.append(difference)
    if not differences:
        raise StartError(f"{photos} holds no .jpg or .png photograph to compare the engines on")
    return float(np.max(differences))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="build_artifact",
        description="Build the artifact of the default model (efficientnet_lite0), of any "
        "classification model of the GluonCV zoo, or of a Gluon network of yours.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("output", metavar="OUTPUT_DIR", type=Path)
    parser.add_argument(
        "--exporter",
        default=os.environ.get("EXPORTER_PYTHON", sys.executable),
        metavar="PYTHON",
        help="the Python with requirements-build.txt installed (default: EXPORTER_PYTHON)",
    )
    parser.add_argument(
        "--photos",
        type=Path,
        default=_CONTAINER / "photos",
        metavar="DIR",
        help="photographs on which the engines are compared (default: %(default)s)",
    )
    own_network.add_arguments(parser)
    options = parser.parse_args()
    try:
        own = own_network.of_arguments(options) if options.network else None
        model_id = build(options.name, options.output, options.exporter, options.photos, own)
    except StartError as failure:
        sys.exit(f"error: {failure}")
    print(f"{options.output}: model id {model_id}")


if __name__ == "__main__":
    main()

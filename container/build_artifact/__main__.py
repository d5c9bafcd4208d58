"""`python -m build_artifact NAME OUTPUT_DIR`: make a model's artifact, and check it."""

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
from serving.artifact import manifest
from serving.core.errors import StartError
from serving.model.classifier import Classifier

LIMIT = 1e-5  # the largest difference of a probability between the engines
EXAMPLES = """\
examples:
  python -m build_artifact mobilenet1.0 build/artifacts/mobilenet1.0
  python -m build_artifact cats build/artifacts/cats --network trained --input-size 160 \\
      --exporter .venv-builder/bin/python
  python -m build_artifact dogs build/artifacts/dogs --onnx dogs.onnx --labels dogs.txt \\
      --input-size 224 --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5
"""
_CONTAINER = Path(__file__).resolve().parent.parent


def build(options: argparse.Namespace) -> str:
    """Make the artifact, check it, and return the model id.

    Raises StartError, and then leaves the output folder unchanged.
    """
    name, output = options.name, options.output
    is_empty = output.is_dir() and not any(output.iterdir())
    if output.exists() and not is_empty and not (output / manifest.MANIFEST).is_file():
        raise StartError(f"{output} is not an artifact; name another folder")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".building-") as temporary:
        folder, reference = Path(temporary, "artifact"), Path(temporary, "reference.npz")
        folder.mkdir()
        if options.network or options.onnx:
            own_network.copy(options, folder)
        if options.onnx:
            Classifier.load(folder)  # raises StartError if it is not a classifier
        else:
            if not [*options.photos.glob("*.jpg"), *options.photos.glob("*.png")]:
                photos = f"{options.photos} holds no .jpg or .png photograph"
                raise StartError(f"{photos} to compare the engines on")
            print(f"{name}: exporting with MXNet", flush=True)
            _export(options, folder, reference)
            optimise(folder / "model.onnx", folder)
            _compare(name, folder, reference, options.photos)
        facts = {**manifest.read(folder), "engine": ENGINE}
        if not options.onnx:
            # The measured difference depends on the CPU, and the model id must not.
            facts["max_probability_difference"] = LIMIT
        manifest.write(folder, facts)
        if output.exists():
            shutil.rmtree(output)
        folder.rename(output)
    return manifest.model_id(manifest.digests(output))


def _export(options: argparse.Namespace, folder: Path, reference: Path) -> None:
    """Run `build_artifact.export` in the exporter's environment. Raises StartError."""
    command = [options.exporter, "-m", "build_artifact.export", options.name]
    command += [folder, options.photos, reference]
    environment = {**os.environ, "PYTHONPATH": str(_CONTAINER)}
    try:
        exported = subprocess.run(
            command, env=environment, check=False, stderr=subprocess.PIPE, text=True
        )
    except OSError as error:
        raise StartError(f"--exporter {options.exporter} cannot be run: {error.strerror}") from None
    if exported.returncode:
        lines = exported.stderr.strip().splitlines()
        raise StartError(lines[-1].removeprefix("error: ") if lines else "the exporter failed")


def _compare(name: str, folder: Path, reference: Path, photos: Path) -> None:
    """Compare MXNet's probabilities with the serving pipeline's. Raises StartError."""
    classifier = Classifier.load(folder)
    differences = []
    for photo, expected in np.load(reference).items():
        served = classifier.probabilities((photos / photo).read_bytes())
        differences.append(float(np.abs(served - expected).max()))
        label = classifier.labels[int(expected.argmax())]
        print(f"  {photo:<16} {label}: differs by at most {differences[-1]:.1e}", flush=True)
    difference = float(np.max(differences))
    if not difference <= LIMIT:  # the condition is negated because comparisons with NaN are false
        raise StartError(
            f"{name} is refused: MXNet and ONNX Runtime differ by {difference:.1e} in a "
            f"probability, and {LIMIT:.0e} is the limit"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="build_artifact",
        description="Build the artifact of the default model (efficientnet_lite0), of any "
        "classification model of the GluonCV zoo, or of your own Gluon network or ONNX classifier.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("name", metavar="NAME")
    add("output", metavar="OUTPUT_DIR", type=Path)
    python = os.environ.get("EXPORTER_PYTHON", sys.executable)
    needed = "the Python with requirements-build.txt installed (default: EXPORTER_PYTHON)"
    add("--exporter", default=python, metavar="PYTHON", help=needed)
    compared = "photographs on which the engines are compared (default: %(default)s)"
    add("--photos", type=Path, default=_CONTAINER / "photos", metavar="DIR", help=compared)
    own_network.add_arguments(parser)
    options = parser.parse_args()
    own_network.check_arguments(parser, options)
    try:
        model_id = build(options)
    except StartError as failure:
        sys.exit(f"error: {failure}")
    print(f"{options.output}: model id {model_id}")


if __name__ == "__main__":
    main()

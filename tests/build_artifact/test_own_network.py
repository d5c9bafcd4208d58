"""A network that is trained here, exported, packaged, stored, and served through both faces."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest

from ops import faces
from ops.faces import ROOT
from ops.local import process_environment
from serving import artifact
from upstream import Upstream

CLASSES = ("disc", "square", "stripes")
AS_TRAINED = (
    *("--input-size", "32", "--resize-short", "32"),
    *("--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25"),
)
Build = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, exporter: Path) -> Path:
    """A folder with `network` and, of each class, a picture."""
    folder = tmp_path_factory.mktemp("trained")
    script = Path(__file__).with_name("train_shapes.py")
    subprocess.run([exporter, script, folder], check=True)
    return folder


@pytest.fixture
def build(trained: Path, exporter: Path, tmp_path: Path) -> Build:
    """`python -m build_artifact shapes`, as a user calls it; without options as it was trained."""

    def build(
        *options: str | Path, network: Path = trained / "network"
    ) -> subprocess.CompletedProcess[str]:
        command: list[str | Path] = [sys.executable, "-m", "build_artifact", "shapes"]
        command += [tmp_path / "shapes", "--network", network, "--exporter", exporter]
        command += options or AS_TRAINED
        return subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": str(ROOT / "container")},
            capture_output=True,
            text=True,
            check=False,
        )

    return build


def test_from_training_to_both_faces(
    build: Build, trained: Path, tmp_path: Path, local_upstream: Upstream
) -> None:
    built = build(*AS_TRAINED, "--photos", trained / "pictures")
    assert (built.returncode, built.stderr) == (0, "")
    found = artifact.check(tmp_path / "shapes")
    assert found.manifest["name"] == "shapes"
    assert found.manifest["preprocessing"] == {
        "resize_short": 32,
        "crop": 32,
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
    }

    s3 = local_upstream.environment["AWS_ENDPOINT_URL_S3"]
    environment = {**os.environ, **local_upstream.environment, "AWS_ENDPOINT_URL": s3}
    keys = {name: environment[name] for name in environment if name.startswith("AWS_")}
    boto3.client(
        "s3",
        endpoint_url=s3,
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",  # noqa: S106 - moto takes any
    ).create_bucket(Bucket="own-models")
    command = [sys.executable, "-m", "ops", "package", str(tmp_path / "shapes"), "--json"]
    packaged = subprocess.run(
        [*command, "--upload", "s3://own-models/shapes"],
        cwd=ROOT,
        env={**os.environ, **keys},
        capture_output=True,
        text=True,
        check=False,
    )
    assert packaged.returncode == 0, packaged.stderr
    made = json.loads(packaged.stdout)
    assert made["started"]
    assert made["warnings"] == []

    serving = {
        **process_environment(),
        **local_upstream.environment,
        "MODEL_DATA_URL": made["model_data"],
        "MODEL_ID": made["model_id"],
        "WORKERS": "1",
    }
    with faces.http_process(serving) as http, faces.lambda_process(serving) as function:
        for name in CLASSES:
            picture = (trained / "pictures" / f"{name}.png").read_bytes()
            replies = [
                face.send("POST", "/invocations", {"Content-Type": "image/png"}, picture)
                for face in (http, function)
            ]
            assert [reply.status for reply in replies] == [200, 200]
            assert replies[0].body == replies[1].body
            results = json.loads(replies[0].body)["results"]
            assert {result["label"] for result in results} == {*CLASSES}
            assert results[0]["label"] == name


def test_the_input_is_imagenets_unless_told_otherwise(build: Build, tmp_path: Path) -> None:
    """Which this network, of another input size, refuses."""
    refused = build("--input-size", "160")
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert line.startswith(
        "error: MXNet cannot run 'shapes' on one input called data, 1x3x160x160: "
    )
    assert not (tmp_path / "shapes").exists()


def test_labels_that_are_not_as_many_as_the_classes(build: Build, tmp_path: Path) -> None:
    (tmp_path / "two.txt").write_text("disc\nsquare\n")
    assert build(*AS_TRAINED, "--labels", tmp_path / "two.txt").stderr == (
        "error: 'shapes' answers with shape (1, 3), and its labels are 2: it must be (1, 2)\n"
    )


def test_labels_that_are_not_there(build: Build, trained: Path, tmp_path: Path) -> None:
    assert build(*AS_TRAINED, "--labels", tmp_path / "none.txt").stderr == (
        f"error: {tmp_path}/none.txt cannot be read: No such file or directory\n"
    )
    (tmp_path / "empty.txt").touch()
    assert build(*AS_TRAINED, "--labels", tmp_path / "empty.txt").stderr == (
        f"error: {tmp_path}/empty.txt is empty; it must have a line for each class\n"
    )


def test_a_folder_without_a_network_says_how_one_is_written(build: Build, tmp_path: Path) -> None:
    assert build(network=tmp_path).stderr == (
        f"error: {tmp_path} holds 0 *symbol.json, and one is needed: `net.hybridize()`, one "
        "forward, `net.export(PATH)` write it\n"
    )


@pytest.mark.parametrize(
    ("values", "said"), [("0.5", "'0.5' is not R,G,B"), ("a,b,c", "'a,b,c' is not R,G,B")]
)
def test_a_mean_that_is_no_colour(build: Build, values: str, said: str) -> None:
    assert build("--mean", values).stderr.splitlines()[-1].endswith(f"argument --mean: {said}")


def test_a_deviation_of_nothing(build: Build) -> None:
    line = build("--std", "0,1,1").stderr
    assert "no std 0" in line
    assert line.startswith("error: ")


@pytest.fixture
def changed(trained: Path, exporter: Path, tmp_path: Path) -> Callable[[str], Path]:
    """The network with something more at its end: Python that makes `symbol` of it."""

    def changed(expression: str) -> Path:
        folder = tmp_path / "network"
        shutil.copytree(trained / "network", folder)
        program = (
            "import warnings; warnings.simplefilter('ignore'); import mxnet as mx, sys\n"
            "symbol = mx.sym.load(sys.argv[1])\n"
            f"({expression}).save(sys.argv[1])\n"
        )
        command = [str(exporter), "-c", program, str(folder / "shapes-symbol.json")]
        subprocess.run(command, check=True)
        return folder

    return changed


def test_a_network_that_ends_in_a_softmax(build: Build, changed: Callable[[str], Path]) -> None:
    """Which would be taken twice, and every answer would be near to all others."""
    assert build(network=changed("mx.sym.softmax(symbol)")).stderr == (
        "error: 'shapes' ends in a softmax, and the server takes the softmax of what it answers; "
        "export it without\n"
    )


def test_an_operator_that_onnx_lacks(build: Build, changed: Callable[[str], Path]) -> None:
    assert build(network=changed("mx.sym.gammaln(mx.sym.abs(symbol) + 1)")).stderr == (
        "error: 'shapes' cannot be exported to ONNX: "
        "No conversion function registered for op type gammaln yet.\n"
    )

"""Train a network, export, package and store it, and serve it with both faces."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from unit.build_artifact.conftest import Build

from ops import local_servers
from ops.local_servers import process_environment
from serving.artifact import resolve as artifact
from support.programs import Done, run
from support.upstream import Upstream

CLASSES = ("disc", "square", "stripes")
AS_TRAINED = (
    *("--input-size", "32", "--resize-short", "32"),
    *("--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25"),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, exporter: Path) -> Path:
    """Return a folder with `network` and a picture of each class."""
    folder = tmp_path_factory.mktemp("trained")
    script = Path(__file__).with_name("train_shapes.py")
    subprocess.run([exporter, script, folder], check=True)
    return folder


@pytest.fixture
def shapes(build: Build, trained: Path, tmp_path: Path) -> Build:
    """Return a function that builds the network into tmp_path/shapes."""

    def shapes(*options: str | Path, network: Path = trained / "network") -> Done:
        output = tmp_path / "shapes"
        return build("shapes", output, "--network", network, *(options or AS_TRAINED))

    return shapes


def test_from_training_to_both_faces(
    shapes: Build, trained: Path, tmp_path: Path, local_upstream: Upstream
) -> None:
    built = shapes(*AS_TRAINED, "--photos", trained / "pictures")
    assert (built.returncode, built.stderr) == (0, "")
    found = artifact.check(tmp_path / "shapes")
    assert found.manifest["name"] == "shapes"
    mean, std = [0.5] * 3, [0.25] * 3
    expected = {"resize_short": 32, "crop": 32, "mean": mean, "std": std}
    assert found.manifest["preprocessing"] == expected

    s3 = local_upstream.environment["AWS_ENDPOINT_URL_S3"]
    environment = {**os.environ, **local_upstream.environment, "AWS_ENDPOINT_URL": s3}
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    client = boto3.client("s3", endpoint_url=s3, region_name="us-east-1", **keys)
    client.create_bucket(Bucket="own-models")
    command = [sys.executable, "-m", "ops", "package", str(tmp_path / "shapes"), "--json"]
    packaged = run([*command, "--upload", "s3://own-models/shapes"], env=environment)
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
    with (
        local_servers.http_process(serving) as http,
        local_servers.lambda_process(serving) as function,
    ):
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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        # The default input is ImageNet's, and this network takes another.
        (["--input-size=160"], "MXNet cannot run 'shapes' on one input called data, 1x3x160x160: "),
        (
            [*AS_TRAINED, "--labels={folder}/two"],
            "2 labels for a model of 3 classes\n",
        ),
        (
            [*AS_TRAINED, "--labels={folder}/absent"],
            "{folder}/absent cannot be read: No such file or directory\n",
        ),
        (
            ["--network={folder}"],
            "{folder} holds 0 *symbol.json, and one is needed: `net.hybridize()`, one forward, "
            "`net.export(PATH)` write it\n",
        ),
        (["--mean=124,116,104"], "--input-size, --resize-short, --mean, --std: preprocessing "),
    ],
)
def test_options_that_do_not_fit(
    options: list[str], message: str, shapes: Build, tmp_path: Path
) -> None:
    (tmp_path / "two").write_text("disc\nsquare\n")
    refused = shapes(*(option.format(folder=tmp_path) for option in options))
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert refused.stderr.startswith("error: " + message.format(folder=tmp_path))
    assert not (tmp_path / "shapes").exists()


def test_invalid_arguments(shapes: Build, build: Build, tmp_path: Path) -> None:
    assert shapes("--mean=0.5").stderr.endswith("argument --mean: '0.5' is not R,G,B\n")
    without = build("mobilenet1.0", tmp_path / "shapes", "--input-size=160")
    assert without.stderr.endswith("error: --input-size describes your own --network or --onnx\n")


def test_a_network_that_ends_in_a_softmax(
    shapes: Build, trained: Path, exporter: Path, tmp_path: Path
) -> None:
    """It needs `--probabilities`. test_classifier tests the refusal without the option."""
    folder = shutil.copytree(trained / "network", tmp_path / "network")
    program = (
        "import warnings; warnings.simplefilter('ignore'); import mxnet as mx, sys\n"
        "mx.sym.softmax(mx.sym.load(sys.argv[1])).save(sys.argv[1])\n"
    )
    command = [str(exporter), "-c", program, str(folder / "shapes-symbol.json")]
    subprocess.run(command, check=True)
    built = shapes(*AS_TRAINED, "--probabilities", network=folder)
    assert (built.returncode, built.stderr) == (0, "")
    assert artifact.check(tmp_path / "shapes").manifest["output"] == "probabilities"

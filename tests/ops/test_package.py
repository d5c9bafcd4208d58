"""`python -m ops package`: what it makes, what it refuses, and what it stores where."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from infra.config import RULES, Config
from infra.context import read_config
from ops.faces import ROOT
from ops.package import deploy_command
from serving import artifact, manifest
from serving.archive import unpack


@pytest.fixture
def folder(tmp_path: Path, artifact_folder: Path) -> Path:
    """A copy of the default model's artifact, to be changed."""
    return Path(shutil.copytree(artifact_folder, tmp_path / "cats"))


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A model folder with an artifact of a few bytes."""
    model = tmp_path / "rows"
    (model / "artifact").mkdir(parents=True)
    (model / "artifact" / "weights.txt").write_text("1 2 3")
    manifest.write(model / "artifact", {"name": "rows"})
    (model / "inference.py").write_text(
        "def load_model(folder):\n    return (folder / 'weights.txt').read_text()\n"
        "def infer(request, net):\n    return {}\n"
    )
    return model


def rewritten(folder: Path, **facts: Any) -> None:
    """The manifest with other facts, and the digests of what is there now."""
    manifest.write(folder, {**manifest.read(folder), **facts})


def test_the_same_folder_makes_the_same_archive(
    ops: Callable[..., Any], folder: Path, tmp_path: Path
) -> None:
    """Whenever, by whomever and in whatever order its files were written."""
    again = tmp_path / "elsewhere" / "cats"
    again.mkdir(parents=True)
    for path in sorted(folder.iterdir(), reverse=True):
        shutil.copyfile(path, again / path.name)
        os.utime(again / path.name, (1, 1))
        (again / path.name).chmod(0o700)
    made = [json.loads(ops("package", str(place), "--json").out) for place in (folder, again)]
    first, second = (Path(one["archive"]) for one in made)
    assert first == tmp_path / "cats.tar.gz"
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as archive:
        assert {(member.uid, member.mtime, member.mode) for member in archive} == {(0, 0, 0o644)}


def test_the_image_unpacks_what_was_checked(
    ops: Callable[..., Any], folder: Path, tmp_path: Path
) -> None:
    (folder / "extra").mkdir()
    (folder / "extra" / "notes.txt").write_text("a file of a folder below")
    done = ops("package", str(folder), "--out", str(tmp_path / "model.tar.gz"))
    assert done.status == 0, done.err
    (tmp_path / "unpacked").mkdir()
    unpack(str(tmp_path / "model.tar.gz"), tmp_path / "unpacked")
    found = artifact.check(tmp_path / "unpacked")
    assert found.model_id == artifact.check(folder).model_id
    assert f"model id  {found.model_id} (efficientnet_lite0)" in done.out
    assert [path.name for path in tmp_path.glob("*.tar.gz*")] == ["model.tar.gz"]


def test_the_command_that_it_prints_is_accepted(ops: Callable[..., Any], folder: Path) -> None:
    made = json.loads(ops("package", str(folder), "--json").out)
    assert made["started"]
    assert (made["warnings"], made["uploaded"], made["files"]) == ([], None, 6)
    program, *arguments = made["deploy"].replace("BUCKET", "models").split()
    assert (program, arguments[0]) == ("cdk", "deploy")
    config = read_config(dict(value.split("=", 1) for value in arguments[2::2]))
    assert config.model_id == made["model_id"]
    assert config.model_data == f"s3://models/PREFIX/{made['model_id']}/model.tar.gz"


def test_a_large_artifact_gets_the_room_that_lambda_needs() -> None:
    least = next(key.default for key in fields(Config) if key.name == "lambda_ephemeral_mb")
    for megabytes in (1, 440, 460, 600, 8 * 1024):
        command = deploy_command("s3://b/k.tar.gz", "", megabytes * 1024**2, None)
        given = command.partition("lambda_ephemeral_mb=")[2]
        room = RULES["lambda_ephemeral_mb"].parse(given) if given else least
        assert room and room > megabytes


@pytest.fixture
def refused(ops: Callable[..., Any], folder: Path) -> Callable[..., str]:
    """Package the folder, which must fail with this status, say one line and leave nothing."""

    def refused(*options: str, status: int = 1) -> str:
        done = ops("package", str(folder), *options)
        assert (done.status, done.out) == (status, ""), done.err
        (line,) = done.err.splitlines()
        assert not list(folder.parent.glob("*.tar.gz*"))
        assert line.startswith("error: ")
        return str(line.removeprefix("error: "))

    return refused


def test_another_model_than_expected(refused: Callable[..., str], folder: Path) -> None:
    model_id = artifact.check(folder).model_id
    assert refused("--expect", "1" * 64) == (
        f"{folder} has model id {model_id}, and --expect asks for {'1' * 64}"
    )


def test_no_artifact(refused: Callable[..., str], folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    assert refused().startswith(f"{folder} is no artifact: it holds neither manifest.json nor ")


def test_a_file_that_was_changed(refused: Callable[..., str], folder: Path) -> None:
    (folder / "labels.txt").write_text("cat\n")
    assert refused() == (f"{folder}/labels.txt does not have the sha256 that its manifest names")


def test_labels_of_another_model(refused: Callable[..., str], folder: Path) -> None:
    (folder / "labels.txt").write_text("cat\ndog\n")
    rewritten(folder)
    assert refused() == "2 labels for a model of 1000 classes"


def test_without_labels_it_says_what_answers_will_name(
    ops: Callable[..., Any], folder: Path
) -> None:
    (folder / "labels.txt").unlink()
    rewritten(folder)
    done = ops("package", str(folder))
    assert done.status == 0
    assert "! no labels.txt: answers name ImageNet's classes where there are 1,000" in done.out


def test_the_shape_of_another_input(refused: Callable[..., str], folder: Path) -> None:
    """In the manifest; and in the graph, which the manifest may be silent about."""
    smaller = {"crop": 160, "resize_short": 183, "mean": [0, 0, 0], "std": [1, 1, 1]}
    rewritten(folder, preprocessing=smaller)
    makes = "and its preprocessing makes pictures of [1, 3, 160, 160]"
    assert refused() == f"{folder}/manifest.json has input [1, 3, 224, 224], {makes}"
    rewritten(folder, input={})
    assert refused() == f"{folder}/model.onnx takes [1, 3, 224, 224], {makes}"


def test_an_operator_that_the_engine_lacks(refused: Callable[..., str], folder: Path) -> None:
    graph = (folder / "model.onnx").read_bytes()
    assert b"GlobalAveragePool" in graph
    (folder / "model.onnx").write_bytes(graph.replace(b"GlobalAveragePool", b"GlobalAveragePoem"))
    rewritten(folder)
    line = refused()
    assert line.startswith("model.onnx cannot be loaded: ")
    assert "GlobalAveragePoem" in line


def test_only_symbol_and_params_run_on_mxnet_and_it_says_how_to_compile_them(
    ops: Callable[..., Any], folder: Path
) -> None:
    for path in folder.iterdir():
        if path.name not in ("model-symbol.json", "model-0000.params"):
            path.unlink()
    made = json.loads(ops("package", str(folder), "--json").out)
    assert made["started"]
    assert (made["name"], made["files"]) == ("", 2)
    on_mxnet, labels = made["warnings"]
    assert "MXNet, several times slower" in on_mxnet
    assert "python -m build_artifact NAME OUTPUT_DIR --network FOLDER" in on_mxnet
    assert labels.startswith("no labels.txt")


def test_a_model_folder_is_started_by_its_own_inference(
    ops: Callable[..., Any], rows: Path, tmp_path: Path
) -> None:
    made = json.loads(ops("package", str(rows), "--json").out)
    assert (made["started"], made["warnings"], made["name"]) == (True, [], "rows")
    assert made["archive"] == str(tmp_path / "rows.tar.gz")
    assert f"-c model_folder={rows} " in made["deploy"]
    with tarfile.open(made["archive"]) as archive:
        assert sorted(archive.getnames()) == ["manifest.json", "weights.txt"]

    (rows / "inference.py").write_text("import no_such_package\n")
    made = json.loads(ops("package", str(rows), "--json").out)
    assert not made["started"]
    assert made["warnings"] == [
        "not started: no_such_package is not installed here; --docker starts it"
    ]

    (rows / "inference.py").write_text("def load_model(folder):\n    pass\n")
    done = ops("package", str(rows))
    assert (done.status, done.err) == (1, f"error: {rows}/inference.py has no function infer\n")


def test_where_only_the_tools_are_installed_what_can_be_read_is_checked(folder: Path) -> None:
    """An environment of requirements.txt has none of the image's packages."""
    check = [sys.executable, "-S", "-m", "build_artifact.check", str(folder)]
    environment = {"PYTHONPATH": str(ROOT / "container")}
    done = subprocess.run(check, env=environment, check=True, capture_output=True)
    found = json.loads(done.stdout)
    assert found["model_id"] == artifact.check(folder).model_id
    assert not found["started"]
    assert found["warnings"] == ["not started: numpy is not installed here; --docker starts it"]
    rewritten(folder, input={"shape": [1, 3, 32, 32]})
    refusal = subprocess.run(check, env=environment, check=False, capture_output=True, text=True)
    assert refusal.returncode == 1
    assert "manifest.json has input [1, 3, 32, 32]" in refusal.stderr


def test_an_archive_in_the_artifact_itself(refused: Callable[..., str], folder: Path) -> None:
    assert refused("--out", str(folder / "model.tar.gz")) == (
        f"{folder}/model.tar.gz would be a part of the artifact; name a file outside of {folder}"
    )


def test_a_place_to_write_that_is_none(refused: Callable[..., str], folder: Path) -> None:
    place = folder.parent / "no" / "folder.tar.gz"
    line = refused("--out", str(place), status=2)
    assert line.startswith(f"{place.parent}/")
    assert line.endswith(": No such file or directory")


def test_an_image_that_is_not_there(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert refused("--docker", status=2).startswith("there is no docker on the PATH")


# What is stored.


@pytest.fixture
def bucket(account: Any) -> Any:
    """S3 with an empty bucket, `models`."""
    s3 = account.client("s3")
    place = {"LocationConstraint": s3.meta.region_name}
    s3.create_bucket(Bucket="models", CreateBucketConfiguration=place)
    return s3


def objects(s3: Any) -> dict[str, int]:
    found = s3.list_objects_v2(Bucket="models").get("Contents", [])
    return {item["Key"]: item["Size"] for item in found}


def test_it_is_stored_under_its_model_id_once(
    ops: Callable[..., Any], rows: Path, bucket: Any
) -> None:
    made = json.loads(ops("package", str(rows), "--upload", "s3://models/a/b/", "--json").out)
    key = f"a/b/{made['model_id']}/model.tar.gz"
    assert made["model_data"] == f"s3://models/{key}"
    assert made["uploaded"]
    assert f"-c model_data=s3://models/{key} " in made["deploy"]
    stored = bucket.get_object(Bucket="models", Key=key)["Body"].read()
    assert stored == Path(made["archive"]).read_bytes()

    written = bucket.head_object(Bucket="models", Key=key)["LastModified"]
    again = ops("package", str(rows), "--upload", "s3://models/a/b")
    assert again.status == 0
    assert f"there already s3://models/{key}" in again.out
    assert bucket.head_object(Bucket="models", Key=key)["LastModified"] == written

    manifest.write(rows / "artifact", {"name": "another model now"})
    other = json.loads(ops("package", str(rows), "--upload", "s3://models/a/b", "--json").out)
    assert len(objects(bucket)) == 2
    assert other["model_data"] != made["model_data"]


def test_what_is_there_already_is_not_overwritten(
    ops: Callable[..., Any], rows: Path, bucket: Any
) -> None:
    key = f"{artifact.check(rows / 'artifact').model_id}/model.tar.gz"
    bucket.put_object(Bucket="models", Key=key, Body=b"somebody's")
    done = ops("package", str(rows), "--upload", "s3://models")
    assert (done.status, done.err) == (
        2,
        f"error: s3://models/{key} is there and was not stored by this command; delete it, or "
        "name another prefix\n",
    )
    assert bucket.get_object(Bucket="models", Key=key)["Body"].read() == b"somebody's"


def test_a_bucket_that_is_not_there(ops: Callable[..., Any], rows: Path, account: Any) -> None:
    done = ops("package", str(rows), "--upload", "s3://no-such-bucket/cats")
    assert (done.status, done.err) == (
        2,
        "error: there is no bucket no-such-bucket; "
        "aws s3 mb s3://no-such-bucket --region eu-central-1\n",
    )


def test_a_bucket_of_another_account(
    ops: Callable[..., Any],
    rows: Path,
    account: Any,
    script: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Which the stack's roles could not read."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", script.url)
    path = f"/theirs/{artifact.check(rows / 'artifact').model_id}/model.tar.gz"

    def strangers(request: Any) -> tuple[int, dict[str, str], bytes]:
        return (403 if "x-amz-expected-bucket-owner" in request.headers else 404), {}, b""

    script.replies[path] = strangers
    done = ops("package", str(rows), "--upload", "s3://theirs")
    assert done.status == 2
    assert "is in a bucket of another account" in done.err
    script.replies[path] = (403, {}, b"")
    done = ops("package", str(rows), "--upload", "s3://theirs")
    assert done.status == 2
    assert "these credentials may not s3:GetObject on s3://theirs/" in done.err
    assert {request.method for request in script.asked} == {"HEAD"}


def test_a_bucket_that_may_not_be_written(
    ops: Callable[..., Any],
    rows: Path,
    account: Any,
    script: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", script.url)
    denied = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"

    def read_only(request: Any) -> tuple[int, dict[str, str], bytes]:
        return (404, {}, b"") if request.method == "HEAD" else (403, {}, denied)

    model_id = artifact.check(rows / "artifact").model_id
    script.replies[f"/ours/{model_id}/model.tar.gz"] = read_only
    done = ops("package", str(rows), "--upload", "s3://ours")
    assert done.status == 2
    assert f"may not s3:PutObject on s3://ours/{model_id}/model.tar.gz" in done.err


def test_no_credentials(
    ops: Callable[..., Any], rows: Path, account: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    done = ops("package", str(rows), "--upload", "s3://models/cats")
    assert (done.status, done.err) == (
        2,
        "error: no AWS credentials were found; run `aws configure`, or set AWS_PROFILE\n",
    )


@pytest.mark.parametrize("place", ["models/cats", "s3://models/a b", "s3://models//", "s3://M"])
def test_a_place_in_s3_that_is_none(refused: Callable[..., str], place: str) -> None:
    assert refused("--upload", place) == (
        f"--upload {place} is no place in S3; name it s3://BUCKET/PREFIX"
    )

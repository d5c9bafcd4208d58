"""`python -m ops package`: archives, refusals and uploads."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.config.context import read_config
from infra.config.keys import RULES, Config
from ops.commands.package import deploy_command
from ops.local_servers import ROOT
from serving.artifact import manifest
from serving.artifact import resolve as artifact
from serving.artifact.archive import unpack
from serving.examiner import exam

QUESTION = {"name": "a row", "content_type": "application/json", "body": '{"a": 1}'}


@pytest.fixture
def folder(tmp_path: Path, artifact_folder: Path) -> Path:
    """Return a copy of the default model's artifact."""
    return Path(shutil.copytree(artifact_folder, tmp_path / "cats"))


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Return a model folder with an artifact of a few bytes."""
    model = tmp_path / "rows"
    (model / "artifact").mkdir(parents=True)
    (model / "artifact" / "weights.txt").write_text("1 2 3")
    (model / "artifact" / "golden.json").write_text(json.dumps([QUESTION]))
    manifest.write(model / "artifact", {"name": "rows"})
    (model / "inference.py").write_text(
        "def load_model(folder):\n    return (folder / 'weights.txt').read_text()\n"
        "def infer(request, net):\n    return {}\n"
    )
    return model


@pytest.fixture
def package(ops: Callable[..., Any]) -> Callable[..., Any]:
    """Run `python -m ops package FOLDER --json` and return its output."""

    def package(folder: Path, *options: str) -> Any:
        done = ops("package", str(folder), "--json", *options)
        assert done.status == 0, done.err
        return json.loads(done.out)

    return package


def rewritten(folder: Path, **facts: Any) -> None:
    """Write the manifest with new facts and with the digests of the present files."""
    manifest.write(folder, {**manifest.read(folder), **facts})


def test_the_same_folder_makes_the_same_archive(
    package: Callable[..., Any], rows: Path, tmp_path: Path
) -> None:
    """The files' times, modes and order do not matter."""
    again = tmp_path / "elsewhere" / "rows"
    for path in sorted(rows.rglob("*.*"), reverse=True):
        copy = again / path.relative_to(rows)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        os.utime(copy, (1, 1))
        copy.chmod(0o700)
    for left in (".DS_Store", "Thumbs.db", "desktop.ini"):  # by macOS and Windows
        (again / "artifact" / left).touch()
    first, second = (Path(package(place)["archive"]) for place in (rows, again))
    assert first == tmp_path / "rows.tar.gz"
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as archive:
        assert {(member.uid, member.mtime, member.mode) for member in archive} == {(0, 0, 0o644)}


def test_the_image_unpacks_what_was_checked_and_the_app_takes_the_command(
    package: Callable[..., Any], folder: Path, tmp_path: Path
) -> None:
    (folder / "extra").mkdir()
    (folder / "extra" / "notes.txt").write_text("a file of a folder below")
    out = tmp_path / "model.tar.gz"
    made = package(folder, "--out", str(out))
    assert made["started"]
    assert (made["warnings"], made["uploaded"], made["files"]) == ([], None, 7)
    (tmp_path / "unpacked").mkdir()
    unpack(str(out), tmp_path / "unpacked")
    model_id = artifact.check(tmp_path / "unpacked").model_id
    assert model_id == artifact.check(folder).model_id == made["model_id"]
    assert [*tmp_path.glob("*.tar.gz*")] == [out]
    program, *arguments = made["deploy"].replace("BUCKET", "models").split()
    assert (program, arguments[0]) == ("cdk", "deploy")
    keys = dict(value.split("=", 1) for value in arguments[2::2])
    config = read_config({"mode": "both", **keys})
    assert config.model_id == model_id
    assert config.model_data == f"s3://models/PREFIX/{model_id}/model.tar.gz"


def test_a_large_artifact_gets_the_room_that_lambda_needs() -> None:
    for megabytes in (1, 440, 460, 600, 8 * 1024):
        command = deploy_command("s3://b/k.tar.gz", "", megabytes * 1024**2, None)
        given = command.partition("lambda_ephemeral_mb=")[2]
        room = RULES["lambda_ephemeral_mb"].parse(given) if given else Config.lambda_ephemeral_mb
        assert room and room > megabytes


@pytest.fixture
def refused(ops: Callable[..., Any], folder: Path) -> Callable[..., str]:
    """Package the folder, which must fail with one line and leave no file."""

    def refused(*options: str) -> str:
        done = ops("package", str(folder), *options)
        assert (done.status, done.out) == (1, ""), done.err
        (line,) = done.err.splitlines()
        assert not list(folder.parent.glob("*.tar.gz*"))
        return str(line).replace(str(folder), "DIR")

    return refused


def test_options_that_are_refused(refused: Callable[..., str], folder: Path) -> None:
    has = f"DIR has model id {artifact.check(folder).model_id}, and --expect asks for 12"
    assert refused("--expect", "12") == f"error: {has}"
    part = "DIR/model.tar.gz would be a part of the artifact; choose a file outside of DIR"
    assert refused("--out", f"{folder}/model.tar.gz") == f"error: {part}"
    for place in ("models/cats", "s3://models/a b", "s3://models//", "s3://M"):
        none = f"--upload {place} is not a place in S3; use s3://BUCKET/PREFIX"
        assert refused("--upload", place) == f"error: {none}"


def test_artifacts_that_are_refused(refused: Callable[..., str], folder: Path) -> None:
    labels = folder / "labels.txt"
    whole = labels.read_text()
    labels.write_text("cat\ndog\n")
    changed = "DIR/labels.txt does not have the sha256 that its manifest names"
    assert refused() == f"error: {changed}"
    rewritten(folder)
    assert refused() == "error: 2 labels for a model of 1000 classes"
    labels.write_text(whole)
    smaller = {"crop": 160, "resize_short": 183, "mean": [0, 0, 0], "std": [1, 1, 1]}
    rewritten(folder, preprocessing=smaller)
    makes = "but its preprocessing makes pictures of [1, 3, 160, 160]"
    assert refused() == f"error: DIR/manifest.json has input [1, 3, 224, 224], {makes}"
    rewritten(folder, input={})  # the graph has an input shape of its own
    takes = "the model does not take [1, 3, 160, 160], the shape that its preprocessing makes"
    assert refused().startswith(f"error: {takes}: ")


def test_somebodys_file_beside_the_folder_is_not_overwritten(
    ops: Callable[..., Any], package: Callable[..., Any], rows: Path, tmp_path: Path
) -> None:
    out = tmp_path / "rows.tar.gz"
    theirs = subprocess.run(["tar", "-cz", "rows"], cwd=tmp_path, check=True, capture_output=True)
    for content in (theirs.stdout, b"no archive", b""):
        out.write_bytes(content)
        done = ops("package", str(rows))
        assert (done.status, "exists and was not made by this command" in done.err) == (1, True)
        assert out.read_bytes() == content
    first = package(rows, "--force")["model_id"]
    manifest.write(rows / "artifact", {"name": "another model now"})
    assert package(rows)["model_id"] != first


def test_only_symbol_and_params_run_on_mxnet_and_it_says_how_to_compile_them(
    package: Callable[..., Any], folder: Path
) -> None:
    for path in folder.iterdir():
        if path.name not in ("model-symbol.json", "model-0000.params"):
            path.unlink()
    made = package(folder)
    assert made["started"]
    assert (made["name"], made["files"]) == ("", 2)
    on_mxnet, labels = made["warnings"]
    assert "MXNet, several times slower" in on_mxnet
    assert "python -m build_artifact NAME OUTPUT_DIR --network FOLDER" in on_mxnet
    assert labels.startswith("no labels.txt")


def test_a_model_folder_is_started_by_its_own_inference(
    ops: Callable[..., Any], package: Callable[..., Any], rows: Path, tmp_path: Path
) -> None:
    made = package(rows)
    assert (made["started"], made["warnings"], made["name"]) == (True, [], "rows")
    assert made["archive"] == str(tmp_path / "rows.tar.gz")
    assert f"-c model_folder={rows} " in made["deploy"]
    with tarfile.open(made["archive"]) as archive:
        assert sorted(archive.getnames()) == ["golden.json", "manifest.json", "weights.txt"]

    (rows / "inference.py").write_text("import no_such_package\n")
    made = package(rows)
    lacking = "not started: no_such_package is not installed here; --docker starts it"
    assert (made["started"], made["warnings"]) == (False, [lacking])

    (rows / "inference.py").write_text("def load_model(folder):\n    pass\n")
    done = ops("package", str(rows))
    assert (done.status, done.err) == (1, f"error: {rows}/inference.py has no function infer\n")


def test_golden_cases_become_the_exam_that_the_model_id_covers(
    package: Callable[..., Any], rows: Path
) -> None:
    first = package(rows)
    (rows / "cat.png").write_bytes(b"\x89PNG")
    png = {"Content-Type": "image/png"}
    requests = {
        "a row": {"body": {"a": 1}},
        "bytes": {"headers": png, "body": "{bytes:cat.png}"},
        "a URI": {"body": {"uri": "{data:cat.png}"}},
        "another path": {"method": "GET", "path": "/ping"},
        "of a test alone": {"body": {"uri": "{http}/cat.png"}},
    }
    cases = [{"name": name, "request": request} for name, request in requests.items()]
    (rows / "golden.json").write_text(json.dumps(cases))
    made = package(rows, "--force")
    assert made["model_id"] != first["model_id"]
    assert package(rows, "--force")["model_id"] == made["model_id"]
    uri = b'{"uri": "data:image/jpeg;base64,iVBORw=="}'
    assert exam.read(rows / "artifact" / "golden.json") == [
        exam.Question("a row", "application/json", b'{"a": 1}'),
        exam.Question("bytes", "image/png", b"\x89PNG"),
        exam.Question("a URI", "application/json", uri),
    ]


@pytest.mark.parametrize(
    ("place", "written", "why"),
    [
        ("golden.json", "{", "holds no golden cases: JSONDecodeError"),
        ("golden.json", "[]", "has no POST /invocations that needs nothing but files"),
        ("golden.json", '[{"name": "", "request": {"body": "{bytes:no}"}}]', "no cannot be read"),
        ("artifact/golden.json", "[7]", "is not an exam: a request has name, content_type"),
    ],
)
def test_an_exam_that_is_none_is_refused(
    ops: Callable[..., Any], rows: Path, place: str, written: str, why: str
) -> None:
    (rows / place).write_text(written)
    manifest.write(rows / "artifact", {"name": "rows"})
    done = ops("package", str(rows))
    assert (done.status, done.out) == (1, "")
    (line,) = done.err.splitlines()
    assert why in line


def test_a_model_without_an_exam_is_warned_of(package: Callable[..., Any], rows: Path) -> None:
    (rows / "artifact" / "golden.json").unlink()
    manifest.write(rows / "artifact", {"name": "rows"})
    [warning] = package(rows)["warnings"]
    assert warning.startswith("no golden.json: unless the model takes pictures")


def test_where_only_the_tools_are_installed_what_can_be_read_is_checked(folder: Path) -> None:
    """An environment with only requirements.txt lacks the image's packages."""
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


@pytest.fixture
def bucket(account: Any) -> Any:
    """Return a client of S3, which has an empty bucket `models`."""
    return account.bucket("models")


def test_it_is_stored_under_its_model_id_once(
    ops: Callable[..., Any], package: Callable[..., Any], rows: Path, bucket: Any
) -> None:
    made = package(rows, "--upload", "s3://models/a/b/")
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


def test_what_is_there_already_is_not_overwritten(
    ops: Callable[..., Any], rows: Path, bucket: Any
) -> None:
    key = f"{artifact.check(rows / 'artifact').model_id}/model.tar.gz"
    bucket.put_object(Bucket="models", Key=key, Body=b"somebody's")
    there = f"s3://models/{key} exists and was not stored by this command; "
    make = "aws s3 mb s3://no-such-bucket --region eu-central-1"
    for place, said in (
        ("s3://models", f"{there}delete it, or choose another prefix"),
        ("s3://no-such-bucket/cats", f"there is no bucket no-such-bucket; {make}"),
    ):
        done = ops("package", str(rows), "--upload", place)
        assert (done.status, done.err) == (2, f"error: {said}\n")
    assert bucket.get_object(Bucket="models", Key=key)["Body"].read() == b"somebody's"


@pytest.mark.usefixtures("account")
def test_a_bucket_of_another_account(
    ops: Callable[..., Any], rows: Path, script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stack's roles could not read it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", script.url)
    path = f"/theirs/{artifact.check(rows / 'artifact').model_id}/model.tar.gz"

    def strangers(request: Any) -> tuple[int, dict[str, str], bytes]:
        return (403 if "x-amz-expected-bucket-owner" in request.headers else 404), {}, b""

    script.replies[path] = strangers
    done = ops("package", str(rows), "--upload", "s3://theirs")
    assert done.status == 2
    assert "is in a bucket of another account" in done.err
    assert {request.method for request in script.asked} == {"HEAD"}

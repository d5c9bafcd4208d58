"""Hostile artifacts are refused with one line before any part of them is loaded."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from ops import local_servers
from ops.local_servers import process_environment
from security.hostile import artifacts
from security.hostile.artifacts import Edit, edit_manifest, huge, overwrite, packed, plain
from serving import inference
from serving.artifact import archive, manifest
from serving.artifact.preprocessing import Preprocessing
from serving.artifact.resolve import check, resolve
from serving.core.errors import StartError
from serving.core.settings import Settings
from serving.model import engines
from support.cases import PHOTOS
from support.programs import run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "artifact"
    made.mkdir()
    (made / "model.onnx").write_bytes(artifacts.onnx(artifacts.initializer("w.bin")))
    (made / "w.bin").write_bytes(bytes(16))
    (made / "labels.txt").write_text("a\nb\nc\nd\n")
    manifest.write(made, {"name": "small"})
    return made


def check_message(error: StartError) -> None:
    assert str(error).isprintable()
    assert len(str(error)) < 1000


@pytest.mark.parametrize("name", artifacts.ARCHIVES)
def test_a_hostile_archive_is_refused_and_writes_nothing_outside(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, expected = artifacts.ARCHIVES[name]
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    (tmp_path / "model.tar.gz").write_bytes(data)
    with pytest.raises(StartError, match=expected) as failure:
        resolve(Settings(model_data_url=str(tmp_path / "model.tar.gz")))
    check_message(failure.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.tar.gz", "tmp"]
    assert [path.name[:10] for path in (tmp_path / "tmp").iterdir()] == ["one-image-"]


@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
def test_an_archive_that_is_cut_off_is_refused(part: float, tmp_path: Path) -> None:
    data = packed(plain("random", os.urandom(100_000)))
    (tmp_path / "model.tar.gz").write_bytes(data[: int(len(data) * part)])
    with pytest.raises(StartError, match=r"model\.tar\.gz cannot be unpacked: "):
        resolve(Settings(model_data_url=str(tmp_path / "model.tar.gz")))


def test_unpacking_stops_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_UNPACKED_BYTES", 10 * artifacts.MIB)
    (tmp_path / "packed").write_bytes(
        packed(*[plain(f"zeros{i}", bytes(4 * artifacts.MIB)) for i in "abcd"])
    )
    with pytest.raises(StartError, match="unpacks to more than 10485760 bytes"):
        archive.unpack(str(tmp_path / "packed"), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["packed", "zerosa", "zerosb"]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://host/model.tar.gz?X-Amz-Signature=MARK", "is a https: address; it takes s3://"),
        ("S3://bucket/key?MARK", "is a S3: address"),
        ("/absent/model.tar.gz?sig=MARK", "=/absent/model.tar.gz cannot be unpacked: No such file"),
        ("s3://user:MARK@bucket/key?MARK", "=s3://bucket/key cannot be unpacked: S3: "),
    ],
)
def test_no_url_secret_is_quoted(url: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with pytest.raises(StartError) as failure:
        resolve(Settings(model_data_url=url))
    assert expected in str(failure.value)
    assert "MARK" not in str(failure.value)


@pytest.mark.parametrize("name", artifacts.FOLDERS)
def test_a_hostile_folder_is_refused(name: str, folder: Path) -> None:
    edit, expected = artifacts.FOLDERS[name]
    check(folder)
    edit(folder)
    with pytest.raises(StartError, match=expected) as failure:
        resolve(Settings(), folder)
    check_message(failure.value)


def test_links_inside_a_folder_are_followed(folder: Path) -> None:
    (folder / "..data").mkdir()
    (folder / "w.bin").rename(folder / "..data" / "w.bin")
    (folder / "w.bin").symlink_to("..data/w.bin")
    manifest.write(folder, {})
    (folder.parent / "by-link").symlink_to(folder)
    assert check(folder.parent / "by-link").model_id == check(folder).model_id


@pytest.mark.parametrize("name", artifacts.GRAPHS)
def test_a_hostile_graph_is_refused_by_the_engine(name: str, folder: Path) -> None:
    engines.load(folder, 1)
    (folder.parent / "outside.bin").write_bytes(bytes(16))
    (folder / "by-link.bin").symlink_to("../outside.bin")
    (folder / "model.onnx").write_bytes(artifacts.GRAPHS[name])
    with pytest.raises(StartError, match=r"model\.onnx cannot be loaded") as failure:
        engines.load(folder, 1)
    check_message(failure.value)


GOOD = {"resize_short": 8, "crop": 4, "mean": [0, 0, 0], "std": [1, 1, 1]}


@pytest.mark.parametrize(
    "wrong",
    [
        "ImageNet",
        {"crop": 4},
        {**GOOD, "crop": 0},
        {**GOOD, "crop": 9},
        {**GOOD, "crop": 4.0},
        {**GOOD, "crop": True},
        {**GOOD, "resize_short": 10**400},
        {**GOOD, "mean": [0, 0]},
        {**GOOD, "mean": ["0", "0", "0"]},
        {**GOOD, "mean": 0},
        {**GOOD, "mean": [0, 0, float("inf")]},
        {**GOOD, "std": [1, 1, 1e-40]},
        {**GOOD, "std": {"a": 1, "b": 1, "c": 1}},
    ],
    ids=repr,
)
def test_a_preprocessing_that_cannot_be_applied_is_refused(wrong: object, folder: Path) -> None:
    edit_manifest(preprocessing=wrong)(folder)
    with pytest.raises(StartError, match=r"manifest\.json: preprocessing must have whole"):
        Preprocessing.read(folder)


def forget_manifest_and_graph(folder: Path) -> None:
    for name in ("manifest.json", "model.onnx", "model.onnx.data"):
        (folder / name).unlink()


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (huge("labels.txt", 2 << 30), "labels.txt is larger than 16777216 bytes"),
        (overwrite("labels.txt", b"\xff\xfe"), "labels.txt is not UTF-8 text"),
        (overwrite("labels.txt", b"one\n"), "1 labels for a model of 1000 classes"),
        (lambda f: (forget_manifest_and_graph(f), huge("model-0000.params", 999)(f)), "loaded: "),
    ],
)
def test_faults_that_no_checksum_shows_are_refused_in_one_line(
    edit: Edit, expected: str, tmp_path: Path, artifact_folder: Path
) -> None:
    """tests/integration/http/test_start.py shows how the faces then end."""
    folder = shutil.copytree(artifact_folder, tmp_path / "artifact")
    edit(folder)
    with pytest.raises(StartError, match=expected) as failure:
        inference.warm_up(inference.load_model(folder))
    check_message(failure.value)


WATCHED = """
import sys
found = []
sys.addaudithook(lambda event, _: found.append(event) if event == "pickle.find_class" else None)
import pickle
from pathlib import Path
from serving import inference
from serving.core.contract import Payload
net = inference.load_model(sys.argv[1])
picture = Payload(Path(sys.argv[2]).read_bytes(), "image/jpeg")
print(len(inference.infer(picture, net)["results"]), found)
pickle.loads(pickle.dumps(print))
print(found)
"""


@pytest.mark.parametrize("engine", ["onnxruntime", "mxnet"])
def test_no_library_unpickles_anything(engine: str, tmp_path: Path, artifact_folder: Path) -> None:
    """Python's audit event reports a pickle that asks for a name. The last line proves it."""
    folder = shutil.copytree(artifact_folder, tmp_path / "artifact")
    if engine == "mxnet":
        forget_manifest_and_graph(folder)
    environment = {**process_environment(), "PYTHONPATH": str(local_servers.ENTRY.parent)}
    command = [sys.executable, "-c", WATCHED, folder, PHOTOS / "cat.jpg"]
    done = run(command, env=environment)
    assert done.stdout.splitlines() == ["5 []", "['pickle.find_class']"], done.stderr

"""Which artifact is served, and which are refused before anything is loaded."""

import hashlib
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from serving import manifest as manifest_of
from serving.artifact import check, resolve
from serving.errors import StartError
from serving.settings import Settings

FILES = {"model.onnx": b"", "model-symbol.json": b"{}", "labels.txt": b"cat\n"}


def make(folder: Path, **changes: bytes) -> Path:
    folder.mkdir(parents=True)
    for name, data in {**FILES, **changes}.items():
        (folder / name).write_bytes(data)
    manifest_of.write(folder, {"name": "small"})
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make(tmp_path / "artifacts" / "small")


def pack(folder: Path, archive: Path) -> Path:
    with tarfile.open(archive, "w:gz") as tar:
        for path in folder.iterdir():
            tar.add(path, path.name)
    return archive


def test_the_model_id_is_what_sha256sum_says(folder: Path) -> None:
    lines = sorted(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in folder.iterdir()
    )
    expected = hashlib.sha256("".join(lines).encode()).hexdigest()
    assert check(folder).model_id == expected
    assert check(folder, trusted=True).model_id == expected


def test_the_order(folder: Path, tmp_path: Path) -> None:
    mounted = make(tmp_path / "mounted", **{"labels.txt": b"mounted\n"})
    packed = make(tmp_path / "packed", **{"labels.txt": b"packed\n"})
    archive = pack(packed, tmp_path / "model.tar.gz")
    (tmp_path / "empty").mkdir()
    everything = Settings(
        model_name="small", artifacts_dir=folder.parent, model_data_url=str(archive)
    )
    baked = Settings(model_name="small", artifacts_dir=folder.parent)

    assert resolve(everything, mounted).model_id == check(mounted).model_id
    for normal in (tmp_path / "empty", tmp_path / "absent", None):
        assert resolve(everything, normal).model_id == check(packed).model_id
        assert resolve(baked, normal).folder == folder


def test_nothing_to_serve() -> None:
    with pytest.raises(StartError, match="no model: mount an artifact, or set MODEL_DATA_URL"):
        resolve(Settings())


def test_another_model_id_than_asked_for(folder: Path) -> None:
    baked = Settings(model_name="small", artifacts_dir=folder.parent, model_id="0" * 64)
    with pytest.raises(StartError, match=f"{check(folder).model_id}, but MODEL_ID asks for 0000"):
        resolve(baked)


def drop(folder: Path) -> None:
    (folder / "model.onnx").unlink()


def corrupt(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"other")


def unreadable_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("{")


def newer_manifest(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "format": 2}))


def outside(folder: Path) -> None:
    (folder.parent / "secret").write_text("x")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["../secret"] = hashlib.sha256(b"x").hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def only_labels(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != "labels.txt":
            path.unlink()


def nested(folder: Path) -> None:
    inner = folder.parent / "inner"
    folder.rename(inner)
    folder.mkdir()
    inner.rename(folder / "artifact")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop, "lacks model.onnx, which its manifest names"),
        (corrupt, "model.onnx does not have the sha256 that its manifest names"),
        (unreadable_manifest, "manifest.json is not a manifest of format 1"),
        (newer_manifest, "manifest.json is not a manifest of format 1"),
        (outside, "names '../secret', which is no file below the folder"),
        (only_labels, "is no artifact: it holds neither manifest.json nor exactly one"),
        (nested, "the files belong at the top of model.tar.gz"),
    ],
)
def test_a_broken_artifact(damage: Callable[[Path], None], message: str, folder: Path) -> None:
    damage(folder)
    with pytest.raises(StartError, match=message) as failure:
        resolve(Settings(), folder)
    assert "\n" not in str(failure.value)


def test_a_baked_artifact_with_a_missing_file(folder: Path) -> None:
    drop(folder)
    with pytest.raises(StartError, match=r"lacks model.onnx"):
        resolve(Settings(model_name="small", artifacts_dir=folder.parent))


def test_an_archive_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"absent.tar.gz cannot be unpacked: .*No such file"):
        resolve(Settings(model_data_url=str(tmp_path / "absent.tar.gz")))


def test_a_proof_of_concept_folder_needs_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "net-symbol.json").write_text("{}")
    (tmp_path / "net-0000.params").write_bytes(b"")
    found = resolve(Settings(), tmp_path)
    assert (found.folder, found.manifest) == (tmp_path, {})
    shutil.copy(tmp_path / "net-symbol.json", tmp_path / "other-symbol.json")
    with pytest.raises(StartError, match="exactly one"):
        resolve(Settings(), tmp_path)

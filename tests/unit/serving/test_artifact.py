"""Check which artifact is served, and which are refused before loading."""

import hashlib
import os
import signal
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ops.local_servers import ROOT
from serving.artifact import manifest as manifest_of
from serving.artifact.resolve import check, resolve
from serving.core.errors import StartError
from serving.core.settings import Settings
from support.programs import run
from support.upstream import Upstream

CONTAINER = ROOT / "container"
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


def test_an_archive_beside_its_files_is_ignored(folder: Path) -> None:
    """SageMaker's local mode unpacks it there. Other files belong to the artifact."""
    expected = check(folder).model_id
    pack(folder, folder.parent / "model.tar.gz").rename(folder / "model.tar.gz")
    assert check(folder).model_id == expected
    (folder / "more.bin").touch()
    assert check(folder).model_id != expected


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


def newer_manifest(folder: Path) -> None:
    manifest = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(manifest.replace('"format": 1', '"format": 2'))


def two_symbols(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    (folder / "model.onnx").rename(folder / "other-symbol.json")


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
        (newer_manifest, "manifest.json is not a manifest of format 1"),
        (two_symbols, "is not an artifact: it holds neither manifest.json nor exactly one"),
        (nested, "the files belong at the top of model.tar.gz"),
    ],
)
def test_a_broken_artifact(damage: Callable[[Path], None], message: str, folder: Path) -> None:
    damage(folder)
    with pytest.raises(StartError, match=message) as failure:
        resolve(Settings(), folder)
    assert "\n" not in str(failure.value)
    baked = Settings(model_name="small", artifacts_dir=folder.parent)
    if damage is drop:  # the image's artifact is trusted, but must be complete
        with pytest.raises(StartError, match=message):
            resolve(baked)
    if damage is corrupt:  # the owner of a model folder may have trained again
        with pytest.raises(StartError, match=message):
            resolve(replace(baked, inference="inference.py"))


def test_the_server_removes_its_artifact_and_a_fork_does_not(folder: Path, tmp_path: Path) -> None:
    """Worker processes are forks. When one ends, the others still need the artifact."""
    (tmp_path / "tmp").mkdir()
    program = (
        "import os, sys; from serving.artifact.resolve import resolve\n"
        "from serving.core.settings import Settings\n"
        "found = resolve(Settings(model_data_url=sys.argv[1])).folder\n"
        "if (child := os.fork()) == 0: sys.exit()\n"
        "os.waitpid(child, 0); print(found.exists())\n"
    )
    command = [sys.executable, "-c", program, pack(folder, tmp_path / "model.tar.gz")]
    environment = {"PYTHONPATH": str(CONTAINER), "TMPDIR": str(tmp_path / "tmp")}
    assert run(command, env=environment).stdout == "True\n"
    assert list((tmp_path / "tmp").iterdir()) == []


def test_the_next_start_removes_the_folder_of_a_killed_process(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lambda keeps /tmp when it restarts the runtime after a timeout. Folders in use stay."""
    (tmp_path / "tmp").mkdir()
    settings = Settings(model_data_url=str(pack(folder, tmp_path / "model.tar.gz")))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    for _ in range(2):
        if (child := os.fork()) == 0:
            try:
                resolve(settings)
            finally:
                os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        assert len(list((tmp_path / "tmp").iterdir())) == 1
    used = [resolve(settings).folder for _ in range(2)]
    assert sorted((tmp_path / "tmp").iterdir()) == sorted(used)


def test_an_archive_that_s3_lacks(
    monkeypatch: pytest.MonkeyPatch, local_upstream: Upstream
) -> None:
    """test_own_network starts both faces with one that S3 has."""
    for name, value in local_upstream.environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StartError) as failure:
        resolve(Settings(model_data_url="s3://photos/absent?X-Amz-Signature=abc"))
    assert str(failure.value) == (
        "MODEL_DATA_URL=s3://photos/absent cannot be unpacked: S3 answered NoSuchKey"
    )

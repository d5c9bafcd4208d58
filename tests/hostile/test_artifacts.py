"""Hostile artifacts: each refused with one line, before anything of it is loaded."""

import ast
import gzip
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from cases import PHOTOS
from hostile.artifacts import (
    ARCHIVES,
    FOLDERS,
    MIB,
    SHA,
    edit_manifest,
    huge,
    initializer,
    member,
    onnx,
    packed,
    plain,
)
from ops import faces
from ops.local import process_environment
from serving import archive, engines
from serving import manifest as manifest_of
from serving.artifact import check, resolve
from serving.classifier import Classifier
from serving.errors import StartError
from serving.settings import Settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole artifact of a graph with its weights beside it."""
    made = tmp_path / "artifact"
    made.mkdir()
    (made / "model.onnx").write_bytes(onnx(initializer("w.bin")))
    (made / "w.bin").write_bytes(bytes(16))
    (made / "labels.txt").write_text("a\nb\nc\nd\n")
    manifest_of.write(made, {"name": "small"})
    return made


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, expected = ARCHIVES[name]
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    (tmp_path / "model.tar.gz").write_bytes(data)
    with pytest.raises(StartError, match=expected) as failure:
        resolve(Settings(model_data_url=str(tmp_path / "model.tar.gz")))
    message = str(failure.value)
    assert message.isprintable()
    assert len(message) < 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.tar.gz", "tmp"]


@pytest.mark.parametrize("part", [*(tenth / 10 for tenth in range(10)), 0.99, 1.0])
def test_an_archive_that_is_cut_off(part: float, folder: Path, tmp_path: Path) -> None:
    whole = tmp_path / "model.tar.gz"
    (folder / "random").write_bytes(os.urandom(100_000))
    with tarfile.open(whole, "w:gz") as tar:
        tar.add(folder, ".")
    data = whole.read_bytes()
    whole.write_bytes(data[: min(int(len(data) * part), len(data) - 1)])
    with pytest.raises(StartError, match=r"model\.tar\.gz cannot be unpacked: ") as failure:
        resolve(Settings(model_data_url=str(whole)))
    assert "\n" not in str(failure.value)


def test_no_more_is_written_than_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each member alone would do; what counts is their sum."""
    monkeypatch.setattr(archive, "MAX_UNPACKED_BYTES", 10 * MIB)
    source, target = tmp_path / "model.tar.gz", tmp_path / "unpacked"
    source.write_bytes(packed(*[plain(f"zeros{i}", bytes(4 * MIB)) for i in range(5)]))
    assert source.stat().st_size < MIB
    target.mkdir()
    with pytest.raises(StartError, match="unpacks to more than 10485760 bytes"):
        archive.unpack(str(source), target)
    assert sum(path.stat().st_size for path in target.iterdir()) == 8 * MIB


def test_a_header_without_end_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be 2 GB in memory, of 2 MB in the archive."""
    read = []
    original = gzip.GzipFile.read

    def noted(file: gzip.GzipFile, size: int | None = -1) -> bytes:
        data = original(file, size)
        read.append(len(data))
        return data

    header = member("n", type=tarfile.XHDTYPE, size=2 << 30).tobuf()
    (tmp_path / "model.tar.gz").write_bytes(gzip.compress(header + bytes(64 * MIB), 1))
    monkeypatch.setattr(gzip.GzipFile, "read", noted)
    with pytest.raises(StartError, match="bytes in a row that are no file's"):
        archive.unpack(str(tmp_path / "model.tar.gz"), tmp_path)
    assert sum(read) < 2 * MIB


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://host/model.tar.gz?X-Amz-Signature=MARK", "is a https: address; it takes s3://"),
        ("http://user:MARK@host/model.tar.gz", "is a http: address"),
        ("data:application/gzip;base64,MARK", "is a data: address"),
        ("ftp://MARK@host/x", "is a ftp: address"),
        ("S3://bucket/key?MARK", "is a S3: address"),
        ("/absent/model.tar.gz?sig=MARK", "=/absent/model.tar.gz cannot be unpacked: No such file"),
        ("file:///absent?sig=MARK", "=file:///absent cannot be unpacked: No such file"),
        ("s3://bucket", "S3: ParamValidationError"),
        ("s3://user:MARK@bucket/key?MARK", "=s3://bucket/key cannot be unpacked: S3: "),
    ],
)
def test_no_secret_of_the_url_is_told(
    url: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with pytest.raises(StartError) as failure:
        resolve(Settings(model_data_url=url))
    assert expected in str(failure.value)
    assert "MARK" not in str(failure.value)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder(name: str, folder: Path) -> None:
    edit, expected = FOLDERS[name]
    check(folder)
    edit(folder)
    with pytest.raises(StartError, match=expected) as failure:
        resolve(Settings(), folder)
    message = str(failure.value)
    assert message.isprintable()
    assert len(message) < 1000


def test_links_inside_are_followed(folder: Path) -> None:
    """Such as some mounts are made of."""
    (folder / "..data").mkdir()
    (folder / "w.bin").rename(folder / "..data" / "w.bin")
    (folder / "w.bin").symlink_to("..data/w.bin")
    manifest_of.write(folder, {})
    (folder.parent / "by-link").symlink_to(folder)
    assert check(folder.parent / "by-link").model_id == check(folder).model_id


def test_another_model_id_is_refused_before_anything_is_loaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "load", lambda *_: pytest.fail("it was loaded"))
    with pytest.raises(StartError, match=f"but MODEL_ID asks for {SHA}"):
        resolve(Settings(model_id=SHA), folder)


GOOD = {"resize_short": 8, "crop": 4, "mean": [0, 0, 0], "std": [1, 1, 1]}


@pytest.mark.parametrize(
    "wrong",
    [
        "ImageNet",
        [],
        {"crop": 4},
        {**GOOD, "crop": -4},
        {**GOOD, "crop": 0},
        {**GOOD, "crop": 9},
        {**GOOD, "crop": 4.0},
        {**GOOD, "crop": "4"},
        {**GOOD, "crop": True},
        {**GOOD, "resize_short": 10**9},
        {**GOOD, "resize_short": 10**400},
        {**GOOD, "mean": [0, 0]},
        {**GOOD, "mean": ["0", "0", "0"]},
        {**GOOD, "mean": 0},
        {**GOOD, "mean": [0, 0, 10**400]},
        {**GOOD, "mean": [0, 0, float("inf")]},
        {**GOOD, "std": [1, 1, float("nan")]},
        {**GOOD, "std": [1, 1, 0]},
        {**GOOD, "std": [1, 1, 1e-40]},
        {**GOOD, "std": {"a": 1, "b": 1, "c": 1}},
        {**GOOD, "std": None},
    ],
    ids=repr,
)
def test_a_transform_that_is_none(
    wrong: object, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "load", lambda *_: pytest.fail("it was loaded"))
    edit_manifest(preprocessing=wrong)(folder)
    with pytest.raises(StartError, match=r"manifest\.json: preprocessing must have whole"):
        Classifier.load(folder)


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (huge("labels.txt", 2 << 30), "labels.txt is larger than 16777216 bytes"),
        (lambda f: (f / "labels.txt").write_bytes(b"\xff\xfe"), "labels.txt is not UTF-8 text"),
    ],
)
def test_labels_that_are_none(
    edit: Callable[[Path], object], expected: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "load", lambda *_: pytest.fail("it was loaded"))
    edit(folder)
    with pytest.raises(StartError, match=expected):
        Classifier.load(folder)


@pytest.mark.parametrize(
    "place", ["../outside.bin", "{}/outside.bin", "by-link.bin", "*/_ORT_MEM_ADDR_/*"]
)
def test_onnx_runtime_itself_reads_no_weights_elsewhere(place: str, folder: Path) -> None:
    """The second guard: our own check has been left out here."""
    (folder.parent / "outside.bin").write_bytes(bytes(16))
    (folder / "by-link.bin").symlink_to("../outside.bin")
    place = place.format(folder.parent)
    (folder / "model.onnx").write_bytes(onnx(initializer(place)))
    with pytest.raises(StartError, match=r"model\.onnx cannot be loaded") as failure:
        engines.load(folder, 1)
    assert "\n" not in str(failure.value)
    (folder / "model.onnx").write_bytes(onnx(initializer("w.bin")))
    engines.load(folder, 1)


# No pickle


def test_our_code_unpickles_nothing() -> None:
    """But the build, of one file whose sha256 it knows, with an unpickler that knows five names."""
    users = set()
    for path in (faces.ROOT / "container").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = {alias.name.partition(".")[0] for alias in getattr(node, "names", [])}
            names |= {getattr(node, field, "") or "" for field in ("module", "id", "arg")}
            if names & {"pickle", "cPickle", "marshal", "shelve", "dill", "joblib", "allow_pickle"}:
                users.add(path.name)
            assert not names & {"eval", "exec", "torch"}, path
    assert users == {"torch_legacy.py"}


WATCHED = """
import sys
found = []
sys.addaudithook(lambda event, _: found.append(event) if event == "pickle.find_class" else None)
import pickle
from pathlib import Path
from serving import inference
from serving.contract import Payload
net = inference.load_model(sys.argv[1])
picture = Payload(Path(sys.argv[2]).read_bytes(), "image/jpeg")
print(len(inference.infer(picture, net)["results"]), found)
pickle.loads(pickle.dumps(print))
print(found)
"""


@pytest.mark.parametrize("engine", ["onnxruntime", "mxnet"])
def test_no_library_unpickles_while_a_model_is_loaded_and_asked(
    engine: str, tmp_path: Path, artifact_folder: Path
) -> None:
    """Python itself says when a pickle asks for a name; and that the watch works."""
    folder = shutil.copytree(artifact_folder, tmp_path / "artifact")
    if engine == "mxnet":
        forget_manifest_and_graph(folder)
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(folder), str(PHOTOS / "cat.jpg")],
        env={**process_environment(), "PYTHONPATH": str(faces.ENTRY.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["5 []", "['pickle.find_class']"]


# Through the real start


def serve(
    *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [faces.ENTRY, "serve", "--host", "127.0.0.1", "--port", str(faces.free_port()), *arguments],
        env={**os.environ, **process_environment(), "WORKERS": "2", **(environment or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def errors(output: str) -> list[str]:
    records = [json.loads(line) for line in output.splitlines()]
    assert not [record for record in records if "traceback" in record]
    return [record["message"] for record in records if record["level"] == "ERROR"]


@pytest.mark.parametrize(
    "name",
    [
        "climbs",
        "a link, then a file through it",
        "headers without end",
        "a name that is not UTF-8",
        "bzip2",
        "another checksum",
    ],
)
def test_the_server_refuses_an_archive(name: str, tmp_path: Path) -> None:
    data, expected = ARCHIVES[name]
    (tmp_path / "model.tar.gz").write_bytes(data)
    (tmp_path / "tmp").mkdir()
    environment = {
        "MODEL_DATA_URL": f"{tmp_path}/model.tar.gz",
        "TMPDIR": str(tmp_path / "tmp"),
        "LOG_LEVEL": "WARNING",
    }
    ended = serve(environment=environment)
    assert (ended.returncode, ended.stderr) == (1, "")
    (line,) = ended.stdout.splitlines()
    assert expected in json.loads(line)["message"]
    assert errors(line)
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        "a link to /etc/passwd",
        "weights by a link",
        "a fifo",
        "names what is above",
        "a manifest of 2 GB",
        "a manifest that is deep",
        "weights in /etc/passwd",
        "weights in a branch",
        "weights cut off",
        "ONNX cut off",
        "calls an address",
    ],
)
def test_the_server_refuses_a_folder(name: str, folder: Path) -> None:
    edit, expected = FOLDERS[name]
    edit(folder)
    ended = serve("--model-path", str(folder))
    assert (ended.returncode, ended.stderr) == (1, "")
    (line,) = ended.stdout.splitlines()  # no worker has begun
    (message,) = errors(line)
    assert expected in message


def cut(name: str, part: float) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        os.truncate(folder / name, int((folder / name).stat().st_size * part))

    return edit


def forget_manifest_and_graph(folder: Path) -> None:
    for name in ("manifest.json", "model.onnx", "model.onnx.data"):
        (folder / name).unlink()


def preprocess(**values: object) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest_of.write(folder, {"preprocessing": {**manifest["preprocessing"], **values}})

    return edit


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        ([cut("model.onnx", 0)], "model.onnx cannot be loaded: "),
        ([lambda f: (f / "model.onnx").write_bytes(onnx(operator=b"PyOp"))], "cannot be loaded: "),
        (
            [lambda f: (f / "labels.txt").write_text("one\n")],
            "1 labels for a model of 1000 classes",
        ),
        ([preprocess(std=[1, 1, 0])], "preprocessing must have whole numbers"),
        ([preprocess(crop=100)], "the model fails on a small black image: "),
        ([forget_manifest_and_graph, cut("model-0000.params", 0.5)], "cannot be loaded: "),
    ],
)
def test_what_only_an_engine_can_tell_ends_the_server_with_one_line(
    edits: Iterable[Callable[[Path], object]], expected: str, tmp_path: Path, artifact_folder: Path
) -> None:
    """A manifest that agrees with a broken file: no sha256 gives it away."""
    folder = shutil.copytree(artifact_folder, tmp_path / "artifact")
    for edit in edits:
        edit(folder)
    if (folder / "manifest.json").exists():
        facts = json.loads((folder / "manifest.json").read_text())
        manifest_of.write(folder, facts)
    ended = serve("--model-path", str(folder))
    assert (ended.returncode, ended.stderr) == (1, "")
    (message,) = errors(ended.stdout)
    assert expected in message
    assert "Traceback" not in message


@pytest.mark.parametrize("name", ["climbs", "sparse: a terabyte in nothing", "xz"])
def test_the_function_fails_its_init(name: str, tmp_path: Path) -> None:
    data, expected = ARCHIVES[name]
    (tmp_path / "model.tar.gz").write_bytes(data)
    environment = {
        **process_environment(),
        "MODEL_DATA_URL": f"{tmp_path}/model.tar.gz?sig=MARK",
        "TMPDIR": str(tmp_path),
        "LOG_LEVEL": "WARNING",
    }
    shutil.copy(tmp_path / "model.tar.gz", tmp_path / "model.tar.gz?sig=MARK")
    port = faces.free_port()
    options = f"--runtime-interface-emulator-address 127.0.0.1:{port}"
    options += f" --runtime-api-address 127.0.0.1:{faces.free_port()}"
    settings = {**faces.lambda_settings(), "RIE_OPTIONS": options, **environment}
    with faces.running([str(faces.ENTRY)], settings) as process:
        faces.wait_until_open(port, process)
        answer = faces.EmulatedLambda(f"http://127.0.0.1:{port}").invoke({"uri": "data:,"})
        output = process.output
    assert answer["errorType"] == "StartError"
    assert expected in answer["errorMessage"]
    lines = [line for line in output.splitlines() if line.startswith("{")]
    assert [json.loads(line)["errorMessage"] for line in lines] == [answer["errorMessage"]]
    assert "MARK" not in output


def test_what_was_unpacked_goes_with_the_server_and_not_with_a_worker(
    tmp_path: Path, artifact_folder: Path
) -> None:
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz", compresslevel=1) as tar:
        tar.add(artifact_folder, ".")
    (tmp_path / "tmp").mkdir()
    environment = {
        **process_environment(),
        "WORKERS": "2",
        "MODEL_DATA_URL": f"{tmp_path}/model.tar.gz",
        "TMPDIR": str(tmp_path / "tmp"),
    }
    port = faces.free_port()
    command = [str(faces.ENTRY), "serve", "--host", "127.0.0.1", "--port", str(port)]
    with faces.running(command, environment) as process:
        face = faces.HttpFace(f"http://127.0.0.1:{port}")
        faces.wait_until_healthy(face, process)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        (unpacked,) = (tmp_path / "tmp").glob("model-*")
        for signal in (15, 9):
            os.kill(int(children.pop()), signal)
        deadline = time.monotonic() + 60
        while process.output.count('"Booting worker') < 4 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert (unpacked / "model.onnx").is_file()
        assert process.stop() == 0
    assert list((tmp_path / "tmp").iterdir()) == []

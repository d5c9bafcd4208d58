"""The engines: where each is, what it needs, and the model in the form that it reads."""

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.environments import ROOT, PeerError, python_of, versions

ENGINES = ROOT / "bench" / "engines"
MODELS = ROOT / "build" / "engines" / "models"
MODEL_FILES = ("model.onnx", "model.onnx.data")

# Gets the artifact's folder, the one to fill, and the numbers of threads that will be asked for.
Convert = Callable[[Path, Path, Sequence[int]], None]


@dataclass(frozen=True, kw_only=True)
class Engine:
    """`folder`, in bench/engines, has its `engine.py` and the requirements of its environment."""

    title: str
    folder: str
    packages: tuple[str, ...]  # that an image would hold because of it
    convert: Convert | None = None  # none: it reads the artifact
    cache: bool = False  # the model's folder has `cache` too, which the engine is to load from


@dataclass(frozen=True)
class Contender:
    """An engine that is installed, and its model."""

    engine: Engine
    python: Path
    model: Path

    @property
    def versions(self) -> dict[str, str]:
        return versions(self.python, self.engine.packages)


def ready(name: str, engine: Engine, artifact: Path, threads: Sequence[int]) -> Contender:
    """Install the engine and convert the model, unless both are done. Raises PeerError."""
    python = python_of(engine.folder, "engines")
    if engine.convert is None:
        return Contender(engine, python, artifact)
    folder, stamp = MODELS / name, MODELS / name / "converted"
    made_of = [artifact / file for file in MODEL_FILES]
    made_of += [Path(__file__), *ENGINES.glob("*/requirements.txt"), *ENGINES.glob("*/cache.py")]
    digest = hashlib.sha256(str(threads).encode())
    for path in sorted(made_of):
        digest.update(path.read_bytes())
    if not stamp.exists() or stamp.read_text() != digest.hexdigest():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        engine.convert(artifact, folder, threads)
        stamp.write_text(digest.hexdigest())
    return Contender(engine, python, folder)


def _ncnn(artifact: Path, into: Path, _threads: Sequence[int]) -> None:
    """By pnnx, which leaves a dozen files beside its input. Without `fp16=0` it halves weights."""
    with tempfile.TemporaryDirectory() as scratch:
        for file in MODEL_FILES:
            shutil.copy(artifact / file, scratch)
        # Its entry point imports torch, which the program beside it does not need.
        (program,) = python_of("pnnx", "engines").parent.parent.glob(
            "lib/*/site-packages/pnnx/pnnx"
        )
        _run(str(program), "model.onnx", "inputshape=[1,3,224,224]", "fp16=0", cwd=scratch)
        for file in ("model.ncnn.param", "model.ncnn.bin"):
            shutil.move(Path(scratch, file), into / file)


def _mnn(artifact: Path, into: Path, _threads: Sequence[int]) -> None:
    model = (str(artifact / "model.onnx"), "--MNNModel", str(into / "model.mnn"))
    program = python_of("mnn", "engines").with_name("mnnconvert")
    _run(str(program), "-f", "ONNX", "--modelFile", *model, "--bizCode", "x")


def _openvino_cache(artifact: Path, into: Path, threads: Sequence[int]) -> None:
    """A blob for each number of threads, beside the graph that it was made of."""
    for file in MODEL_FILES:
        shutil.copy(artifact / file, into)
    program = (str(python_of("openvino", "engines")), str(ENGINES / "openvino" / "cache.py"))
    _run(*program, str(into), *map(str, threads))


def _run(*command: str, cwd: str | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    if done.returncode:
        words = (done.stderr or done.stdout).strip()[-800:]
        raise PeerError(f"{Path(command[0]).name} cannot convert the model: {words}")


BASELINE = "onnxruntime"
ENGINES_BY_NAME = {
    BASELINE: Engine(
        title="ONNX Runtime",
        folder="onnxruntime",
        packages=("onnxruntime", "flatbuffers", "packaging", "protobuf"),
    ),
    "openvino": Engine(title="OpenVINO", folder="openvino", packages=("openvino",)),
    "openvino_cached": Engine(
        title="OpenVINO, cached",
        folder="openvino",
        packages=("openvino",),
        convert=_openvino_cache,
        cache=True,
    ),
    "ncnn": Engine(title="ncnn", folder="ncnn", packages=("ncnn",), convert=_ncnn),
    "mnn": Engine(title="MNN", folder="mnn", packages=("mnn",), convert=_mnn),
}

"""The ways to compute the same answers that `bench/numerics.py` compares, and how one is run."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ops.faces import ROOT

EMULATOR = "qemu-x86_64"
_AVX512 = "AVX512F AVX512CD AVX512_KNL AVX512_KNM AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL"

Record = Mapping[str, np.ndarray[Any, Any]]  # what `bench.stages` writes


@dataclass(frozen=True)
class Side:
    """One way to compute the answers. `cpu` is the emulator's name of one, or this machine's."""

    name: str
    environment: Mapping[str, str] = field(default_factory=dict)
    cpu: str = ""
    mxnet: bool = False


class SideError(Exception):
    """A side could not be run; the message says why."""


NATIVE = Side("this machine as it is")
EMULATED = (
    Side("AVX2 and FMA", cpu="Haswell"),
    Side("AVX", cpu="SandyBridge"),
    # NumPy's OpenBLAS takes this one for a CPU with AVX, and dies of it.
    Side("SSE 4.2", {"OPENBLAS_CORETYPE": "Nehalem"}, cpu="Nehalem"),
)
SWITCHED = (
    Side("libjpeg-turbo: SSE2", {"JSIMD_FORCESSE2": "1"}),
    Side("libjpeg-turbo: C", {"JSIMD_FORCENONE": "1"}),
    Side("OpenCV: no AVX-512", {"OPENCV_CPU_DISABLE": "AVX512-SKX"}),
    Side("OpenCV: SSE3", {"OPENCV_CPU_DISABLE": "AVX512-SKX,AVX2,FP16,AVX,SSE4.2,SSE4.1"}),
    Side("NumPy: no AVX-512", {"NPY_DISABLE_CPU_FEATURES": _AVX512}),
    Side("NumPy: no AVX2 or FMA", {"NPY_DISABLE_CPU_FEATURES": f"{_AVX512} AVX2 FMA3"}),
)
THREADS = (
    Side("2 threads", {"OMP_NUM_THREADS": "2"}),
    Side("4 threads", {"OMP_NUM_THREADS": "4"}),
)
LEVELS = (
    Side("graph level extended", {"BENCH_GRAPH_LEVEL": "ORT_ENABLE_EXTENDED"}),
    Side("graph level basic", {"BENCH_GRAPH_LEVEL": "ORT_ENABLE_BASIC"}),
    Side("graph as it is stored", {"BENCH_GRAPH_LEVEL": "ORT_DISABLE_ALL"}),
)
OTHER_ENGINE = (
    Side("MXNet", mxnet=True),
    Side("MXNet: AVX2", {"DNNL_MAX_CPU_ISA": "AVX2"}, mxnet=True),
)
# The same kernels twice, which shows whether the emulator computes as the machine does.
CONTROL = (OTHER_ENGINE[1], Side("MXNet: AVX2, emulated", cpu="Haswell", mxnet=True))
SIDES = (*EMULATED, *SWITCHED, *THREADS, *LEVELS, *OTHER_ENGINE)


def run(side: Side, artifact: Path, pictures: Path) -> Record:
    """What `bench.stages` records of the pictures in a process of that side. Raises SideError."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "container")]),
        "OMP_NUM_THREADS": "1",
        **side.environment,
    }
    emulated = [EMULATOR, "-cpu", side.cpu] if side.cpu else []
    with tempfile.TemporaryDirectory() as temporary:
        folder, out = artifact.absolute(), Path(temporary, "record.npz")
        if side.mxnet:
            folder = _without_onnx(folder, Path(temporary, "artifact"))
        paths = map(str, (folder, pictures, out))
        command = [*emulated, sys.executable, "-m", "bench.stages", *paths]
        done = subprocess.run(
            command, env=environment, check=False, capture_output=True, text=True, cwd=ROOT
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
            raise SideError(f"{side.name}: {lines[-1]}")
        with np.load(out) as record:
            return dict(record)


def _without_onnx(artifact: Path, folder: Path) -> Path:
    """The same artifact as one that MXNet runs."""
    folder.mkdir()
    for path in artifact.iterdir():
        if not path.name.startswith("model.onnx"):
            (folder / path.name).symlink_to(path)
    return folder

"""A round of an engine: one process, cold and then warm, its answer checked."""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from bench.answers import TOLERANCE
from bench.contenders import ENGINES, Contender
from bench.environments import ROOT, PeerError
from bench.measured import WrongAnswer, machine_cpu_seconds
from bench.ours import image_environment
from serving.engines import Tensor

LIMIT_SECONDS = 120


@dataclass(frozen=True)
class EngineRound:
    """Milliseconds, and memory in 10^6 bytes. `warm` is decode, transform, forward and softmax."""

    import_ms: float
    load_ms: float
    first_ms: float
    warm_ms: float  # the median
    warm_mean_ms: float
    warm_billed_ms: float  # the mean of whole milliseconds, each begun one counted
    forward_ms: float  # the median
    peak_rss_mb: float
    rss_mb: float
    other_cpus: float  # what everything else on the machine used meanwhile: the noise
    difference: float  # the largest of a probability

    @property
    def cold_ms(self) -> float:
        return self.import_ms + self.load_ms + self.first_ms


@dataclass(frozen=True)
class Case:
    """What all engines are asked: their answer has to be this one."""

    photo: bytes
    expected: Tensor  # every class's probability

    def difference(self, probabilities: Sequence[float]) -> float:
        """Raises WrongAnswer."""
        found = np.array(probabilities)
        same = found.shape == self.expected.shape
        difference = float(np.abs(found - self.expected).max()) if same else math.inf
        if not difference <= TOLERANCE:  # nor where it is no number
            raise WrongAnswer(
                f"wrong answer: a probability differs by {difference:g} from ONNX Runtime's, more "
                f"than {TOLERANCE:g}"
            )
        return difference


def measure(
    contender: Contender, case: Case, threads: int, prefix: Sequence[str], seconds: float
) -> EngineRound:
    """One round; `seconds` of warm requests. `prefix` goes before its command: the quota.

    Raises WrongAnswer or PeerError.
    """
    adapter = ENGINES / contender.engine.folder
    with tempfile.TemporaryDirectory() as scratch:
        photo, report = Path(scratch, "photo.jpg"), Path(scratch, "report.json")
        photo.write_bytes(case.photo)
        environment = {
            **environment_of(threads),
            "PYTHONPATH": f"{adapter}{os.pathsep}{ROOT / 'container'}",
            "BENCH_PHOTO": str(photo),
            "BENCH_MODEL": str(contender.model),
            "BENCH_SECONDS": str(seconds),
            "BENCH_REPORT": str(report),
            **({"BENCH_CACHE": str(contender.model / "cache")} if contender.engine.cache else {}),
        }
        program = [str(contender.python), str(ENGINES / "shared" / "process.py")]
        machine_before = machine_cpu_seconds()
        started = time.monotonic()
        environment["BENCH_STARTED"] = str(started)
        run([*prefix, *program], environment)
        elapsed, cpu = time.monotonic() - started, machine_cpu_seconds() - machine_before
        found: dict[str, Any] = json.loads(report.read_text())
    other = max(0.0, (cpu - found["cpu_seconds"]) / elapsed)
    kept = {one.name: found[one.name] for one in fields(EngineRound) if one.name in found}
    difference = case.difference(found["probabilities"])
    return EngineRound(other_cpus=other, difference=difference, **kept)


def environment_of(threads: int) -> dict[str, str]:
    """The image's, and the Lambda handler's choice of threads."""
    return {
        **image_environment(),
        "MODEL_NAME": "efficientnet_lite0",  # the one that is converted, whatever is served here
        "OMP_NUM_THREADS": str(threads),
        "PYTHONPATH": str(ROOT / "container"),
    }


def run(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """What it prints. Raises PeerError."""
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise PeerError(f"an engine's process does not end within {LIMIT_SECONDS} s") from None
    if done.returncode:
        words = (done.stderr or done.stdout).strip()[-800:]
        raise PeerError(f"{Path(command[-1]).name} ended with {done.returncode}: {words}")
    return done.stdout


def script(python: Path | None, name: str, *arguments: str, prefix: Sequence[str] = ()) -> str:
    """What a script of bench/engines prints; without `python`, in the environment of this."""
    command = [str(python or sys.executable), str(ENGINES / name), *arguments]
    return run([*prefix, *command], environment_of(1))

"""A live worker refuses hostile and broken pictures quickly and within bounded memory."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from security.hostile import pictures
from soak.server import Server, serving

CPU_SECONDS = 1  # the contract's limit for a refusal
MEMORY_RATIO = 1.5  # the largest peak, relative to the peak with a normal picture


class Figure(NamedTuple):
    """The cost of one picture. `memory`: the worker's peak, relative to a normal picture's."""

    name: str
    status: int
    cpu_seconds: float
    memory: float


class Worker(NamedTuple):
    server: Server
    process: psutil.Process

    def measure(self, name: str, body: bytes, normal_kib: float = 1) -> Figure:
        proc = Path(f"/proc/{self.process.pid}")
        (proc / "clear_refs").write_text("5")  # proc(5): resets the peak, VmHWM
        before = self.process.cpu_times()
        reply = self.server.post(body, "application/x-image")
        peak = re.search(r"^VmHWM:\s+(\d+) kB", (proc / "status").read_text(), re.MULTILINE)
        assert peak
        after = self.process.cpu_times()
        cpu_seconds = after.user + after.system - before.user - before.system
        return Figure(name, reply.status, cpu_seconds, int(peak[1]) / normal_kib)

    def normal_kib(self) -> float:
        """Return the peak memory with a normal picture, in KiB."""
        figure = self.measure("normal", pictures.normal())
        assert figure.status == 200
        return figure.memory


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """Check at the end that the same process still answers and logged no fault."""
    assert 3 * 1024**2 < len(pictures.normal()) < 4 * 1024**2
    cat = pictures.photo("cat.jpg")
    with serving({"WORKERS": "1"}) as server:
        [pid] = server.workers()
        worker = Worker(server, psutil.Process(pid))
        for _ in range(3):
            worker.normal_kib()  # let the heap grow
        before = server.post(cat, "application/x-image").body
        assert json.loads(before)["results"][0]["label"] == "tiger cat"
        yield worker
        assert server.post(cat, "application/x-image").body == before
        assert server.workers() == [pid]
        for line in server.process.output.splitlines():
            if not line.startswith(("libpng ", "Corrupt JPEG")):  # libraries write to stderr
                json.loads(line)


@pytest.mark.parametrize(
    ("made", "status", "cpu_seconds"),
    [(pictures.refused, 422, CPU_SECONDS), (pictures.taken, 200, 9)],
)
def test_pictures_are_answered_within_bounds(
    worker: Worker, made: Callable[[], pictures.Pictures], status: int, cpu_seconds: float
) -> None:
    """Compare each with a normal picture sent shortly before it, since the heap keeps memory."""
    figures = []
    for number, (name, body) in enumerate(made().items()):
        if number % 4 == 0:
            normal = worker.normal_kib()
        figures.append(worker.measure(name, body, normal))
    report(figures, normal)
    assert len(figures) >= 50
    assert [figure for figure in figures if figure.status != status] == []
    assert [figure for figure in figures if figure.cpu_seconds >= cpu_seconds] == []
    assert [figure for figure in figures if figure.memory > MEMORY_RATIO] == []


def report(figures: list[Figure], normal_kib: float) -> None:
    slowest = max(figures, key=lambda figure: figure.cpu_seconds)
    largest = max(figures, key=lambda figure: figure.memory)
    print(
        f"\n{len(figures)} pictures; a normal one takes {normal_kib / 1024:.0f} MiB"
        f"\n  most memory: {largest.memory:.2f} of it, {largest.name}"
        f"\n  most CPU: {slowest.cpu_seconds:.2f} s, {slowest.name}"
    )

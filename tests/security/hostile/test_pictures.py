"""Live faces refuse hostile and broken pictures quickly and within bounded memory."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from ops.local_servers import Face, HttpReply, lambda_process, process_environment
from security.hostile import pictures
from soak.server import Server, serving

CPU_SECONDS = 1  # the contract's limit for a refusal
MEMORY_RATIO = 1.5  # the largest peak, relative to the peak with a normal picture


def post(face: Face, body: bytes) -> HttpReply:
    return face.send("POST", "/invocations", {"Content-Type": "application/x-image"}, body)


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
        reply = post(self.server.face, body)
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
def running() -> Iterator[Worker]:
    assert 3 * 1024**2 < len(pictures.normal()) < 4 * 1024**2
    with serving({"WORKERS": "1"}) as server:
        [pid] = server.workers()
        worker = Worker(server, psutil.Process(pid))
        for _ in range(3):
            worker.normal_kib()  # let the heap grow
        yield worker


@pytest.fixture(scope="module")
def answer(running: Worker) -> bytes:
    reply = post(running.server.face, pictures.photo("cat.jpg"))
    assert json.loads(reply.body)["results"][0]["label"] == "tiger cat"
    return reply.body


@pytest.fixture
def worker(running: Worker, answer: bytes) -> Iterator[Worker]:
    """Check after the test that the same process still answers and logged no fault."""
    yield running
    assert post(running.server.face, pictures.photo("cat.jpg")).body == answer
    assert running.server.workers() == [running.process.pid]
    for line in running.server.process.output.splitlines():
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


@pytest.mark.parametrize("size", [4 * 1024**2 + 1, 20 * 1024**2])
def test_a_body_over_the_limit_is_413(worker: Worker, size: int) -> None:
    body = pictures.photo("cat.jpg") + bytes(size)
    figure = worker.measure("large", body, worker.normal_kib())
    assert figure.status == 413
    assert figure.memory <= MEMORY_RATIO


def test_the_lambda_face_answers_alike(answer: bytes) -> None:
    """Send a sample, since the emulator is slow. A crashed function would give no answer."""
    refused = [*pictures.refused().values()][::10]
    taken = [body for name, body in pictures.taken().items() if "animation" in name]
    with lambda_process(process_environment()) as function:
        assert {post(function, body).status for body in refused} == {422}
        assert {post(function, body).status for body in taken} == {200}
        assert post(function, pictures.photo("cat.jpg")).body == answer


def report(figures: list[Figure], normal_kib: float) -> None:
    slowest = max(figures, key=lambda figure: figure.cpu_seconds)
    largest = max(figures, key=lambda figure: figure.memory)
    print(
        f"\n{len(figures)} pictures; a normal one takes {normal_kib / 1024:.0f} MiB"
        f"\n  most memory: {largest.memory:.2f} of it, {largest.name}"
        f"\n  most CPU: {slowest.cpu_seconds:.2f} s, {slowest.name}"
    )

"""Hostile and broken pictures, sent to live faces: refused soon, within bounded memory."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import pytest

from hostile import pictures
from ops import faces
from ops.faces import ENTRY, Face, HttpFace, Process, Reply
from ops.local import process_environment

DEADLINE_SECONDS = 1  # the contract's, of a refusal
MEMORY_RATIO = 1.5  # of what a normal picture takes
TRIES = 3  # of which the fastest counts: others use the machine, too


def post(face: Face, body: bytes) -> Reply:
    return face.send("POST", "/invocations", {"Content-Type": "application/x-image"}, body)


@dataclass(frozen=True)
class Worker:
    """The one process that answers."""

    face: HttpFace
    server: Process

    @property
    def pid(self) -> int:
        children = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children").read_text()
        (only,) = children.split()
        return int(only)

    def post(self, body: bytes) -> tuple[Reply, int]:
        """The reply, and the most memory that the worker had meanwhile, in KiB."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")  # proc(5): resets VmHWM
        reply = post(self.face, body)
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
        assert found
        return reply, int(found[1])

    def kilobytes_of_a_normal_picture(self) -> int:
        reply, kilobytes = self.post(pictures.normal())
        assert reply.status == 200
        return kilobytes


class Figure(NamedTuple):
    """What one picture took. `memory`: the worker's peak, of that with a normal picture."""

    name: str
    status: int
    seconds: float
    memory: float


by_seconds, by_memory = attrgetter("seconds"), attrgetter("memory")


@contextmanager
def one_worker() -> Iterator[Worker]:
    port = faces.free_port()
    command = [str(ENTRY), "serve", "--host", "127.0.0.1", "--port", str(port)]
    with faces.running(command, {**process_environment(), "WORKERS": "1"}) as server:
        face = HttpFace(f"http://127.0.0.1:{port}")
        faces.wait_until_healthy(face, server)
        yield Worker(face, server)


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with one_worker() as running:
        yield running


@pytest.fixture(scope="module")
def answer(worker: Worker) -> bytes:
    """What a photograph gets as long as all is well."""
    reply = post(worker.face, pictures.photo("cat.jpg"))
    assert json.loads(reply.body)["results"][0]["label"] == "tiger cat"
    return reply.body


@pytest.fixture(scope="module")
def normal_kilobytes(worker: Worker) -> int:
    """The memory of a worker that has answered a few normal pictures."""
    assert 3 * 1024**2 < len(pictures.normal()) < 4 * 1024**2
    return [worker.kilobytes_of_a_normal_picture() for _ in range(4)][-1]


def check_afterwards(worker: Worker, pid: int, answer: bytes) -> None:
    """The same process still answers rightly, and nothing but JSON was logged."""
    assert post(worker.face, pictures.photo("cat.jpg")).body == answer
    assert worker.pid == pid
    for line in worker.server.output.splitlines():
        json.loads(line)


def test_each_is_refused_within_its_bounds(
    worker: Worker, answer: bytes, normal_kilobytes: int
) -> None:
    pid, figures = worker.pid, []
    for name, body in pictures.refused().items():
        reply, kilobytes = worker.post(body)
        seconds = [reply.seconds]
        while min(seconds) >= DEADLINE_SECONDS and len(seconds) < TRIES:
            seconds.append(post(worker.face, body).seconds)
        figures.append(Figure(name, reply.status, min(seconds), kilobytes / normal_kilobytes))
    report(figures, normal_kilobytes)
    assert len(figures) >= 60
    assert [figure for figure in figures if figure.status != 422] == []
    assert [figure for figure in figures if figure.seconds >= DEADLINE_SECONDS] == []
    assert [figure for figure in figures if figure.memory > MEMORY_RATIO] == []
    check_afterwards(worker, pid, answer)


def test_what_only_looks_hostile_is_answered_within_its_bounds(
    worker: Worker, answer: bytes
) -> None:
    """Compared with a normal picture right before: the heap keeps some of what it once needed.

    Time is not asserted: the largest may take more than a second on a slow machine.
    """
    pid, figures = worker.pid, []
    for name, body in pictures.taken().items():
        normal = worker.kilobytes_of_a_normal_picture()
        reply, kilobytes = worker.post(body)
        figures.append(Figure(name, reply.status, reply.seconds, kilobytes / normal))
    report(figures, normal)
    assert [figure for figure in figures if figure.status != 200] == []
    assert [figure for figure in figures if figure.memory > MEMORY_RATIO] == []
    check_afterwards(worker, pid, answer)


def test_what_is_larger_than_a_body_may_be_is_413(
    worker: Worker, answer: bytes, normal_kilobytes: int
) -> None:
    pid = worker.pid
    for size in (4 * 1024**2 + 1, 20 * 1024**2):
        reply, kilobytes = worker.post(pictures.photo("cat.jpg") + bytes(size))
        assert reply.status == 413
        assert kilobytes <= MEMORY_RATIO * normal_kilobytes
    check_afterwards(worker, pid, answer)


def test_the_lambda_face_answers_alike(answer: bytes) -> None:
    """A tenth of them: the emulator is slow. A function that crashed would give no answer."""
    refused = [*pictures.refused().values()][::10]
    taken = [body for name, body in pictures.taken().items() if "animation" in name]
    with faces.lambda_process(process_environment()) as function:
        assert {post(function, body).status for body in refused} == {422}
        assert {post(function, body).status for body in taken} == {200}
        assert post(function, pictures.photo("cat.jpg")).body == answer


def report(figures: Sequence[Figure], normal_kilobytes: int) -> None:
    """For a reader of the test's output (`pytest -s`)."""
    slowest, largest = max(figures, key=by_seconds), max(figures, key=by_memory)
    print(
        f"\n{len(figures)} pictures; a normal one takes {normal_kilobytes / 1024:.0f} MiB"
        f"\n  most memory: {largest.memory:.2f} of it, {largest.name}"
        f"\n  slowest: {slowest.seconds:.3f} s, {slowest.name}"
    )

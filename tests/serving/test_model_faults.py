"""A model that fails in every way that a replaced `inference.py` can: its request fails alone."""

import json
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import urllib3

from ops import faces
from ops.faces import Reply
from soak.server import Server, serving

ONE = {"WORKERS": "1"}
WAIT_SECONDS = 60.0  # for what comes within a few

MODEL = """
import os, sys, threading, time
from serving.contract import Payload

PAYLOAD_TYPES = frozenset({"image/jpeg"})
busy = threading.Lock()

class Odd(BaseException):
    pass

def load_model(model_path):
    return {}

def infer(request, net):
    what = request.get("do")
    if what == "raise":
        raise RuntimeError("a fault of the model")
    if what == "set":
        return {1, 2}
    if what == "nan":
        return {"probability": float("nan")}
    if what == "exit":
        sys.exit(3)
    if what == "odd":
        raise Odd
    if what == "memory":
        return {"length": len(bytearray(64 << 30))}
    if what == "hang":
        with busy:
            time.sleep(3600)
    if what == "killed":
        os.kill(os.getpid(), 9)
    with busy:
        return {"pid": os.getpid(), "said": request.get("say")}

def warm_up(net):
    with busy:
        pass
"""


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`entry.sh` beside a package with another inference.py, as in a user's image."""
    container = tmp_path_factory.mktemp("container")
    shutil.copytree(
        faces.ENTRY.parent / "serving",
        container / "serving",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    (container / "serving" / "inference.py").write_text(MODEL)
    return Path(shutil.copy(faces.ENTRY, container))


@pytest.fixture(scope="module")
def failing(entry: Path) -> Iterator[Server]:
    """With 8 GiB of addresses: what asks for more gets a MemoryError."""
    with serving(ONE, entry=entry, prefix=["prlimit", f"--as={8 << 30}"]) as server:
        yield server


def ask(server: Server, request_id: str = "", **request: object) -> Reply:
    named = {"X-Amzn-SageMaker-Inference-Id": request_id} if request_id else {}
    return server.post(json.dumps(request).encode(), **named)


@contextmanager
def others(server: Server) -> Iterator[None]:
    """Clients that ask meanwhile, each of which must get its own right answer."""
    over = threading.Event()

    def client(number: int) -> int:
        asked = 0
        while not over.is_set():
            reply = ask(server, say=[number, asked])
            assert reply.status == 200, reply
            assert json.loads(reply.body)["said"] == [number, asked]
            asked += 1
        return asked

    with ThreadPoolExecutor(4) as clients:
        asking = [clients.submit(client, number) for number in range(4)]
        try:
            yield
        finally:
            over.set()
        assert all(future.result() for future in asking)


@pytest.mark.parametrize("fault", ["raise", "set", "nan", "exit", "odd", "memory"])
def test_a_fault_of_the_model_is_its_requests_alone(failing: Server, fault: str) -> None:
    workers = failing.workers()
    ids = [f"{fault}-{number}" for number in range(5)]
    with others(failing):
        replies = [ask(failing, request_id, do=fault) for request_id in ids]
    assert [reply.status for reply in replies] == [500] * 5
    assert {json.loads(reply.body)["error"]["code"] for reply in replies} == {"internal_error"}
    assert failing.get("/ping").status == 200  # the model has answered its warm-up since
    assert failing.workers() == workers
    for request_id in ids:
        records = [record for record in failing.log() if record.get("requestId") == request_id]
        assert [record["message"] for record in records] == ["fault", "request"]
        assert records[0]["traceback"]
        assert (records[1]["status"], records[1]["code"]) == (500, "internal_error")


def test_a_worker_that_is_killed_for_its_memory_is_replaced(entry: Path) -> None:
    """As the kernel kills it. The other worker goes on meanwhile."""
    with serving({}, entry=entry) as server:
        server.wait_for_ready(2)
        first = set(server.workers())
        with pytest.raises(urllib3.exceptions.HTTPError):
            ask(server, do="killed")
        assert ask(server, say="still here").status == 200
        server.wait_for_ready(3)
        second = set(server.workers())
        assert len(second) == 2
        assert len(first & second) == 1
        assert server.get("/ping").status == 200


def test_a_worker_whose_model_is_stuck_is_replaced(entry: Path) -> None:
    """And says 503 from when that is known until it has gone."""
    with (
        serving({**ONE, "STUCK_SECONDS": "2"}, entry=entry) as server,
        ThreadPoolExecutor(1) as clients,
    ):
        (first,) = server.workers()
        hanging = clients.submit(ask, server, do="hang")
        server.wait_for("the model is stuck", 1)
        statuses = _pings(server, first)
        with pytest.raises(urllib3.exceptions.HTTPError):
            hanging.result(WAIT_SECONDS)
        server.wait_for_ready(2)
        assert statuses[0] == 503
        assert server.get("/ping").status == 200
        assert json.loads(ask(server, say=1).body)["pid"] != first
        (line,) = [
            record for record in server.log() if record["message"].startswith("the model is")
        ]
    assert line["level"] == "ERROR"


def _pings(server: Server, worker: int) -> Sequence[int]:
    """What pings get until the worker has gone."""
    statuses = []
    deadline = time.monotonic() + WAIT_SECONDS
    while worker in server.workers() and time.monotonic() < deadline:
        with suppress(urllib3.exceptions.HTTPError):
            statuses.append(server.get("/ping").status)
        time.sleep(0.05)
    return statuses

"""A replaced `inference.py` fails in every way that it can: only its own request fails."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ops.local_servers import FaceError, HttpReply, wait_until_open
from soak.server import Server, entry_with, serving, starting

ONE = {"WORKERS": "1"}

MODEL = """
import os, sys, threading, time

PAYLOAD_TYPES = frozenset({"image/jpeg"})
busy = threading.Lock()

def throw(error):
    raise error

FAULTS = {
    "raise": lambda: throw(RuntimeError("a fault of the model")),
    "set": lambda: {1, 2},
    "exit": lambda: sys.exit(3),
    "memory": lambda: {"length": len(bytearray(64 << 30))},
    "killed": lambda: os.kill(os.getpid(), 9),
}

def load_model(model_path):
    loaded = os.environ.get("LOADED", "")
    if loaded == "never":
        raise RuntimeError("no such weights")
    while loaded and not os.path.exists(loaded):
        time.sleep(0.1)
    return {}

def infer(request, net):
    what = request.get("do")
    if what in FAULTS:
        return FAULTS[what]()
    with busy:
        if what == "hang":
            time.sleep(3600)
        return {"pid": os.getpid(), "said": request.get("say")}

def warm_up(net):
    with busy:
        pass
"""


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return entry_with(MODEL, tmp_path_factory.mktemp("container"))


@pytest.fixture(scope="module")
def failing(entry: Path) -> Iterator[Server]:
    """Limit the address space to 8 GiB: larger allocations raise MemoryError."""
    with serving(ONE, entry=entry, prefix=["prlimit", f"--as={8 << 30}"]) as server:
        yield server


def ask(server: Server, request_id: str = "", **request: object) -> HttpReply:
    named = {"X-Amzn-SageMaker-Inference-Id": request_id} if request_id else {}
    return server.post(json.dumps(request).encode(), **named)


@pytest.mark.parametrize("fault", ["raise", "set", "exit", "memory"])
def test_a_fault_of_the_model_fails_only_its_own_request(failing: Server, fault: str) -> None:
    workers = failing.workers()
    ids = [f"{fault}-{number}" for number in range(5)]
    with ThreadPoolExecutor(4) as clients:
        others = [clients.submit(ask, failing, say=number) for number in range(50)]
        replies = [ask(failing, request_id, do=fault) for request_id in ids]
    assert [json.loads(other.result().body)["said"] for other in others] == [*range(50)]
    assert [reply.status for reply in replies] == [500] * 5
    assert {json.loads(reply.body)["error"]["code"] for reply in replies} == {"internal_error"}
    assert failing.get("/ping").status == 200  # the model has answered a warm-up since the fault
    assert failing.workers() == workers
    for request_id in ids:
        records = [record for record in failing.log() if record.get("requestId") == request_id]
        assert [record["message"] for record in records] == ["fault", "request"]
        assert records[0]["traceback"]
        assert (records[1]["status"], records[1]["code"]) == (500, "internal_error")


def test_a_killed_worker_fails_only_its_own_request(entry: Path) -> None:
    """The kernel kills processes that use too much memory. A new worker replaces the killed one."""
    with serving({}, entry=entry) as server:
        server.wait_for_ready(2)
        first = set(server.workers())
        reply = ask(server, do="killed")
        assert ask(server, say="still here").status == 200
        server.wait_for_ready(3)
        second = set(server.workers())
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
        assert json.loads(reply.body)["error"]["code"] == "not_ready"
        assert (len(second), len(first & second)) == (2, 1)
        assert server.get("/ping").status == 200


def test_a_worker_whose_model_is_stuck_is_replaced(entry: Path) -> None:
    """Its request gets 503, and so do pings until the model is loaded again."""
    with serving({**ONE, "STUCK_SECONDS": "2"}, entry=entry) as server:
        (first,) = server.workers()
        assert ask(server, do="hang").status == 503
        server.wait_for_ready(2)
        assert json.loads(ask(server, say=1).body)["pid"] != first
        assert server.get("/ping").status == 200
        stuck = [line for line in server.log() if line["message"].startswith("the model is stuck")]
    assert [line["level"] for line in stuck] == ["ERROR"]


def test_pings_are_503_while_the_model_is_loaded(entry: Path, tmp_path: Path) -> None:
    """Pings are answered at once, although a model may take minutes."""
    loaded = tmp_path / "loaded"
    with starting({**ONE, "LOADED": str(loaded)}, entry=entry) as server:
        wait_until_open(server.port, server.process)
        assert [server.get("/ping").status for _ in range(5)] == [503] * 5
        loaded.touch()
        server.wait_for_ready(1)
        assert server.get("/ping").status == 200


def test_a_model_that_cannot_be_loaded_ends_the_server(entry: Path) -> None:
    with starting({"LOADED": "never"}, entry=entry) as server:
        with pytest.raises(FaceError):
            server.wait_for_ready(1)
        (error,) = [record for record in server.log() if record["level"] == "ERROR"]
        assert server.process.stop() == 1
    assert error["message"] == "load_model failed"
    assert "no such weights" in error["traceback"]

"""What only the HTTP server can get wrong: draining, keep-alive, large and chunked bodies, logs."""

import http.client
import json
import os
import signal
import socket
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import urllib3

from cases import PHOTOS
from live import serving, worker_of, workers_of
from ops import faces
from ops.faces import HttpFace
from ops.local import process_environment

PHOTO = (PHOTOS / "cat.jpg").read_bytes()
JPEG = {"Content-Type": "image/jpeg"}


def test_sigterm_loses_no_request() -> None:
    """Clients with a connection each and with one kept alive, 24 at once, while the server ends."""
    outcomes: list[object] = []
    ended = threading.Event()

    def client(keep_alive: bool) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while True:
            try:
                connection.connect()
            except ConnectionRefusedError:
                return  # the listener is closed: a load balancer goes elsewhere
            while True:
                try:
                    connection.request("POST", "/invocations", PHOTO, JPEG)
                    reply = connection.getresponse()
                    outcomes.append((reply.status, len(reply.read())))
                except (http.client.HTTPException, OSError) as error:
                    outcomes.append(error)
                    return
                if not keep_alive or reply.will_close:
                    break
            connection.close()
            if ended.is_set():
                return

    with serving() as (port, server):
        clients = [threading.Thread(target=client, args=(i % 2 == 0,)) for i in range(24)]
        for thread in clients:
            thread.start()
        time.sleep(1)
        answered = len(outcomes)
        started = time.monotonic()
        status = server.stop()
        seconds = time.monotonic() - started
        ended.set()
        for thread in clients:
            thread.join(60)
    assert status == 0
    assert seconds < 30
    assert answered > 24
    assert {outcome for outcome in outcomes if not isinstance(outcome, tuple)} == set()
    assert {outcome[0] for outcome in outcomes if isinstance(outcome, tuple)} == {200}


def test_sigterm_answers_what_waits_in_the_backlog() -> None:
    """Connections that the kernel has accepted and no worker has, when SIGTERM comes."""
    with serving(WORKERS="1") as (port, server):
        os.kill(worker_of(server), signal.SIGSTOP)
        waiting = [http.client.HTTPConnection("127.0.0.1", port, timeout=30) for _ in range(16)]
        for connection in waiting:
            connection.request("POST", "/invocations", PHOTO, JPEG)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        time.sleep(0.3)
        os.kill(worker_of(server), signal.SIGCONT)
        assert [connection.getresponse().status for connection in waiting] == [200] * 16
        stopping.join(35)
        for connection in waiting:
            connection.close()


@pytest.mark.parametrize("arrived", [b"GET /pi", b"GET /ping HTTP/1.1\r\nHos"])
def test_sigterm_waits_for_a_request_that_has_begun(arrived: bytes) -> None:
    whole = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
    with (
        serving(WORKERS="1") as (port, server),
        socket.create_connection(("127.0.0.1", port), timeout=30) as peer,
    ):
        peer.sendall(arrived)
        time.sleep(0.5)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        time.sleep(1)
        peer.sendall(whole.removeprefix(arrived))
        assert peer.recv(65536).startswith(b"HTTP/1.1 200 ")
        stopping.join(35)


def test_a_worker_that_dies_is_replaced() -> None:
    with serving(WORKERS="1") as (port, server):
        first = worker_of(server)
        os.kill(first, signal.SIGKILL)
        deadline = time.monotonic() + 20
        status = 0
        while status != 200 and time.monotonic() < deadline:
            time.sleep(0.1)
            try:
                status = HttpFace(f"http://127.0.0.1:{port}").send("GET", "/ping", {}).status
            except OSError:
                continue
        assert (status, worker_of(server) != first) == (200, True)


def test_connections_are_spread_over_the_workers() -> None:
    """They are kept alive: one that took them all would infer alone for as long as they last."""
    with serving(WORKERS="2") as (port, server), ExitStack() as stack:
        while server.output.count('"message": "ready"') < 2:
            server.check()
            time.sleep(0.05)
        workers = workers_of(server)
        before = [sockets_of(worker) for worker in workers]
        for _ in range(16):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            stack.callback(connection.close)
            connection.request("GET", "/ping")
            assert connection.getresponse().read() == b""
        taken = [sockets_of(worker) - of for worker, of in zip(workers, before)]
    assert sum(taken) == 16
    assert min(taken) >= 5


def sockets_of(pid: int) -> int:
    return sum(
        str(link.readlink()).startswith("socket:") for link in Path(f"/proc/{pid}/fd").iterdir()
    )


def test_beyond_the_waiting_places_the_server_refuses_and_still_answers_pings() -> None:
    statuses: list[int] = []

    def client() -> None:
        face = HttpFace(f"http://127.0.0.1:{port}")
        for _ in range(10):
            reply = face.send("POST", "/invocations", JPEG, PHOTO)
            statuses.append(reply.status)
            if reply.status == 503:
                assert reply.headers["retry-after"] == "1"
                assert json.loads(reply.body)["error"]["code"] == "overloaded"

    with serving(WORKERS="1", MAX_WAITING="1") as (port, _):
        clients = [threading.Thread(target=client) for _ in range(8)]
        for thread in clients:
            thread.start()
        pings = [HttpFace(f"http://127.0.0.1:{port}").send("GET", "/ping", {}) for _ in range(5)]
        for thread in clients:
            thread.join(60)
    assert set(statuses) == {200, 503}
    assert len(statuses) == 80
    assert [ping.status for ping in pings] == [200] * 5
    assert max(ping.seconds for ping in pings) < 2  # SageMaker's own limit


def test_a_chunked_body_is_a_body() -> None:
    with serving(WORKERS="1") as (port, _):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        halves = [PHOTO[:9999], PHOTO[9999:]]
        connection.request("POST", "/invocations", iter(halves), JPEG, encode_chunked=True)
        chunked = connection.getresponse().read()
        connection.request("POST", "/invocations", PHOTO, JPEG)
        assert connection.getresponse().read() == chunked
        connection.close()


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "chunked"])
def test_the_answer_to_a_body_that_is_too_large_reaches_its_sender(chunked: bool) -> None:
    """A client that sends all of it before it reads must not find the connection reset."""
    with serving(WORKERS="1") as (port, _):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        block = bytes(1024 * 1024)
        body = iter([block] * 12) if chunked else block * 12
        connection.request("POST", "/invocations", body, JPEG, encode_chunked=chunked)
        assert connection.getresponse().status == 413
        connection.close()


@pytest.mark.parametrize(
    "body", [b"zz\r\nnot hex\r\n0\r\n\r\n", b"5\r\nabcdefgh\r\n0\r\n\r\n"], ids=["size", "end"]
)
def test_a_broken_chunked_body_is_the_callers_fault(body: bytes) -> None:
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
    with (
        serving(WORKERS="1") as (port, server),
        socket.create_connection(("127.0.0.1", port), timeout=10) as peer,
    ):
        peer.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n" + body)
        answer = b""
        while not answer.endswith(b"}"):
            more = peer.recv(65536)
            assert more, answer
            answer += more
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b'"code":"malformed_request"' in answer
        assert "traceback" not in server.output


def test_peers_that_send_nothing_or_stay_do_not_hold_up_a_ping() -> None:
    """60 of each, more than a process has threads."""
    with serving(WORKERS="1") as (port, _):
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
        staying = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
        for peer in staying:
            peer.sendall(b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        time.sleep(0.2)
        ping = HttpFace(f"http://127.0.0.1:{port}").send("GET", "/ping", {})
        for peer in staying:
            assert peer.recv(65536).startswith(b"HTTP/1.1 404 ")
        for peer in silent + staying:
            peer.close()
    assert ping.status == 200


def test_every_record_is_logged_once_as_json_with_its_request_id() -> None:
    with serving(WORKERS="1") as (port, server):
        face = HttpFace(f"http://127.0.0.1:{port}")
        face.send("POST", "/invocations", {**JPEG, "X-Amzn-SageMaker-Inference-Id": "abc"}, PHOTO)
        face.send("POST", "/invocations", {**JPEG, "X-Amzn-SageMaker-Inference-Id": "def"}, b"x")
        face.send("POST", "/invocations", JPEG, PHOTO)
        face.send("GET", "/ping", {})
        server.stop()
        records = [json.loads(line) for line in server.output.splitlines()]
    requests = [record for record in records if record["message"] == "request"]
    assert [(r["status"], r.get("code")) for r in requests] == [
        (200, None),
        (422, "undecodable_image"),
        (200, None),
    ]
    assert [r["requestId"] for r in requests[:2]] == ["abc", "def"]
    assert len(requests[2]["requestId"]) == 32
    assert [r["modelName"] for r in records if r["message"] == "ready"] == ["efficientnet_lite0"]


def test_the_server_says_that_it_is_not_ready_while_the_model_is_loaded(tmp_path: Path) -> None:
    """503, not silence: between the listener and the model lies the time of load_model."""
    port = faces.free_port()
    command = [str(faces.ENTRY), "serve", "--host", "127.0.0.1", "--port", str(port)]
    slow = tmp_path / "sitecustomize.py"
    slow.write_text(
        "import time, serving.inference as model\n"
        "fast = model.load_model\n"
        "def load_model(folder):\n"
        "    time.sleep(3)\n"
        "    return fast(folder)\n"
        "model.load_model = load_model\n"
    )
    environment = {**process_environment(), "WORKERS": "1", "PYTHONPATH": str(tmp_path)}
    with faces.running(command, environment) as server:
        face = HttpFace(f"http://127.0.0.1:{port}")
        seen: list[int] = []
        slowest = 0.0
        deadline = time.monotonic() + 30
        while 200 not in seen and time.monotonic() < deadline:
            server.check()
            with suppress(urllib3.exceptions.HTTPError):  # nothing listens yet
                ping = face.send("GET", "/ping", {})
                seen.append(ping.status)
                slowest = max(slowest, ping.seconds)
            time.sleep(0.05)
        assert seen[0] == 503
        assert set(seen) == {503, 200}
        assert slowest < 2  # SageMaker's own limit

"""Peers that send slowly, never end, or never read: they cost a connection, and no thread.

The deadlines are those of serving.worker. The server has 40 threads, and each case more peers.
"""

import http.client
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from cases import PHOTOS
from live import serving, worker_of
from ops.faces import HttpFace
from serving import worker

PHOTO = (PHOTOS / "cat.jpg").read_bytes()
JPEG = {"Content-Type": "image/jpeg"}
HEAD = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
PEERS = 100


@contextmanager
def peers(port: int, first: bytes, then: bytes = b"") -> Iterator[list[socket.socket]]:
    """Connections that send `first`, and then `then` again and again, a moment apart."""
    stop = threading.Event()

    def trickle() -> None:
        while not stop.wait(0.2):
            for peer in connected:
                with suppress(OSError):
                    peer.send(then, socket.MSG_DONTWAIT)

    with ExitStack() as stack:
        connected = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            for _ in range(PEERS)
        ]
        for peer in connected:
            peer.sendall(first)
        thread = threading.Thread(target=trickle)
        thread.start()
        yield connected
        stop.set()
        thread.join()


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (b"", b""),
        (b"POST /invocations HTTP/1.1\r\n", b"A: b\r\n"),
        (HEAD + b"Content-Length: 1000\r\n\r\n", b"x"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (HEAD + b"Content-Length: 999999999\r\n\r\n", b"x" * 1000),
    ],
    ids=["silence", "endless headers", "trickled body", "endless chunks", "too large, trickled"],
)
def test_others_are_served_meanwhile(first: bytes, then: bytes) -> None:
    with serving(WORKERS="1") as (port, _), peers(port, first, then):
        time.sleep(1)
        face = HttpFace(f"http://127.0.0.1:{port}")
        replies = [face.send("POST", "/invocations", JPEG, PHOTO) for _ in range(5)]
        ping = face.send("GET", "/ping", {})
    assert [reply.status for reply in replies] == [200] * 5
    assert ping.status == 200
    assert ping.seconds < 2  # SageMaker's own limit


def test_peers_that_never_read_are_given_up() -> None:
    """Each sends requests with large answers until the kernel takes no more, and reads none."""
    body = json.dumps([None] * 1000).encode()
    request = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with serving(WORKERS="1") as (port, _), ExitStack() as stack:
        for _ in range(PEERS):
            peer = stack.enter_context(socket.socket())
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.connect(("127.0.0.1", port))
            with suppress(BlockingIOError):
                for _ in range(50):
                    peer.send(request, socket.MSG_DONTWAIT)
        face = HttpFace(f"http://127.0.0.1:{port}")
        assert face.send("POST", "/invocations", JPEG, PHOTO).status == 200
        ping = face.send("GET", "/ping", {})
        assert (ping.status, ping.seconds < 2) == (200, True)  # SageMaker's own limit


def test_a_request_that_does_not_come_is_told_so() -> None:
    """The headers' deadline; `make soak` waits for that of a whole request, too."""
    started = time.monotonic()
    with serving(WORKERS="1") as (port, _), peers(port, b"GET /ping HTTP/1.1\r\nX-") as connected:
        answer = http.client.HTTPResponse(connected[0])
        answer.begin()
        assert answer.status == 408
        assert json.loads(answer.read())["error"]["code"] == "request_timeout"
        assert connected[0].recv(1) == b""
    assert time.monotonic() - started > worker.HEAD_SECONDS - 1


@pytest.mark.parametrize("sent", [b"", b"GET /ping HTTP/1.1\r\nX-"], ids=["silence", "a head"])
def test_the_oldest_gives_way_when_there_are_too_many(sent: bytes) -> None:
    """1,000 such peers would otherwise keep everybody out, for as long as they like."""
    with serving(WORKERS="1") as (port, _), ExitStack() as stack:
        peers = []
        for _ in range(1050):
            peer = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            peer.sendall(sent)
            peers.append(peer)
        face = HttpFace(f"http://127.0.0.1:{port}")
        pings = [face.send("GET", "/ping", {}) for _ in range(12)]
        assert [ping.status for ping in pings] == [200] * 12
        assert max(ping.seconds for ping in pings) < 2  # SageMaker's own limit
        assert peers[0].recv(65536).startswith(b"HTTP/1.1 503 " if sent else b"")


def test_uploads_that_stall_hold_no_more_than_a_bound() -> None:
    """The oldest is refused when all of them hold too much; the newest is not."""
    part = HEAD + b"Content-Length: 4000000\r\n\r\n" + b"x" * 3_000_000
    count = worker.MAX_WAITING_BYTES // 3_000_000 + 3
    with serving(WORKERS="1") as (port, _), ExitStack() as stack:
        stalled = []
        for _ in range(count):
            peer = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            peer.sendall(part)
            stalled.append(peer)
        answer = http.client.HTTPResponse(stalled[0])
        answer.begin()
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        stalled[-1].sendall(b"x" * 1_000_000)
        last = http.client.HTTPResponse(stalled[-1])
        last.begin()
        assert last.status == 400  # no JSON


def test_one_that_gives_way_takes_no_other_with_it() -> None:
    """The worker sees all at once: the oldest is refused while its own last bytes are here."""
    head = HEAD + b"Content-Length: 4000000\r\n\r\n"
    with serving(WORKERS="1") as (port, server), ExitStack() as stack:
        worker_id = worker_of(server)
        peers = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            for _ in range(20)
        ]
        for peer in peers:  # in all a little less than worker.MAX_WAITING_BYTES
            peer.sendall(head + b"x" * (3_900_000 if peer is peers[0] else 3_250_000))
            time.sleep(0.05)
        time.sleep(1)
        os.kill(worker_id, signal.SIGSTOP)
        for peer in peers[1:]:
            peer.sendall(b"x" * 120_000)
        peers[0].sendall(b"x" * 100_000)
        os.kill(worker_id, signal.SIGCONT)
        for peer in peers[1:]:
            peer.sendall(b"x" * 630_000)
        answers = []
        for peer in peers:
            answer = http.client.HTTPResponse(peer)
            answer.begin()
            answers.append(answer.status)
        assert worker_of(server) == worker_id
    assert set(answers) <= {400, 503}  # no JSON, or given way
    assert answers.count(400) >= 15


def test_two_uploads_of_the_largest_kind_fit() -> None:
    """What the stack sets for an asynchronous endpoint, which takes bodies of 64 MiB."""
    head = HEAD + b"Content-Length: 40000000\r\n\r\n"
    with serving(WORKERS="1", MAX_BODY_BYTES=str(64 * 1024**2)) as (port, _), ExitStack() as stack:
        peers = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            for _ in range(2)
        ]
        for peer in peers:
            peer.sendall(head + b"x" * 39_000_000)
        for peer in peers:
            peer.sendall(b"x" * 1_000_000)
            answer = http.client.HTTPResponse(peer)
            answer.begin()
            assert answer.status == 400  # no JSON


NO_REQUESTS = [
    (b"\x16\x03\x01 rubbish\r\n\r\n", 400, "malformed_request"),
    (b"GET /ping?X-Amz-Signature=SECRET HTTP/9.9 x\r\n\r\n", 400, "malformed_request"),
    (b"GET /ping HTTP/1.1\r\nSECRET\r\n\r\n", 400, "malformed_request"),
    (b"GET /ping HTTP/1.1\nHost: x\n\r\n\r\n", 400, "malformed_request"),
    (b"GET /ping HTTP/1.1\r\nAuthorization: SEC\x01RET\r\n\r\n", 400, "malformed_request"),
    (b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\n\r\n", 431, "headers_too_large"),
    (b"GET /ping HTTP/1.1\r\n" + b"A: b\r\n" * 101 + b"\r\n", 431, "headers_too_large"),
    (b"GET /ping HTTP/1.1\r\nA: " + b"x" * 70_000 + b"\r\n\r\n", 431, "headers_too_large"),
    (HEAD + b"Expect: SECRET\r\n\r\n", 400, "malformed_request"),
    (HEAD + b"Transfer-Encoding: SECRET\r\n\r\n", 400, "malformed_request"),
]


def test_what_is_no_request_is_refused_in_json_and_not_quoted() -> None:
    with serving(WORKERS="1") as (port, server):
        for sent, status, code in NO_REQUESTS:
            with socket.create_connection(("127.0.0.1", port), timeout=30) as peer:
                peer.sendall(sent)
                answer = http.client.HTTPResponse(peer)
                answer.begin()
                body = answer.read()
                assert (answer.status, json.loads(body)["error"]["code"]) == (status, code), sent
                assert b"SECRET" not in body
                identity = answer.headers["X-Amzn-SageMaker-Custom-Attributes"]
                assert identity.startswith("image=local;")
        assert HttpFace(f"http://127.0.0.1:{port}").send("GET", "/ping", {}).status == 200
        server.stop()
        log = server.output
    records = [json.loads(line) for line in log.splitlines()]
    refused = [(r["status"], r["code"]) for r in records if "code" in r]
    assert refused == [(status, code) for _, status, code in NO_REQUESTS]
    assert "SECRET" not in log
    assert "traceback" not in log


def test_a_client_that_asks_first_is_told_to_send() -> None:
    with (
        serving(WORKERS="1") as (port, _),
        socket.create_connection(("127.0.0.1", port), timeout=30) as peer,
    ):
        head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
        peer.sendall(head + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(PHOTO))
        assert peer.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.sendall(PHOTO)
        answer = http.client.HTTPResponse(peer)
        answer.begin()
        assert answer.status == 200


def test_requests_that_come_together_are_answered_in_order() -> None:
    with (
        serving(WORKERS="1") as (port, _),
        socket.create_connection(("127.0.0.1", port), timeout=30) as peer,
    ):
        paths = [b"/ping", b"/nothing", b"/execution-parameters"] * 20
        peer.sendall(b"".join(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in paths))
        statuses = []
        with peer.makefile("rb") as stream:
            for _ in paths:
                statuses.append(int(stream.readline().split()[1]))
                headers = http.client.parse_headers(stream)
                stream.read(int(headers["Content-Length"]))
    assert statuses == [200, 404, 200] * 20

"""How the server treats valid, invalid and slow requests, and those in progress at its end."""

import json
import os
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from statistics import median

import psutil
import pytest

from soak.server import HOST, Server, serving
from support.cases import PHOTOS

PHOTO = (PHOTOS / "cat.jpg").read_bytes()
POST = b"POST /invocations HTTP/1.1\r\nHost: x\r\n"
HEAD = POST + b"Content-Type: image/jpeg\r\n"
JSON_HEAD = POST + b"Content-Type: application/json\r\n"
SECONDS = 60  # how long a peer waits for an answer
PING_SECONDS = 2  # SageMaker's own limit
PEERS = 200  # a worker has 40 threads
PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
MALFORMED = (400, "malformed_request")
LARGE_HEADERS = (431, "headers_too_large")
NO_REQUESTS = {
    "no HTTP": (b"\x16\x03\x01 SECRET\r\n\r\n", MALFORMED),
    "a later version": (b"GET /ping?X-Amz-Signature=SECRET HTTP/9.9\r\n\r\n", MALFORMED),
    "a target that is not ASCII": (b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n", MALFORMED),
    "a control character": (POST + b"Content-Type: SEC\x01RET\r\n\r\n", MALFORMED),
    "a long path": (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", LARGE_HEADERS),
    "a long header": (PING + b"A: " + b"x" * 70_000 + b"\r\n\r\n", LARGE_HEADERS),
    "an unknown framing": (HEAD + b"Transfer-Encoding: SECRET\r\n\r\n", MALFORMED),
    "two framings": (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", MALFORMED),
    "two lengths": (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n12345", MALFORMED),
    "a chunk without a size": (CHUNKED + b"zz\r\nSECRET\r\n0\r\n\r\n", MALFORMED),
    "an unknown method": (b"TRACE" + PING[3:] + b"\r\n", (405, "method_not_allowed")),
    "nginx's internal path": (PING.replace(b"ping", b"refused") + b"\r\n", (404, "not_found")),
    "a body beyond the limit": (HEAD + b"Content-Length: 4194305\r\n\r\n", (413, "too_large")),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Start a server that these tests leave unchanged."""
    with serving({"WORKERS": "1", "LOG_LEVEL": "DEBUG"}) as running:
        yield running


@contextmanager
def connections(server: Server, count: int = 1) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        opened = (socket.create_connection((HOST, server.port), SECONDS) for _ in range(count))
        yield [stack.enter_context(peer) for peer in opened]


def answer(peer: socket.socket) -> tuple[HTTPResponse, bytes]:
    response = HTTPResponse(peer)
    response.begin()
    return response, response.read()


def code(body: bytes) -> str:
    return str(json.loads(body)["error"]["code"])


def serves(server: Server) -> None:
    """Assert that the server answers a picture, and pings within SageMaker's limit."""
    assert server.post(PHOTO, "image/jpeg").status == 200
    pings = [server.get("/ping") for _ in range(5)]
    assert [ping.status for ping in pings] == [200] * 5
    # One may be late because other tests use the CPUs.
    assert median(ping.seconds for ping in pings) < PING_SECONDS


@pytest.mark.parametrize("name", NO_REQUESTS)
def test_an_invalid_request_gets_json_and_is_not_quoted(server: Server, name: str) -> None:
    sent, expected = NO_REQUESTS[name]
    before = server.process.output.count('"code"')
    with connections(server) as (peer,):
        peer.sendall(sent)
        response, body = answer(peer)
    assert (response.status, code(body)) == expected
    assert response.headers["Content-Type"] == "application/json"
    identity = response.headers["X-Amzn-SageMaker-Custom-Attributes"]
    assert identity == f"image=local;model={response.headers['X-Model-Id']}"
    assert response.headers["X-Image-Id"] == "local"
    server.wait_for('"code"', before + 1)
    (record,) = [record for record in server.log() if "code" in record][before:]
    assert (record["status"], record["code"]) == expected
    assert "SECRET" not in body.decode() + server.process.output


@pytest.mark.parametrize("line", [b"Authorization : SECRET", b"X: y\r\n SECRET", b"Expect: SECRET"])
def test_an_invalid_header_is_not_quoted(server: Server, line: bytes) -> None:
    """nginx refuses some of these requests and drops the header of the others."""
    with connections(server) as (peer,):
        peer.sendall(PING + line + b"\r\n\r\n")
        response, body = answer(peer)
    assert response.status in (200, 400, 417)
    assert "SECRET" not in body.decode() + server.process.output


def test_a_chunked_body_is_accepted(server: Server) -> None:
    connection = HTTPConnection(HOST, server.port, timeout=30)
    halves = iter([PHOTO[:9999], PHOTO[9999:]])
    headers = {"Content-Type": "image/jpeg"}
    connection.request("POST", "/invocations", halves, headers, encode_chunked=True)
    assert connection.getresponse().read() == server.post(PHOTO, "image/jpeg").body
    connection.close()


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "chunked"])
def test_the_413_reaches_a_client_that_sends_all_first(server: Server, chunked: bool) -> None:
    connection = HTTPConnection(HOST, server.port, timeout=30)
    block = bytes(1024 * 1024)
    body = iter([block] * 12) if chunked else block * 12
    connection.request("POST", "/invocations", body, encode_chunked=chunked)
    response = connection.getresponse()
    assert (response.status, code(response.read())) == (413, "too_large")
    connection.close()


def test_without_nginx_the_contract_holds_and_the_log_names_the_package() -> None:
    folders = os.environ["PATH"].split(":")
    path = ":".join(folder for folder in folders if not Path(folder, "nginx").exists())
    with serving({"WORKERS": "2", "PATH": f"{Path(sys.executable).parent}:{path}"}) as server:
        warnings = [record["message"] for record in server.log() if record["level"] == "WARNING"]
        assert len(warnings) == 1
        assert "apt-get install nginx-light" in warnings[0]
        assert server.post(PHOTO, "image/jpeg").status == 200
        for body, status in ((b"{", 400), (bytes(5 * 1024 * 1024), 413)):
            reply = server.post(body)
            assert reply.status == status
            assert json.loads(reply.body)["error"]["message"]
        assert server.get("/absent").status == 404
        assert server.process.stop() == 0


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (b"POST /invocations HTTP/1.1\r\n", b"A: b\r\n"),
        (HEAD + b"Content-Length: 1000\r\n\r\n", b"x"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ],
    ids=["endless headers", "trickled body", "endless chunks"],
)
def test_slow_clients_do_not_block_others(server: Server, first: bytes, then: bytes) -> None:
    with connections(server, PEERS) as peers:
        for sent in (first, then, then):
            for peer in peers:
                peer.sendall(sent)
            serves(server)


def test_peers_that_never_read_take_no_thread(server: Server) -> None:
    """Each client sends requests with large answers until its socket is full, and reads none."""
    body = json.dumps([None] * 1000).encode()
    request = JSON_HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with connections(server, PEERS) as peers:
        for peer in peers:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            with suppress(BlockingIOError):
                for _ in range(50):
                    peer.send(request, socket.MSG_DONTWAIT)
        serves(server)


def test_a_head_that_does_not_end_is_cut_off(server: Server) -> None:
    with connections(server) as (peer,), suppress(ConnectionError):
        peer.settimeout(0.5)
        peer.sendall(b"GET /ping HTTP/1.1\r\n")
        for _ in range(SECONDS):
            peer.sendall(b"A: b\r\n")
            with suppress(TimeoutError):
                assert peer.recv(1) == b""
                return
        pytest.fail("the connection is still open")


def test_300_stalled_bodies_take_one_buffer_each() -> None:
    """The rest of each body is in an unlinked file, which cannot outlive its request."""
    stalled, sent = 300, 1_000_000
    with serving({"WORKERS": "1"}) as server:
        serves(server)
        before = server.holding()
        with connections(server, stalled) as peers:
            for peer in peers:
                peer.sendall(HEAD + b"Content-Length: 4000000\r\n\r\n" + bytes(sent))
            serves(server)
            during = server.holding()
            peers[0].sendall(bytes(4_000_000 - sent))
            assert answer(peers[0])[0].status == 422  # not a picture
    assert during.pss_mb - before.pss_mb < 128
    assert during.files == before.files


def test_the_workers_share_the_requests_evenly() -> None:
    """Send two at a time: with more, every worker is always busy."""
    with serving({"WORKERS": "2"}) as server, ThreadPoolExecutor(2) as clients:
        server.wait_for_ready(2)
        before = _cpu_seconds(server)
        list(clients.map(lambda _: server.post(PHOTO, "image/jpeg"), range(100)))
        used = [after - time for time, after in zip(before, _cpu_seconds(server), strict=True)]
    assert max(used) < 0.7 * sum(used)


def _cpu_seconds(server: Server) -> list[float]:
    return [sum(psutil.Process(worker).cpu_times()[:2]) for worker in server.workers()]


def test_sigterm_waits_for_a_request_that_has_begun() -> None:
    with (
        serving({"WORKERS": "1"}) as server,
        connections(server, 2) as (half_a_head, half_a_body),
        ThreadPoolExecutor(1) as stopping,
    ):
        half_a_head.sendall(b"GET /ping HTTP/1.1\r\nHos")
        half_a_body.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(PHOTO) + PHOTO[:9999])
        server.get("/ping")  # so that nginx has accepted both
        status = stopping.submit(server.process.stop)
        with pytest.raises(TimeoutError):
            status.result(1)
        half_a_head.sendall(b"t: x\r\n\r\n")
        half_a_body.sendall(PHOTO[9999:])
        assert answer(half_a_head)[0].status == 200
        assert answer(half_a_body)[0].status == 200
        assert status.result(SECONDS) == 0

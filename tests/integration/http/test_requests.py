"""Valid requests are answered, and invalid ones refused."""

import http.client
import json
import os
import sys
from pathlib import Path

import pytest

from integration.http.peers import HEAD, PHOTO, answer, code, connections
from soak.server import HOST, Server, serving

PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /invocations HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
MALFORMED = (400, "malformed_request")
LARGE_HEADERS = (431, "headers_too_large")
NO_REQUESTS = {
    "no HTTP": (b"\x16\x03\x01 SECRET\r\n\r\n", MALFORMED),
    "a later version": (b"GET /ping?X-Amz-Signature=SECRET HTTP/9.9\r\n\r\n", MALFORMED),
    "no colon": (b"GET /ping HTTP/1.1\r\nSECRET\r\n\r\n", MALFORMED),
    "a target that is not ASCII": (b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n", MALFORMED),
    "a control character": (POST + b"Content-Type: SEC\x01RET\r\n\r\n", MALFORMED),
    "a long path": (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", LARGE_HEADERS),
    "a long header": (PING + b"A: " + b"x" * 70_000 + b"\r\n\r\n", LARGE_HEADERS),
    "many headers": (PING + b"A: bcdefghi\r\n" * 10_000 + b"\r\n", LARGE_HEADERS),
    "an unknown framing": (HEAD + b"Transfer-Encoding: SECRET\r\n\r\n", MALFORMED),
    "two framings": (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", MALFORMED),
    "two lengths": (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n12345", MALFORMED),
    "no length": (HEAD + b"Content-Length: -1\r\n\r\n", MALFORMED),
    "a chunk without a size": (CHUNKED + b"zz\r\nSECRET\r\n0\r\n\r\n", MALFORMED),
    "a chunk that does not end": (CHUNKED + b"5\r\nSECRET-SECRET\r\n0\r\n\r\n", MALFORMED),
    "an unknown method": (b"TRACE" + PING[3:] + b"\r\n", (405, "method_not_allowed")),
    "nginx's internal path": (PING.replace(b"ping", b"refused") + b"\r\n", (404, "not_found")),
    "a body beyond the limit": (HEAD + b"Content-Length: 4194305\r\n\r\n", (413, "too_large")),
}


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


@pytest.mark.parametrize(
    "line",
    [
        b"Authorization : SECRET",
        b"Authorization: SECRET\x01",
        b"SECRET\x01: x",
        b"X: y\r\n SECRET",
        b"Expect: SECRET",
    ],
)
def test_an_invalid_header_is_not_quoted(server: Server, line: bytes) -> None:
    """nginx refuses some of these requests and drops the header of the others."""
    with connections(server) as (peer,):
        peer.sendall(PING + line + b"\r\n\r\n")
        response, body = answer(peer)
    assert response.status in (200, 400, 417)
    assert "SECRET" not in body.decode() + server.process.output


def test_a_chunked_body_is_accepted(server: Server) -> None:
    connection = http.client.HTTPConnection(HOST, server.port, timeout=30)
    halves = iter([PHOTO[:9999], PHOTO[9999:]])
    headers = {"Content-Type": "image/jpeg"}
    connection.request("POST", "/invocations", halves, headers, encode_chunked=True)
    assert connection.getresponse().read() == server.post(PHOTO, "image/jpeg").body
    connection.close()


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "chunked"])
def test_the_413_reaches_a_client_that_sends_all_first(server: Server, chunked: bool) -> None:
    connection = http.client.HTTPConnection(HOST, server.port, timeout=30)
    block = bytes(1024 * 1024)
    body = iter([block] * 12) if chunked else block * 12
    connection.request("POST", "/invocations", body, encode_chunked=chunked)
    response = connection.getresponse()
    assert (response.status, code(response.read())) == (413, "too_large")
    connection.close()


def test_expect_100_continue(server: Server) -> None:
    with connections(server) as (peer,):
        peer.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(PHOTO))
        assert peer.recv(1000).startswith(b"HTTP/1.1 100 ")
        peer.sendall(PHOTO)
        assert answer(peer)[0].status == 200


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    paths = [b"/ping", b"/nothing", b"/execution-parameters"] * 10
    with connections(server) as (peer,):
        peer.sendall(b"".join(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in paths))
        statuses = []
        with peer.makefile("rb") as stream:
            for _ in paths:
                statuses.append(int(stream.readline().split()[1]))
                headers = http.client.parse_headers(stream)
                stream.read(int(headers["Content-Length"]))
    assert statuses == [200, 404, 200] * 10


def test_http_1_0_is_answered_and_its_connection_closed(server: Server) -> None:
    with connections(server) as (peer,):
        peer.sendall(b"HEAD /ping HTTP/1.0\r\n\r\n")
        assert peer.recv(9999).startswith(b"HTTP/1.1 200 ")
        assert peer.recv(1) == b""


def test_an_image_id_may_hold_nginx_syntax() -> None:
    image_id = 'a"$host\\{'
    with serving({"WORKERS": "1", "IMAGE_ID": image_id}) as server:
        for path, status in (("/ping", 200), ("/refused", 404)):
            reply = server.get(path)
            assert reply.status == status
            identity = reply.headers["x-amzn-sagemaker-custom-attributes"]
            assert identity.startswith(f"image={image_id};model=")
            assert reply.headers["x-image-id"] == image_id


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

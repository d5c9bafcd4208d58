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

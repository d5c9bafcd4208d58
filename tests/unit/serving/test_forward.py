"""Test calls that the function forwards: shares, requests, answers, and faults of the endpoint.

A server in this process replaces sagemaker-runtime. Each test sets its answer.
"""

import hashlib
import json
import logging
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import trustme

from integration.clients import stand_in
from integration.clients.stand_in import ENDPOINT, Answer, Asked, forwarding
from serving.artifact.resolve import Artifact
from serving.core import logs
from serving.core.contract import IDENTITY, JSON, Reply, Request
from serving.core.errors import EndpointFailed, StartError
from serving.core.settings import Settings
from serving.forward import Endpoint, Forwarder
from serving.model.custom_model import ModelFunctions
from serving.service import Service
from support.farm import emulated
from support.signature import verify
from support.upstream import Handler, answering, listening

IDENTIFIED = {"Content-Type": JSON, IDENTITY: "image=i;model=m"}
OVERLOADED = '{"error":{"code":"overloaded","message":"32 requests are waiting already"}}'
UNDECODABLE = '{"error":{"code":"undecodable_image","message":"no picture"}}'
FAULT = '{"error":{"code":"internal_error","message":"the model failed on this request"}}'
LONG = f'{{"error":{{"code":"malformed_request","message":"{"x" * 3000}"}}}}'[
    : stand_in.MAX_MESSAGE
]


OWN_MODEL = ModelFunctions(
    lambda _folder: None, lambda _record, _net: {"by": "the function"}, payload_types={"image/jpeg"}
)


Function = Callable[..., Service]


@pytest.fixture
def function() -> Iterator[Function]:
    """Return the pipeline of a function whose calls have `seconds` left."""
    with ExitStack() as stack:

        def start(
            url: str, *, percent: int = 100, spill: bool = False, seconds: float = 10
        ) -> Service:
            variables = {**forwarding(url), "FORWARD_PERCENT": str(percent)}
            variables["FORWARD_SPILL"] = "1" if spill else "0"
            settings = Settings.from_environment(variables)
            endpoint = stack.enter_context(closing(Endpoint(ENDPOINT, variables)))
            forward = Forwarder(settings, endpoint, lambda: seconds)
            service = Service(settings, Artifact(Path(), "own"), OWN_MODEL, forward=forward)
            service.start()
            return service

        yield start


def ask(service: Service, request_id: str = "", **headers: str) -> Reply:
    logs.request_id.set(request_id)
    lower = {name.replace("_", "-"): value for name, value in headers.items()}
    return service.respond(
        Request("POST", "/invocations", {"content-type": "image/jpeg", **lower}, b"picture")
    )


@dataclass
class Runtime:
    """The fake runtime, with what it received and its answer."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    connections: list[object] = field(default_factory=list)
    answer: Answer = (200, IDENTIFIED, b'{"by":"the endpoint"}')


@contextmanager
def serve_runtime(tls: ssl.SSLContext | None = None) -> Iterator[Runtime]:
    found = Runtime()

    class Answers(Handler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            found.connections.append(self.connection)

        def reply(self, body: bytes) -> None:
            found.asked.append(self.asked(body))
            status, sent, answered = found.answer
            self.answer(status, answered, sent)

    with listening(Answers, tls=tls) as found.url:
        yield found


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    with serve_runtime() as found:
        yield found


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Callable[[], dict[str, Any]]:
    """Return a function that returns the log fields of the last request."""
    caplog.set_level(logging.INFO)
    return lambda: vars([r for r in caplog.records if r.message == "request"][-1])


def model_error(status: int, message: object) -> Answer:
    body = {"OriginalStatusCode": status, "OriginalMessage": message, "Message": "Received …"}
    return 424, {"x-amzn-ErrorType": "ModelError"}, json.dumps(body).encode()


def aws_error(status: int, kind: str) -> Answer:
    return status, {"x-amzn-ErrorType": f"{kind}:http://internal.amazon.com/"}, b'{"message":null}'


def code(reply: Reply) -> str:
    return str(json.loads(reply.body)["error"]["code"])


def test_a_forwarded_call_is_signed_and_gets_the_endpoints_answer(
    runtime: Runtime, records: Any, function: Function
) -> None:
    custom = {"x_amzn_sagemaker_custom_attributes": "trace=1;  a", "cookie": "c"}
    reply = ask(function(runtime.url), "an-id", accept="application/json;  q=1", **custom)
    assert (reply.status, reply.body) == (200, b'{"by":"the endpoint"}')
    ids = {"X-Image-Id": "i", "X-Model-Id": "m", "X-Served-By": "sagemaker"}
    assert dict(reply.headers) == {**IDENTIFIED, **ids}
    [asked] = runtime.asked
    sent = (asked.method, asked.path, asked.body)
    assert sent == ("POST", stand_in.INVOKE_ENDPOINT, b"picture")
    assert verify(asked, runtime.url, "sagemaker") >= {"content-type", "accept", "x-amz-date"}
    assert asked.headers["content-type"] == "image/jpeg"
    assert asked.headers["accept"] == "application/json;  q=1"
    assert asked.headers[IDENTITY.lower()] == "trace=1;  a"
    assert asked.headers["x-amzn-sagemaker-inference-id"] == "an-id"
    assert "cookie" not in asked.headers
    record = records()
    assert (record["status"], record["target"]) == (200, "sagemaker")
    assert 0 < record["forwardMilliseconds"] <= record["milliseconds"]
    assert "forwardError" not in record


def test_the_request_id_selects_calls(runtime: Runtime, records: Any, function: Function) -> None:
    service = function(runtime.url, percent=10)
    ids = [hashlib.md5(b"%d" % n).hexdigest() for n in range(1000)]  # noqa: S324 - names only
    bodies = [ask(service, request_id).body for request_id in ids]
    assert len(runtime.asked) == bodies.count(b'{"by":"the endpoint"}')
    assert 70 < len(runtime.asked) < 130
    again = ids[bodies.index(b'{"by":"the function"}')]
    reply = ask(service, again)
    assert dict(reply.headers)["X-Served-By"] == records()["target"] == "lambda"
    assert dict(reply.headers)["X-Model-Id"] == "own"


def test_a_compressed_body_is_not_forwarded(runtime: Runtime, function: Function) -> None:
    """SageMaker drops Content-Encoding."""
    reply = ask(function(runtime.url), content_encoding="gzip")
    assert (reply.status, code(reply)) == (415, "unsupported_media_type")
    assert runtime.asked == []


@pytest.mark.parametrize(
    ("value", "status", "expected"),
    [
        ("x" * 1025, 431, "headers_too_large"),
        ("a/b\r\nx-evil: 1", 400, "malformed_request"),
        ("ä/ö", 400, "malformed_request"),
    ],
)
def test_a_header_that_sagemaker_refuses(
    value: str, status: int, expected: str, runtime: Runtime, function: Function
) -> None:
    reply = ask(function(runtime.url), accept=value)
    assert (reply.status, code(reply)) == (status, expected)
    assert runtime.asked == []


# For each answer of the runtime: the function's status, code and the reason in its log.
NO_ANSWER = {
    "missing": (aws_error(400, "ValidationError"), 502, "endpoint_failed", "ValidationError"),
    "updating": (aws_error(503, "ServiceUnavailable"), 503, "endpoint_unavailable", "Unavailable"),
    "denied": (aws_error(403, "AccessDeniedException"), 502, "endpoint_failed", "AccessDenied"),
    "throttled": (aws_error(400, "ThrottlingException"), 503, "endpoint_unavailable", "Throttling"),
    "not ready": (
        aws_error(429, "ModelNotReadyException"),
        *(503, "endpoint_unavailable", "NotReady"),
    ),
    "failed": (aws_error(500, "InternalFailure"), 502, "endpoint_failed", "InternalFailure"),
    "dependency": (
        aws_error(530, "InternalDependencyException"),
        *(503, "endpoint_unavailable", "InternalDependency"),
    ),
    "a proxy": ((503, {}, b"<p>no"), 503, "endpoint_unavailable", "answered 503"),
    "overloaded": (model_error(503, OVERLOADED), 503, "overloaded", "answered 503"),
    "no worker": (model_error(503, "<p>no"), 503, "endpoint_unavailable", "answered 503"),
    "slow": (model_error(0, "Your invocation timed out"), 504, "endpoint_timeout", "in time"),
    "dead": (model_error(500, "the container has ended"), 502, "endpoint_failed", "answered 500"),
    "no message": (model_error(500, None), 502, "endpoint_failed", "answered 500"),
    "no error": ((424, {"x-amzn-ErrorType": "ModelError"}, b"<p>"), 502, "endpoint_failed", "JSON"),
    "10 MB": ((200, IDENTIFIED, bytes(10**7)), 502, "endpoint_failed", "larger than 6 MB"),
    "garbage": ((200, IDENTIFIED, b"\xff\x00"), 502, "endpoint_failed", "not JSON"),
    "nested": ((200, IDENTIFIED, b"[" * 10**6), 502, "endpoint_failed", "not JSON"),
    "redirected": ((302, {"Location": "http://x"}, b""), 502, "endpoint_failed", "answered 302"),
}


@pytest.mark.parametrize("name", NO_ANSWER)
def test_an_endpoint_without_an_answer(
    name: str, runtime: Runtime, records: Any, function: Function
) -> None:
    answer, status, expected, reason = NO_ANSWER[name]
    runtime.answer = answer
    reply = ask(function(runtime.url))
    assert (reply.status, code(reply)) == (status, expected)
    assert dict(reply.headers).get("Retry-After") == ("1" if status == 503 else None)
    record = records()
    assert (record["status"], record["code"], record["target"]) == (status, expected, "sagemaker")
    if name != "overloaded":  # this is the container's own answer
        assert reason in record["forwardError"]

    reply = ask(function(runtime.url, spill=True))
    assert (reply.status, reply.body) == (200, b'{"by":"the function"}')
    assert dict(reply.headers)["X-Served-By"] == "lambda-spill"
    record = records()
    assert (record["target"], record["status"]) == ("lambda-spill", 200)
    assert "code" not in record
    assert reason in record["forwardError"]
    assert len(runtime.asked) == 2  # one for each function


@pytest.mark.parametrize(("status", "message"), [(422, UNDECODABLE), (500, FAULT), (400, LONG)])
def test_an_error_of_the_model_is_the_answer_and_does_not_spill(
    status: int, message: str, runtime: Runtime, records: Any, function: Function
) -> None:
    """A message that SageMaker cut off is completed, so that it stays JSON."""
    runtime.answer = model_error(status, message)
    reply = ask(function(runtime.url, spill=True))
    whole = message if message.endswith("}") else message + '"}}'
    assert (reply.status, reply.body.decode()) == (status, whole)
    assert dict(reply.headers) == {"Content-Type": JSON, "X-Served-By": "sagemaker"}
    assert (records()["code"], records()["target"]) == (code(reply), "sagemaker")


def read(peer: socket.socket, first: bytes) -> None:
    """Read the rest of a request. Closing an unread connection would reset it."""
    while not first.endswith(b"picture"):
        first += peer.recv(65536)


def hang(peer: socket.socket) -> None:
    peer.recv(1)


def trickle(peer: socket.socket) -> None:
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    for _ in range(100):
        peer.sendall(b"1")
        time.sleep(0.1)


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def reset_in_mid_answer(peer: socket.socket) -> None:
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    time.sleep(0.1)
    reset(peer)


def cut(peer: socket.socket) -> None:
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}")


def babble(peer: socket.socket) -> None:
    peer.sendall(b"\x16\x03\x01 this is no HTTP\r\n\r\n")


def close(_peer: socket.socket) -> None:
    pass


@pytest.mark.parametrize(
    ("misbehave", "status", "reason"),
    [
        (hang, 504, "in time"),
        (trickle, 504, "in time"),
        (reset, 502, "broke: ConnectionResetError"),
        (reset_in_mid_answer, 502, "broke: ConnectionResetError"),
        (cut, 502, "broke in mid-answer"),
        (babble, 502, "broke: BadStatusLine"),
        (close, 502, "broke: RemoteDisconnected"),
    ],
)
def test_a_connection_that_fails(
    misbehave: Any, status: int, reason: str, records: Any, function: Function
) -> None:
    """No call outlasts the function's time, and no request is sent twice."""
    asked = []

    def answer(peer: socket.socket, first: bytes) -> None:
        read(peer, first)
        asked.append(first)
        misbehave(peer)

    with answering(answer) as port:
        url = f"http://127.0.0.1:{port}"
        started = time.monotonic()
        reply = ask(function(url, seconds=1.5))  # 1 s of it is the function's margin
        assert time.monotonic() - started < 1.5
        assert (reply.status, reason in records()["forwardError"]) == (status, True)
        reply = ask(function(url, spill=True, seconds=1.5))
        assert time.monotonic() - started < 3
        assert dict(reply.headers)["X-Served-By"] == "lambda-spill"
    assert len(asked) == 2


@pytest.mark.parametrize(
    "refusal",
    [
        (413, {}, b""),
        (
            *(400, {"x-amzn-ErrorType": "ValidationError"}),
            b"""{"message":"Value at 'body' failed to satisfy constraint: length <= 4194304"}""",
        ),
    ],
)
def test_a_body_that_is_too_large(refusal: Answer, runtime: Runtime, function: Function) -> None:
    """A serverless endpoint's limit is lower than the function's."""
    runtime.answer = refusal
    reply = ask(function(runtime.url, spill=True))
    assert (reply.status, code(reply)) == (413, "too_large")


def test_a_function_that_may_spill_waits_60_seconds(
    runtime: Runtime, function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SageMaker gives up after 60 s. The function has the remaining time for its own answer."""
    invoke = Mock(return_value=Reply(200))
    monkeypatch.setattr(Endpoint, "invoke", invoke)
    for seconds in (61, 900):
        ask(function(runtime.url, spill=True, seconds=seconds))
        _headers, _body, ends_at = invoke.call_args.args
        assert ends_at - time.monotonic() == pytest.approx(60, abs=1)


def test_a_call_without_time_left(runtime: Runtime, function: Function) -> None:
    reply = ask(function(runtime.url, seconds=0.9))
    assert (reply.status, code(reply)) == (504, "endpoint_timeout")
    assert runtime.asked == []


def test_a_slow_look_up(
    runtime: Runtime, function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look-up has no time limit of its own. When it ends, nothing is sent."""
    look_up = socket.getaddrinfo

    def slow(*arguments: Any) -> Any:
        time.sleep(0.5)
        return look_up(*arguments)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    started = time.monotonic()
    assert ask(function(runtime.url, seconds=1.2)).status == 504
    assert time.monotonic() - started < 1.2
    time.sleep(0.6)
    assert len(runtime.connections) == 1
    assert runtime.asked == []


ANSWERED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@pytest.mark.parametrize("is_seen", [True, False])
def test_a_kept_connection_that_was_closed_is_replaced(
    is_seen: bool, function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the function sees it only while sending, it sends the request again: nobody read it."""
    asked = []
    if not is_seen:
        monkeypatch.setattr(select, "select", lambda *_: ([], [], []))

    def answer(peer: socket.socket, first: bytes) -> None:
        read(peer, first)
        asked.append(first)
        peer.sendall(ANSWERED)  # the connection then closes without `Connection: close`

    with answering(answer) as port:
        service = function(f"http://127.0.0.1:{port}")
        for _ in range(3):
            assert ask(service).status == 200
            time.sleep(0.05)
    assert len(asked) == 3


def test_a_request_on_a_kept_connection_is_not_sent_again(function: Function) -> None:
    """The endpoint may have executed it before it hung up."""
    asked = []

    def answer(peer: socket.socket, first: bytes) -> None:
        for part in (first, b""):
            read(peer, part)
            asked.append(part)
            peer.sendall(b"" if asked[1:] else ANSWERED)
        reset(peer)

    with answering(answer) as port:
        service = function(f"http://127.0.0.1:{port}")
        assert [ask(service).status, ask(service).status] == [200, 502]
        assert len(asked) == 2


def test_an_old_connection_is_not_used_again(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, function: Function
) -> None:
    """A frozen function does not learn that the other side closed it."""
    service = function(runtime.url)
    ask(service)
    later = time.time() + 21
    monkeypatch.setattr(time, "time", lambda: later)
    assert ask(service).status == 200
    assert len(runtime.connections) == 2


def test_tls(function: Function, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS sends more than the answer, but the connection is kept. Unknown authorities fail."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    with serve_runtime(context) as runtime:
        assert ask(function(runtime.url)).status == 502
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        service = function(runtime.url)
        assert [ask(service).status for _ in range(5)] == [200] * 5
        assert len(runtime.asked) == 5
        assert len(runtime.connections) <= 2


def test_a_function_without_credentials_does_not_start() -> None:
    variables = {**forwarding("http://127.0.0.1"), "AWS_SECRET_ACCESS_KEY": ""}
    with pytest.raises(StartError, match="AWS_SECRET_ACCESS_KEY is not set"):
        Endpoint(ENDPOINT, variables)


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-central-1", "runtime.sagemaker.eu-central-1.amazonaws.com"),
        ("cn-north-1", "runtime.sagemaker.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_the_address_of_a_region(region: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dialled = []

    def refuse(address: tuple[str, int], *_: object, **__: object) -> None:
        dialled.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(EndpointFailed, match="ConnectionRefusedError"):
        Endpoint(ENDPOINT, {**forwarding(""), "AWS_REGION": region}).invoke({}, b"", 1)
    assert dialled == [(host, 443)]


def test_under_the_emulator(runtime: Runtime) -> None:
    runtime.answer = model_error(500, FAULT)
    with emulated(forwarding(runtime.url)) as (face, process):
        failure = face.invoke({"uri": "data:,"})
        assert (failure["errorType"], failure["stackTrace"]) == ("internal_error", [])
        assert runtime.asked[0].body == b'{"uri":"data:,"}'
        runtime.answer = aws_error(403, "AccessDeniedException")
        assert face.invoke({})["errorType"] == "endpoint_failed"
        assert face.send("POST", "/invocations", {}, b"{}").status == 502
        lines = [json.loads(x) for x in process.output.splitlines() if x.startswith("{")]
    forwarded = [line for line in lines if line.get("target")]
    assert [line["status"] for line in forwarded] == [500, 502, 502]
    ids = [asked.headers["x-amzn-sagemaker-inference-id"] for asked in runtime.asked]
    assert [line["requestId"] for line in forwarded] == ids

"""What a caller sends in confidence is in no log and in no error; and what the log does hold."""

import base64
import json
import logging
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from cases import PHOTOS, data_uri
from ops import faces
from ops.faces import EmulatedLambda, Face, HttpFace, Process
from ops.local import process_environment
from serving import logs
from upstream import Upstream

MARK = "S3CR3TMARK"
JSON = {"Content-Type": "application/json"}
SIGNED = f"X-Amz-Credential=AKIA%2F{MARK}&X-Amz-Signature={MARK}"
ENCODED = base64.b64encode(MARK.encode()).decode()

# What every face sees of a URI: {http} is an upstream that answers 404 to what it does not know.
URIS = [
    f"{{http}}/absent?{SIGNED}",
    f"{{https}}/absent?{SIGNED}",
    f"{{http}}/{MARK}/absent.jpg#{MARK}",
    f"{{http}}/redirect?to=/absent?{SIGNED}",
    f"{{http}}/redirect?to=http://127.0.0.2/{MARK}?{MARK}",
    f"{{http}}/redirect?to=ftp://{MARK}@host/{MARK}",
    f"{{http}}/page?{SIGNED}",
    f"{{http}}/a b\tc?{MARK}",
    f"{{http}}/\u0001{MARK}?{MARK}",
    f"{{http}}/\ud800{MARK}",
    f"https://user:{MARK}@{{host}}/cat.jpg?{SIGNED}",
    f"https://{MARK}@{{host}}:1/cat.jpg",
    f"https://{MARK}:@absent.invalid/x?{SIGNED}",
    f"https://other.example/{MARK}?{SIGNED}",
    f"http://127.0.0.1:{MARK}/",
    f"http://[{MARK}/",
    f"http:///{MARK}?{MARK}",
    f"http:{MARK}",
    f"{MARK}:x",
    f"{MARK}",
    f"ftp://user:{MARK}@host/",
    f"s3://photos/{MARK}?{SIGNED}",
    f"s3://other/{MARK}",
    f"s3://{MARK}@photos/key",
    f"s3:{MARK}",
    f"data:image/jpeg;base64,{ENCODED}",
    f"data:image/jpeg;base64,{MARK}!",
    f"data:,{MARK}",
    f"data:{MARK}",
]
BODIES: list[tuple[Mapping[str, str], bytes]] = [
    (JSON, b'{"uri": "' + MARK.encode()),
    (JSON, MARK.encode()),
    (JSON, f'{{"{MARK}": NaN}}'.encode()),
    (JSON, f'{{"url": "{MARK}", "uri": ["{MARK}"]}}'.encode()),
    (JSON, f'["{MARK}", {{"{MARK}": 1}}]'.encode()),
    (JSON, b"\xff" + MARK.encode()),
    ({"Content-Type": "application/jsonlines"}, f'{{"uri": "{MARK}\n{MARK}\n'.encode()),
    ({"Content-Type": "image/jpeg"}, MARK.encode()),
    ({"Content-Type": "image/jpeg"}, b"\xff\xd8\xff" + MARK.encode()),
    ({**JSON, "Accept": MARK, "Cookie": MARK}, b"{}"),
]
PRIVATE_HEADERS = {"Authorization": f"Bearer {MARK}", "X-Amz-Security-Token": MARK, "Cookie": MARK}

# A model whose exceptions and libraries quote what they were asked.
QUOTES = """
import logging


def load_model(model_path=None):
    return {}


def infer(request, net):
    place = request["uri"]
    private = place * 2
    logging.getLogger("httpx").info("HTTP Request: GET %s", place)
    logging.getLogger("urllib3.pool").warning("Retrying after a broken connection: /x?%s", QUERY)
    try:
        net[place]
    except KeyError:
        raise ValueError(f"cannot read {place!r} of {request}")


QUERY = "X-Amz-Signature=S3CR3TMARK"
"""


@contextmanager
def both(environment: Mapping[str, str]) -> Iterator[list[tuple[Face, Process]]]:
    """Both faces, with all that they write."""
    ports = [faces.free_port() for _ in range(3)]
    options = f"--runtime-interface-emulator-address 127.0.0.1:{ports[1]}"
    options += f" --runtime-api-address 127.0.0.1:{ports[2]}"
    serve = [str(faces.ENTRY), "serve", "--host", "127.0.0.1", "--port", str(ports[0])]
    settings = {**process_environment(), "LOG_LEVEL": "DEBUG", "WORKERS": "1", **environment}
    with ExitStack() as stack:
        server = stack.enter_context(faces.running(serve, settings))
        emulated = {**faces.lambda_settings(), **settings, "RIE_OPTIONS": options}
        function = stack.enter_context(faces.running([str(faces.ENTRY)], emulated))
        http = HttpFace(f"http://127.0.0.1:{ports[0]}")
        faces.wait_until_healthy(http, server)
        faces.wait_until_open(ports[1], function)
        yield [(http, server), (EmulatedLambda(f"http://127.0.0.1:{ports[1]}"), function)]


def records(process: Process) -> list[dict[str, Any]]:
    """Our lines; the emulator's begin otherwise."""
    return [json.loads(line) for line in process.output.splitlines() if line.startswith("{")]


def told(text: str) -> bool:
    return any(mark.lower() in text.lower() for mark in (MARK, ENCODED))


@pytest.fixture(scope="module")
def running(local_upstream: Upstream) -> Iterator[list[tuple[Face, Process]]]:
    with both({**local_upstream.environment, "FETCH_TIMEOUT_SECONDS": "5"}) as found:
        yield found


@pytest.mark.parametrize("uri", URIS)
def test_a_uri(uri: str, running: list[tuple[Face, Process]], local_upstream: Upstream) -> None:
    for name, place in local_upstream.places.items():
        uri = uri.replace(f"{{{name}}}", place)
    body = json.dumps({"uri": uri}).encode()
    for face, process in running:
        reply = face.send("POST", "/invocations", {**JSON, **PRIVATE_HEADERS}, body)
        assert reply.status in (400, 403, 422, 424)
        assert not told(reply.body.decode())
        assert not told(process.output)


@pytest.mark.parametrize(("headers", "body"), BODIES)
def test_a_body(
    headers: Mapping[str, str], body: bytes, running: list[tuple[Face, Process]]
) -> None:
    for face, process in running:
        reply = face.send("POST", "/invocations", {**PRIVATE_HEADERS, **headers}, body)
        assert "error" in reply.body.decode()
        assert not told(reply.body.decode())
        assert not told(process.output)


def test_a_path_a_query_and_a_media_type(running: list[tuple[Face, Process]]) -> None:
    for face, process in running:
        for path in (f"/{MARK}", f"/ping/{MARK}", f"/invocations/{MARK}", f"//user:{MARK}@host/"):
            reply = face.send("POST", path, PRIVATE_HEADERS)
            assert (reply.status, told(reply.body.decode())) == (404, False)
        face.send("POST", "/invocations", {"Content-Type": f"text/{MARK}"}, b"x")
        assert not told(process.output)
    http, process = running[0]
    reply = http.send("POST", f"/invocations?{SIGNED}", JSON, b"{}")
    assert (reply.status, told(reply.body.decode())) == (400, False)
    assert not told(process.output)


def test_a_picture_with_private_headers_is_answered(running: list[tuple[Face, Process]]) -> None:
    body = json.dumps({"uri": data_uri("cat.jpg")}).encode()
    for face, process in running:
        assert face.send("POST", "/invocations", {**JSON, **PRIVATE_HEADERS}, body).status == 200
        assert not told(process.output)
        assert "9j/4AAQ" not in process.output  # how a JPEG begins in base64


@pytest.mark.parametrize(
    "sent",
    [
        f"GET /invocations?{SIGNED} HTTP/9.9\r\n\r\n",
        f"GET /invocations?{SIGNED}\r\n\r\n",
        f"{MARK}\r\n\r\n",
        f"{MARK} / HTTP/1.1\r\nHost: x\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization {MARK}\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization : {MARK}\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: {MARK}\x01\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: x\r\n{MARK}\x01: x\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: x\r\nX: y\r\n {MARK}\r\n\r\n",
        f"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {MARK}\r\n\r\n",
        f"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: {MARK}\r\n\r\n",
        f"POST /invocations HTTP/1.1\r\nHost: x\r\nExpect: {MARK}\r\nContent-Length: 1\r\n\r\nx",
        "POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        + MARK
        + "\r\n",
        f"GET /{MARK * 9000} HTTP/1.1\r\nHost: x\r\n\r\n",
        f"PROXY TCP4 {MARK} 127.0.0.1 1 2\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_no_request(sent: str, running: list[tuple[Face, Process]]) -> None:
    http, process = running[0]
    assert isinstance(http, HttpFace)
    address = ("127.0.0.1", int(http.url.rpartition(":")[2]))
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(sent.encode("latin-1"))
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 4")
    assert not told(answer.decode())
    assert not told(process.output)


def test_an_event_made_by_hand(running: list[tuple[Face, Process]]) -> None:
    """By who may invoke the function; it must neither fail it nor be quoted."""
    function, process = running[1]
    assert isinstance(function, EmulatedLambda)
    url = {"version": "2.0", "rawPath": "/invocations"}
    http = {"http": {"method": "POST"}}
    for event in (
        MARK,
        [MARK],
        {MARK: MARK},
        {**url, "requestContext": http, "body": {"x": MARK}, "isBase64Encoded": True},
        {**url, "requestContext": http, "body": f"\u00e9{MARK}", "isBase64Encoded": True},
        {**url, "requestContext": http, "headers": [MARK], "body": MARK},
        {**url, "requestContext": http, "headers": {"content-type": [MARK]}, "body": MARK},
        {**url, "requestContext": http, "rawPath": [MARK]},
        {**url, "requestContext": {"http": {"method": [MARK]}}},
        {**url, "requestContext": {"http": MARK}},
        {"requestContext": {"elb": {}}, "httpMethod": {"x": MARK}, "path": 7},
        {"requestContext": {"elb": {}}, "httpMethod": "POST", "multiValueHeaders": {"x": MARK}},
        {"requestContext": {"elb": {}}, "httpMethod": "GET", "multiValueHeaders": MARK},
    ):
        answer = function.invoke(event)
        assert "errorType" not in answer, event
        assert "error" in json.dumps(answer)
    assert not [record for record in records(process) if record["level"] == "ERROR"]
    assert not told(process.output.replace("text/plain", ""))


def test_a_fault_whose_exception_quotes_the_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = tmp_path / "container"
    shutil.copytree(faces.ENTRY.parent / "serving", container / "serving")
    shutil.copy(faces.ENTRY, container)
    (container / "serving" / "inference.py").write_text(QUOTES)
    monkeypatch.setattr(faces, "ENTRY", container / "entry.sh")
    uris = [
        f"https://bucket.s3.amazonaws.com/key?{SIGNED}",
        f"https://host/key?{MARK}",
        f"/key?{SIGNED}",
        f"https://user:{MARK}@host/key",
        f"data:image/jpeg;base64,{ENCODED * 100}",
        f"DATA:,{MARK * 100_000}",
    ]
    with both({}) as found:
        for face, process in found:
            for uri in uris:
                body = json.dumps({"uri": uri}).encode()
                reply = face.send("POST", "/invocations", {**JSON, **PRIVATE_HEADERS}, body)
                assert (reply.status, told(reply.body.decode())) == (500, False)
            assert not told(process.output)
            faults = [record for record in records(process) if record["message"] == "fault"]
            assert len(faults) == len(uris)
            assert (
                "ValueError: cannot read 'https://bucket.s3.amazonaws.com/key?"
                in faults[0]["traceback"]
            )
            assert "private" not in str(faults)  # a local variable
        function, process = found[1]
        assert isinstance(function, EmulatedLambda)
        before = len(records(process))
        answer = function.invoke({"uri": uris[0]})
        assert (answer["errorType"], told(str(answer))) == ("internal_error", False)
        assert not told(process.output)
        lines = [
            r for r in records(process)[before:] if r.get("logger", "serving")[:7] == "serving"
        ]
        # awslambdaric's own line is the last, and says what the caller was told.
        assert [record.get("message") for record in lines] == ["fault", "request", None]
        assert lines[2]["errorMessage"] == answer["errorMessage"]
        assert lines[2]["requestId"] == lines[1]["requestId"]


# What the log holds instead


def requests(process: Process) -> list[dict[str, Any]]:
    return [record for record in records(process) if record["message"] == "request"]


def test_the_stages_of_a_request(
    running: list[tuple[Face, Process]], local_upstream: Upstream
) -> None:
    picture = (PHOTOS / "cat.jpg").read_bytes()
    uri = json.dumps({"uri": f"{local_upstream.places['http']}/cat.jpg"}).encode()
    work = {"parse", "queue", "decode", "infer"}
    for face, process in running:
        sizes = []
        for content_type, body in (("image/jpeg", picture), ("application/json", uri)):
            reply = face.send("POST", "/invocations", {"Content-Type": content_type}, body)
            assert reply.status == 200
            sizes.append((len(body), len(reply.body)))
        face.send("POST", "/invocations", JSON, b"[" + uri + b"," + uri + b"]")
        face.send("POST", "/invocations", JSON, b"{")
        face.send("GET", "/absent", {})
        posted, fetched, batch, broken, lost = requests(process)[-5:]
        assert posted["stages"].keys() == work
        assert fetched["stages"].keys() == batch["stages"].keys() == work | {"fetch"}
        assert sum(posted["stages"].values()) <= posted["milliseconds"] + 0.1
        assert posted["stages"]["infer"] > 0
        assert batch["stages"]["infer"] > 0
        assert [(r["bytesIn"], r["bytesOut"]) for r in (posted, fetched)] == sizes
        assert {"code", "traceback"}.isdisjoint(posted)
        assert (broken["code"], broken["status"]) == ("malformed_request", 400)
        assert (lost["code"], lost["path"]) == ("not_found", "(unknown)")
        assert len({record["requestId"] for record in requests(process)[-5:]}) == 5


def test_a_request_id_that_a_caller_chose_is_bounded(running: list[tuple[Face, Process]]) -> None:
    http, process = running[0]
    http.send("POST", "/invocations", {"X-Amzn-SageMaker-Inference-Id": "i" * 5000}, b"{}")
    http.send("POST", "/invocations", {"X-Amzn-SageMaker-Inference-Id": '"},\u00e9{"'}, b"{}")
    long, odd = requests(process)[-2:]
    assert long["requestId"] == "i" * 64
    assert odd["requestId"].startswith('"},')
    lines = [line for line in process.output.splitlines() if line]
    assert all(isinstance(json.loads(line), dict) for line in lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET https://host/a/b?x=1&y=2 failed", "GET https://host/a/b?… failed"),
        ("'https://u:p@host/a?b' and \"/c?d=e\"", "'https://…@host/a?…' and \"/c?…\""),
        ("s3://u:p@bucket/key", "s3://…@bucket/key"),
        ("https://host/a??b?c=d", "https://host/a?…"),
        ("/a?b?c=d", "/a?b?…"),
        ("data:image/png;base64,AAAA is broken", "data:image/png;base64,… is broken"),
        ("did you mean resnet18_v1? or x", "did you mean resnet18_v1? or x"),
        ("model.onnx.data: up to 5, of 4", "model.onnx.data: up to 5, of 4"),
        ("one, two // three@four", "one, two // three@four"),
    ],
)
def test_what_is_left_out_of_a_text(text: str, expected: str) -> None:
    assert logs.redacted(text) == expected


@pytest.mark.parametrize("piece", ["\n", "?\n", "?", "//", "https://", "data:", "a,", "?=", "@"])
def test_no_text_takes_long(piece: str) -> None:
    record = logging.makeLogRecord({"msg": piece * 2_000_000})
    assert len(logs.JsonFormatter().format(record)) < 100_000

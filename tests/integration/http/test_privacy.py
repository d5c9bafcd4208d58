"""Callers' secrets appear in no log and no error; the log holds what operators need."""

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ops.local_servers import ENTRY, EmulatedLambda, Face, HttpFace, Process
from soak.server import HOST, entry_with, serving
from support.cases import PHOTOS, data_uri
from support.farm import emulated
from support.upstream import Upstream

MARK = "S3CR3TMARK"
JSON = {"Content-Type": "application/json"}
SIGNED = f"X-Amz-Credential=AKIA%2F{MARK}&X-Amz-Signature={MARK}"
ENCODED = base64.b64encode(MARK.encode()).decode()

# {http} is an upstream that answers 404 to unknown paths.
URIS = [
    f"{{http}}/absent?{SIGNED}",
    f"{{http}}/redirect?to=http://127.0.0.2/{MARK}?{MARK}",
    f"{{http}}/redirect?to=ftp://{MARK}@host/{MARK}",
    f"{{http}}/page?{SIGNED}",
    f"{{http}}/\ud800{MARK}",
    f"https://user:{MARK}@{{host}}/cat.jpg?{SIGNED}",
    f"https://other.example/{MARK}?{SIGNED}",
    f"http://127.0.0.1:{MARK}/",
    f"ftp://user:{MARK}@host/",
    f"s3://photos/{MARK}?{SIGNED}",
    f"data:image/jpeg;base64,{ENCODED}",
    f"data:image/jpeg;base64,{MARK}!",
]
BODIES: list[tuple[Mapping[str, str], bytes]] = [
    (JSON, b'{"uri": "' + MARK.encode()),
    (JSON, f'{{"{MARK}": NaN}}'.encode()),
    (JSON, f'{{"url": "{MARK}", "uri": ["{MARK}"]}}'.encode()),
    ({"Content-Type": "application/jsonlines"}, f'{{"uri": "{MARK}\n{MARK}\n'.encode()),
    ({"Content-Type": "image/jpeg"}, b"\xff\xd8\xff" + MARK.encode()),
    ({**JSON, "Accept": MARK, "Cookie": MARK}, b"{}"),
]
PATHS = [f"/{MARK}", f"//user:{MARK}@host/", f"/invocations?{SIGNED}"]
PRIVATE_HEADERS = {"Authorization": f"Bearer {MARK}", "X-Amz-Security-Token": MARK, "Cookie": MARK}

# A model whose exceptions and log lines quote the request.
QUOTES = """
import logging

QUERY = "X-Amz-Signature=S3CR3TMARK"

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
"""

Faces = list[tuple[Face, Process]]


@contextmanager
def both(environment: Mapping[str, str], entry: Path = ENTRY) -> Iterator[Faces]:
    settings = {"LOG_LEVEL": "DEBUG", "WORKERS": "1", **environment}
    with (
        serving(settings, entry=entry) as server,
        emulated(settings, entry=entry) as (function, process),
    ):
        yield [(HttpFace(f"http://{HOST}:{server.port}"), server.process), (function, process)]


def records(process: Process) -> list[dict[str, Any]]:
    """Return the records of our log; the emulator's lines are not JSON."""
    return [json.loads(line) for line in process.output.splitlines() if line.startswith("{")]


def has_secret(text: str) -> bool:
    return any(mark.lower() in text.lower() for mark in (MARK, ENCODED))


@pytest.fixture(scope="module")
def running(local_upstream: Upstream) -> Iterator[Faces]:
    with both({**local_upstream.environment, "FETCH_TIMEOUT_SECONDS": "5"}) as found:
        yield found


def test_a_refused_request(running: Faces, local_upstream: Upstream) -> None:
    sent = [("/invocations", *body) for body in BODIES]
    sent += [(path, JSON, b"{}") for path in PATHS]
    for template in URIS:
        body = json.dumps({"uri": template.format(**local_upstream.places)}).encode()
        sent.append(("/invocations", JSON, body))
    for path, headers, body in sent:
        for face, process in running:
            reply = face.send("POST", path, {**PRIVATE_HEADERS, **headers}, body)
            assert "error" in reply.body.decode()
            assert reply.status < 500
            assert not has_secret(reply.body.decode() + process.output), (path, body)


def test_a_media_type_is_not_logged(running: Faces) -> None:
    for face, process in running:
        reply = face.send("POST", "/invocations", {"Content-Type": f"text/{MARK}"}, b"x")
        assert (reply.status, has_secret(process.output)) == (415, False)


def test_a_picture_with_private_headers_is_answered(running: Faces) -> None:
    body = json.dumps({"uri": data_uri("cat.jpg")}).encode()
    for face, process in running:
        assert face.send("POST", "/invocations", {**JSON, **PRIVATE_HEADERS}, body).status == 200
        assert not has_secret(process.output)
        assert "9j/4AAQ" not in process.output  # the start of a JPEG in base64


def test_a_malformed_event(running: Faces) -> None:
    """A direct invocation may send any event: it must neither fail the function nor be quoted."""
    function, process = running[1]
    assert isinstance(function, EmulatedLambda)
    url = {"version": "2.0", "rawPath": "/invocations"}
    http = {"http": {"method": "POST"}}
    for event in (
        MARK,
        {MARK: MARK},
        {**url, "requestContext": http, "body": {"x": MARK}, "isBase64Encoded": True},
        {**url, "requestContext": http, "headers": {"content-type": [MARK]}, "body": MARK},
        {**url, "requestContext": {"http": MARK}},
        {"requestContext": {"elb": {}}, "httpMethod": {"x": MARK}, "path": 7},
        {"requestContext": {"elb": {}}, "httpMethod": "GET", "multiValueHeaders": MARK},
    ):
        answer = function.invoke(event)
        assert "errorType" not in answer, event
        assert "error" in json.dumps(answer)
    assert not [record for record in records(process) if record["level"] == "ERROR"]
    assert not has_secret(process.output)


def test_a_fault_whose_exception_quotes_the_request(tmp_path: Path) -> None:
    uris = [
        f"https://bucket.s3.amazonaws.com/key?{SIGNED}",
        f"https://user:{MARK}@host/key",
        f"data:image/jpeg;base64,{ENCODED * 100}",
    ]
    with both({}, entry_with(QUOTES, tmp_path)) as found:
        for face, process in found:
            for uri in uris:
                body = json.dumps({"uri": uri}).encode()
                reply = face.send("POST", "/invocations", {**JSON, **PRIVATE_HEADERS}, body)
                assert (reply.status, has_secret(reply.body.decode())) == (500, False)
            assert not has_secret(process.output)
            faults = [record for record in records(process) if record["message"] == "fault"]
            assert len(faults) == len(uris)
            raised = "ValueError: cannot read 'https://bucket.s3.amazonaws.com/key?"
            assert raised in faults[0]["traceback"]
            assert "private" not in str(faults)  # a local variable
        function, process = found[1]
        assert isinstance(function, EmulatedLambda)
        answer = function.invoke({"uri": uris[0]})
        assert (answer["errorType"], has_secret(str(answer))) == ("internal_error", False)
        assert not has_secret(process.output)


def requests(process: Process) -> list[dict[str, Any]]:
    return [record for record in records(process) if record["message"] == "request"]


def test_the_stages_of_a_request(running: Faces, local_upstream: Upstream) -> None:
    picture = (PHOTOS / "cat.jpg").read_bytes()
    uri = json.dumps({"uri": f"{local_upstream.places['http']}/cat.jpg"}).encode()
    work = {"parse", "queue", "decode", "infer"}
    for face, process in running:
        before, sizes = len(requests(process)), []
        for headers, body in (({"Content-Type": "image/jpeg"}, picture), (JSON, uri)):
            reply = face.send("POST", "/invocations", headers, body)
            assert reply.status == 200
            sizes.append((len(body), len(reply.body)))
        face.send("POST", "/invocations", JSON, b"[" + uri + b"," + uri + b"]")
        face.send("POST", "/invocations", JSON, b"{")
        face.send("GET", "/absent", {})
        face.send("GET", "/ping", {})  # pings are not logged
        posted, fetched, batch, broken, lost = requests(process)[before:]
        assert posted["stages"].keys() == work
        assert fetched["stages"].keys() == batch["stages"].keys() == work | {"fetch"}
        assert sum(posted["stages"].values()) <= posted["milliseconds"] + 0.1
        assert batch["stages"]["infer"] > 0
        assert [(r["bytesIn"], r["bytesOut"]) for r in (posted, fetched)] == sizes
        assert {"code", "traceback"}.isdisjoint(posted)
        assert (broken["code"], broken["status"]) == ("malformed_request", 400)
        assert (lost["code"], lost["path"]) == ("not_found", "(unknown)")
        assert len({record["requestId"] for record in requests(process)[before:]}) == 5


def test_a_callers_request_id_is_bounded(running: Faces) -> None:
    http, process = running[0]
    http.send("POST", "/invocations", {"X-Amzn-SageMaker-Inference-Id": "i" * 5000}, b"{}")
    http.send("POST", "/invocations", {"X-Amzn-SageMaker-Inference-Id": '"},\u00e9{"'}, b"{}")
    long, odd = requests(process)[-2:]
    assert long["requestId"] == "i" * 64
    assert odd["requestId"].startswith('"},')
    lines = [line for line in process.output.splitlines() if line]
    assert all(isinstance(json.loads(line), dict) for line in lines)

"""The Lambda face under AWS's emulator: the shapes of its events, its failures, its log."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cases import PHOTOS, data_uri
from ops import faces
from ops.faces import EmulatedLambda, Process
from ops.local import process_environment

EVENTS = Path(__file__).parent.parent / "events"
ENCODED = base64.b64encode((PHOTOS / "cat.jpg").read_bytes()).decode()


def event(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((EVENTS / name).read_text())
    if found["body"] == "{base64}":
        found["body"] = ENCODED
    return found


@pytest.fixture(scope="module")
def function() -> Iterator[EmulatedLambda]:
    with faces.lambda_process(process_environment()) as face:
        yield face


@pytest.fixture(scope="module")
def answer(function: EmulatedLambda) -> dict[str, Any]:
    """What the photograph gets from a direct invocation, which every event must get too."""
    found: dict[str, Any] = function.invoke({"uri": data_uri("cat.jpg")})
    assert found["results"][0]["label"] == "tiger cat"
    return found


def test_function_url(function: EmulatedLambda, answer: dict[str, Any]) -> None:
    reply = function.invoke(event("url.json"))
    assert (reply["statusCode"], reply["isBase64Encoded"]) == (200, False)
    assert json.loads(reply["body"]) == answer
    assert reply["headers"]["Content-Type"] == "application/json"


def test_a_url_body_that_is_text(function: EmulatedLambda, answer: dict[str, Any]) -> None:
    request = event("url.json")
    request["headers"]["content-type"] = "application/json"
    request |= {"body": json.dumps({"uri": data_uri("cat.jpg")}), "isBase64Encoded": False}
    assert json.loads(function.invoke(request)["body"]) == answer


def test_a_url_request_without_body_or_headers(function: EmulatedLambda) -> None:
    request = event("url.json")
    request["requestContext"]["http"]["method"] = "GET"
    request["rawPath"] = "/ping"
    del request["body"], request["headers"], request["isBase64Encoded"]
    reply = function.invoke(request)
    assert (reply["statusCode"], reply["body"]) == (200, "")


def test_an_http_api_with_a_named_stage(function: EmulatedLambda, answer: dict[str, Any]) -> None:
    request = event("url.json")
    request["rawPath"] = "/prod/invocations"
    request["requestContext"]["stage"] = "prod"
    assert json.loads(function.invoke(request)["body"]) == answer


def test_a_record_that_only_looks_like_an_event(function: EmulatedLambda) -> None:
    """A direct request may use AWS's words for its own fields."""
    found = function.invoke({"requestContext": {"http": {}}})
    assert found["error"]["message"] == 'a request must have "uri", a string'


def test_a_large_direct_event_of_other_letters_is_as_large_as_it_was(
    function: EmulatedLambda,
) -> None:
    found = function.invoke({"note": "\u00e9" * 900_000})  # 1.8 MB
    assert found["error"]["code"] == "malformed_request"


def test_load_balancer(function: EmulatedLambda, answer: dict[str, Any]) -> None:
    reply = function.invoke(event("alb.json"))
    assert (reply["statusCode"], json.loads(reply["body"])) == (200, answer)
    assert reply["headers"]["Content-Type"] == "application/json"
    assert "multiValueHeaders" not in reply
    assert function.invoke(event("alb_health_check.json"))["statusCode"] == 200


def test_load_balancer_with_multi_value_headers(
    function: EmulatedLambda, answer: dict[str, Any]
) -> None:
    reply = function.invoke(event("alb_multi_value.json"))
    assert (reply["statusCode"], json.loads(reply["body"])) == (200, answer)
    assert reply["multiValueHeaders"]["Content-Type"] == ["application/json"]
    assert "headers" not in reply


def test_an_error_of_the_caller_is_an_answer(function: EmulatedLambda) -> None:
    expected = {"code": "malformed_request", "message": 'a request must have "uri", a string'}
    assert function.invoke({"url": "x"}) == {"error": expected}
    reply = function.invoke({**event("alb.json"), "body": base64.b64encode(b"x").decode()})
    assert reply["statusCode"] == 422


@pytest.mark.parametrize("direct", [None, 7, "cat.jpg"])
def test_an_event_that_is_no_request(function: EmulatedLambda, direct: object) -> None:
    assert function.invoke(direct)["error"]["code"] == "malformed_request"


def test_every_record_is_logged_once_as_json_with_lambdas_request_id() -> None:
    port = faces.free_port()
    options = f"--runtime-interface-emulator-address 127.0.0.1:{port}"
    options += f" --runtime-api-address 127.0.0.1:{faces.free_port()}"
    settings = {**process_environment(), **faces.lambda_settings(), "RIE_OPTIONS": options}
    with faces.running([str(faces.ENTRY)], settings) as process:
        faces.wait_until_open(port, process)
        face = EmulatedLambda(f"http://127.0.0.1:{port}")
        face.invoke({"uri": data_uri("cat.jpg")})
        face.invoke({})
        records = ours(process)
        started = [line for line in process.output.splitlines() if line.startswith("START")]
    requests = [record for record in records if record["message"] == "request"]
    assert [(r["status"], r.get("code")) for r in requests] == [
        (200, None),
        (400, "malformed_request"),
    ]
    assert [r["requestId"] for r in requests] == [line.split()[2] for line in started]
    assert [r["message"] for r in records if r not in requests] == ["ready"]


def ours(process: Process) -> list[dict[str, Any]]:
    """The function's own lines; the emulator's begin with a date or with START, END, REPORT."""
    return [json.loads(line) for line in process.output.splitlines() if line.startswith("{")]


def test_a_cold_start_imports_only_what_it_uses() -> None:
    heavy = ("boto3", "botocore", "flask", "gunicorn", "gluoncv", "mxnet", "urllib3", "werkzeug")
    program = (
        "import sys, serving.lambda_handler as face\n"
        "face.handler({'uri': 'data:,x'}, None)\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**process_environment(), "PYTHONPATH": str(faces.ENTRY.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"

"""Test the Lambda face under AWS's emulator: event formats, failures, logs."""

import base64
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from integration.clients.stand_in import forwarding
from ops import local_servers
from ops.local_servers import EmulatedLambda, Process, process_environment
from support.cases import PHOTOS, data_uri
from support.farm import emulated
from support.programs import run

EVENTS = Path(__file__).parents[2] / "support" / "events"
ENCODED = base64.b64encode((PHOTOS / "cat.jpg").read_bytes()).decode()


def event(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((EVENTS / name).read_text())
    if found["body"] == "{base64}":
        found["body"] = ENCODED
    return found


@pytest.fixture(scope="module")
def function() -> Iterator[EmulatedLambda]:
    with local_servers.lambda_process(process_environment()) as face:
        yield face


@pytest.fixture(scope="module")
def answer(function: EmulatedLambda) -> dict[str, Any]:
    """Return the answer to a direct invocation, which every event must get."""
    found: dict[str, Any] = function.invoke({"uri": data_uri("cat.jpg")})
    assert found["results"][0]["label"] == "tiger cat"
    return found


def test_function_url(function: EmulatedLambda, answer: dict[str, Any]) -> None:
    reply = function.invoke(event("url.json"))
    assert (reply["statusCode"], reply["isBase64Encoded"]) == (200, False)
    assert json.loads(reply["body"]) == answer
    assert reply["headers"]["Content-Type"] == "application/json"


def test_a_rest_api(function: EmulatedLambda, answer: dict[str, Any]) -> None:
    """Payload 1.0: API Gateway answers 502 to a reply with other members."""
    reply = function.invoke(event("rest_api.json"))
    assert reply.keys() == {"statusCode", "headers", "body", "isBase64Encoded"}
    assert (reply["statusCode"], reply["isBase64Encoded"]) == (200, False)
    assert json.loads(reply["body"]) == answer
    assert reply["headers"]["Content-Type"] == "application/json"


def test_an_http_api_with_payload_1_0(function: EmulatedLambda, answer: dict[str, Any]) -> None:
    """The body is plain text. A header may be only among the multi-value headers."""
    text = {"body": json.dumps({"uri": data_uri("cat.jpg")}), "isBase64Encoded": False}
    request = {**event("rest_api.json"), "version": "1.0", "resource": "$default", **text}
    request |= {"headers": None, "multiValueHeaders": {"content-type": ["application/json"]}}
    reply = function.invoke(request | {"path": "/prod/invocations"})
    assert (reply["statusCode"], json.loads(reply["body"])) == (200, answer)
    reply = function.invoke(request | {"path": "/nothing"})
    assert (reply["statusCode"], json.loads(reply["body"])["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("path", "inner", "route", "rest"),
    [
        ("/prod/invocations", "/prod/invocations", "$default", ""),
        ("/ml/invocations", "/invocations", "$default", ""),
        ("/ml/invocations", "/ml/invocations", "POST /invocations", ""),
        ("/v1/ml/invocations", "/v1/ml/invocations", "ANY /ml/{rest+}", "invocations"),
    ],
)
def test_api_gateways_prefix_of_the_path_is_removed(
    *, path: str, inner: str, route: str, rest: str, function: EmulatedLambda, answer: Any
) -> None:
    """The prefix is a stage or a custom domain's base path.

    Reports: aws-powertools/powertools-lambda-python#579, aws/serverless-java-container#34.
    """
    request = {**event("url.json"), "rawPath": path, "routeKey": route}
    request["pathParameters"] = {"rest": rest}
    request["requestContext"] |= {"stage": "prod", "http": {"method": "POST", "path": inner}}
    assert json.loads(function.invoke(request)["body"]) == answer
    if route != "$default":
        request = {**event("rest_api.json"), "path": path, "resource": route.split(" ")[1]}
        request["pathParameters"] = {"rest": rest}
        assert json.loads(function.invoke(request)["body"]) == answer


@pytest.mark.parametrize(
    ("sent", "service"),
    [
        ({"Records": [{"eventSource": "aws:sqs", "body": '{"uri": "data:,"}'}]}, "aws:sqs"),
        ({"Records": [{"EventSource": "aws:sns", "Sns": {"Message": "{}"}}]}, "aws:sns"),
        ([{"eventSource": "aws:sqs", "body": "{}"}], "aws:sqs"),  # EventBridge Pipes
        ({"eventSource": "SelfManagedKafka", "records": {}}, "SelfManagedKafka"),
        ({"detail-type": "Object Created", "source": "aws.s3", "detail": {}}, "EventBridge"),
        ({"awslogs": {"data": ""}}, "CloudWatch Logs"),
    ],
)
def test_an_event_of_another_service_raises(
    sent: Any, service: str, function: EmulatedLambda
) -> None:
    """The source would take any result as success and delete the message."""
    failure = function.invoke(sent)
    assert failure["errorType"] == "UnsupportedEvent"
    assert f"an event of {service};" in failure["errorMessage"]
    assert not failure.get("stackTrace")


def test_load_balancer(function: EmulatedLambda, answer: dict[str, Any]) -> None:
    plain, multiple = (function.invoke(event(f"{x}.json")) for x in ("alb", "alb_multi_value"))
    for reply in (plain, multiple):
        assert (reply["statusCode"], json.loads(reply["body"])) == (200, answer)
    assert plain["headers"]["Content-Type"] == "application/json"
    assert multiple["multiValueHeaders"]["Content-Type"] == ["application/json"]
    assert "multiValueHeaders" not in plain
    assert "headers" not in multiple
    assert function.invoke(event("alb_health_check.json"))["statusCode"] == 200


@pytest.mark.parametrize(
    "direct", [None, "cat.jpg", {"requestContext": {"http": {}}}, {"warmer": True}]
)
def test_an_event_that_is_not_a_request(function: EmulatedLambda, direct: object) -> None:
    assert function.invoke(direct)["error"]["code"] == "malformed_request"


def test_each_request_is_logged_once_with_its_id_and_the_version() -> None:
    """An alarm of the stack distinguishes versions by the log. A schedule that keeps the function
    warm is not logged."""
    with emulated({"AWS_LAMBDA_FUNCTION_VERSION": "7"}) as (face, process):
        for source in ("aws.events", "aws.scheduler"):
            scheduled = {"detail-type": "Scheduled Event", "source": source, "detail": {}}
            assert face.invoke(scheduled) is None
        face.invoke({"uri": data_uri("cat.jpg")})
        face.invoke({})
        records = ours(process)
        started = [line for line in process.output.splitlines() if line.startswith("START")]
    requests = [record for record in records if record["message"] == "request"]
    assert [r.get("code", r["status"]) for r in requests] == [200, "malformed_request"]
    assert [r["requestId"] for r in requests] == [line.split()[2] for line in started[2:]]
    assert [r["message"] for r in records if r not in requests] == ["ready"]
    assert {r["version"] for r in records} == {"7"}


def ours(process: Process) -> list[dict[str, Any]]:
    """Return the function's own log records. The emulator's lines are not JSON."""
    return [json.loads(line) for line in process.output.splitlines() if line.startswith("{")]


HEAVY = ["boto3", "botocore", "flask", "gunicorn", "gluoncv", "mxnet", "urllib3", "werkzeug"]


@pytest.mark.parametrize(
    ("variables", "call", "heavy"),
    [
        ({}, "face.handler({'uri': 'data:,x'}, None)", HEAVY),
        (forwarding("https://127.0.0.1"), "", [*HEAVY, "cv2", "numpy", "onnxruntime"]),
    ],
    ids=["with a model", "forwarding"],
)
def test_a_cold_start_imports_only_what_it_uses(
    variables: Mapping[str, str], call: str, heavy: list[str]
) -> None:
    program = (
        f"import sys, serving.lambda_handler as face\n{call}\nprint({heavy} & sys.modules.keys())"
    )
    path = {"PYTHONPATH": str(local_servers.ENTRY.parent)}
    environment = {**process_environment(), **variables, **path}
    done = run([sys.executable, "-c", program], env=environment)
    assert done.stdout.splitlines()[-1] == "set()", done.stderr

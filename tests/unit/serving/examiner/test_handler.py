"""Test the examiner's handler with a fake AWS: its requests and its answers."""

import base64
import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
import urllib3
from awslambdaric.lambda_runtime_exception import FaultException
from botocore.exceptions import ClientError

from serving.artifact import manifest
from serving.artifact.resolve import check
from serving.examiner import exam, handler

INFERENCE = """
from serving.core.errors import MalformedRequest

def load_model(folder):
    return 2

def infer(request, net):
    if request["n"] is None:
        raise MalformedRequest("n must be a number")
    return {"twice": net * request["n"]}
"""
QUESTIONS = [
    {"name": name, "content_type": "application/json", "body": json.dumps(body)}
    for name, body in {"one": {"n": 1}, "two": {"n": 2}, "no number": {"n": None}}.items()
]
FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:serving"
LIVE = {"Endpoint": "live", "EndpointConfig": "new", "Compare": "answers"}
ENDPOINT = {"Target": "endpoint", **LIVE}
SCHEDULED = {"Alias": f"{FUNCTION}:live", **LIVE}
HOOK = {"DeploymentId": "d-1", "LifecycleEventHookExecutionId": "h-1"}
REFUSAL = '{"error":{"code":"malformed_request","message":"n must be a number"}}'

Ask = Callable[..., Any]


class ModelError(Exception):
    response = {"OriginalStatusCode": 400, "OriginalMessage": REFUSAL}  # noqa: RUF012


class Aws:
    """A fake account, whose targets answer correctly until a test changes something."""

    exceptions = SimpleNamespace(ModelError=ModelError)

    def __init__(self, variables: dict[str, str], identity: str) -> None:
        self.status = "UPDATE_IN_PROGRESS"
        self.endpoint = {"EndpointStatus": "InService", "EndpointConfigName": "new"}
        self.weights: dict[str, float] = {}
        self.digests = {"examiner": "sha256:a", f"{FUNCTION}:7": "sha256:a"}
        self.variables = {**variables, "EXAMINER_STACK": "s", "EXAMINER_VERSION": "V"}, variables
        self.identity, self.factor, self.fails = identity, 2.0, ""
        self.denied: set[str] = set()
        self.asked: list[str] = []
        self.hooks: list[str] = []
        self.unforwarded: list[int] = []  # the function's statuses when its endpoint fails

    def client(self, service: str, config: Any) -> "Aws":
        assert config.retries == {"total_max_attempts": 1}
        return self

    def _check(self, operation: str) -> None:
        if operation in self.denied:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, operation)

    def describe_stacks(self, **asked: str) -> Any:
        assert asked == {"StackName": "s"}
        self._check("DescribeStacks")
        return {"Stacks": [{"StackStatus": self.status}]}

    def describe_stack_resource(self, **asked: str) -> Any:
        assert asked == {"StackName": "s", "LogicalResourceId": "V"}
        return {"StackResourceDetail": {"PhysicalResourceId": f"{FUNCTION}:7"}}

    def get_alias(self, **asked: str) -> Any:
        assert asked == {"FunctionName": FUNCTION, "Name": "live"}
        routing = {"AdditionalVersionWeights": self.weights}
        return {"FunctionVersion": "7", "RoutingConfig": routing}

    def get_function(self, **asked: str) -> Any:
        name = asked["FunctionName"]
        variables = self.variables[0 if name == "examiner" else 1]
        return {
            "Code": {"ResolvedImageUri": f"repository@{self.digests[name]}"},
            "Configuration": {"Environment": {"Variables": variables}},
        }

    def invoke(self, **asked: Any) -> Any:
        self.asked.append(asked["FunctionName"])
        if self.fails:
            error = json.dumps({"errorMessage": self.fails}).encode()
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(error)}
        event = json.loads(asked["Payload"])
        status, body = self._answer(base64.b64decode(event["body"]))
        if self.unforwarded:
            status, body = self.unforwarded.pop(), "{}"
        headers = {"X-Amzn-SageMaker-Custom-Attributes": self.identity}
        reply = {"statusCode": status, "body": body, "headers": headers}
        return {"Payload": io.BytesIO(json.dumps(reply).encode())}

    def describe_endpoint(self, **asked: str) -> Any:
        assert asked == {"EndpointName": "live"}
        self._check("DescribeEndpoint")
        return self.endpoint

    def invoke_endpoint(self, **asked: Any) -> Any:
        self._check("InvokeEndpoint")
        assert (asked["ContentType"], asked["InferenceId"]) == ("application/json", "examiner")
        self.asked.append(asked["EndpointName"])
        status, body = self._answer(asked["Body"])
        if status != 200:
            raise ModelError
        return {"Body": io.BytesIO(body.encode()), "CustomAttributes": self.identity}

    def put_lifecycle_event_hook_execution_status(self, **answer: str) -> None:
        self._check("PutLifecycleEventHookExecutionStatus")
        assert answer.pop("deploymentId") == "d-1"
        assert answer.pop("lifecycleEventHookExecutionId") == "h-1"
        self.hooks.append(answer["status"])

    def _answer(self, body: bytes) -> tuple[int, str]:
        n = json.loads(body)["n"]
        if n is None:
            return 400, REFUSAL
        return 200, json.dumps({"twice": n * self.factor})


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    folder = tmp_path / "artifacts" / "doubling"
    folder.mkdir(parents=True)
    (folder / "golden.json").write_text(json.dumps(QUESTIONS))
    manifest.write(folder, {"name": "doubling"})
    return folder


@pytest.fixture
def aws(artifact: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Aws]:
    (tmp_path / "inference.py").write_text(INFERENCE)
    variables = {
        "MODEL_NAME": "doubling",
        "INFERENCE": str(tmp_path / "inference.py"),
        "ARTIFACTS_DIR": str(artifact.parent),
        "IMAGE_ID": "a",
    }
    own = {"EXAMINER_STACK": "s", "EXAMINER_VERSION": "V", "AWS_LAMBDA_FUNCTION_NAME": "examiner"}
    for name, value in {**variables, **own}.items():
        monkeypatch.setenv(name, value)
    aws = Aws(variables, f"image=a;model={check(artifact).model_id}")
    monkeypatch.setattr(boto3, "client", aws.client)
    exam.answered.cache_clear()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield aws
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Replace the clock. Time passes only in `sleep`."""
    clock = SimpleNamespace(now=0.0, timeout=600.0)

    def sleep(seconds: float) -> None:
        clock.now += seconds

    monkeypatch.setattr(handler.time, "sleep", sleep)
    monkeypatch.setattr(handler.time, "monotonic", lambda: clock.now)
    return clock


@pytest.fixture
def ask(aws: Aws, clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Return a function that calls the handler and returns its answer to CloudFormation."""
    sent: list[Any] = []

    def request(method: str, url: str, **options: Any) -> SimpleNamespace:
        assert (method, url) == ("PUT", "https://answer")
        assert options["headers"] == {"Content-Type": ""}
        sent.append(json.loads(options["body"]))
        return SimpleNamespace(status=200)

    monkeypatch.setattr(urllib3, "request", request)
    context = SimpleNamespace(
        aws_request_id="r", get_remaining_time_in_millis=lambda: 1000 * (clock.timeout - clock.now)
    )

    def ask(event: dict[str, Any]) -> Any:
        handler.handler(event, context)
        return sent.pop() if sent else None

    return ask


IDS = {"StackId": "s", "RequestId": "q", "LogicalResourceId": "Exam"}


def resource(properties: dict[str, str], kind: str = "Update") -> dict[str, Any]:
    event = {"RequestType": kind, "ResponseURL": "https://answer", **IDS}
    return {**event, "ResourceProperties": properties}


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Callable[[], Any]:
    """Return a function that returns the log record of the latest exam, or None."""

    def logged() -> Any:
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return next((line for line in lines if line["message"] == "exam"), None)

    return logged


def test_an_endpoint_that_answers_correctly(ask: Ask, aws: Aws, logged: Ask) -> None:
    answer = {"Status": "SUCCESS", "Reason": "", "PhysicalResourceId": "Exam", **IDS}
    assert ask(resource(ENDPOINT)) == answer
    assert aws.asked == ["live"] * 3
    line = logged()
    assert (line["trigger"], line["skews"], line["endpointCalls"]) == ("Update", 0, 3)


def test_an_update_that_sagemaker_rolled_back(ask: Ask, aws: Aws) -> None:
    aws.endpoint["EndpointConfigName"] = "old"
    answer = ask(resource(ENDPOINT))
    assert answer["Status"] == "FAILED"
    reason = "SageMaker rolled back its update (it gives no reason): it runs old, not new"
    assert answer["Reason"] == f"the endpoint live: {reason}"
    assert aws.asked == []


def test_an_asynchronous_endpoint_is_not_asked(ask: Ask, aws: Aws) -> None:
    assert ask(resource({**ENDPOINT, "Compare": "nothing"}))["Status"] == "SUCCESS"
    assert aws.asked == []
    aws.endpoint["EndpointConfigName"] = "old"
    assert ask(resource({**ENDPOINT, "Compare": "nothing"}))["Status"] == "FAILED"


def test_a_gpu_may_answer_other_digits_with_the_same_identity(ask: Ask, aws: Aws) -> None:
    aws.factor = 2.001
    assert ask(resource({**ENDPOINT, "Compare": "identity"}))["Status"] == "SUCCESS"
    aws.identity = "image=b;model=c"
    assert ask(resource({**ENDPOINT, "Compare": "identity"}))["Status"] == "FAILED"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"factor": 3.0}, "version 7: one: twice 3.0 instead of 2; version 7: two: twice 6.0"),
        ({"identity": "image=b;model=c"}, "it is 'image=b;model=c' instead of 'image=a;model="),
        ({"fails": "StartError: no model"}, "version 7: it fails: StartError: no model"),
        (
            {"digests": {"examiner": "sha256:a", f"{FUNCTION}:7": "sha256:b"}},
            "version 7: it runs the image sha256:b, not sha256:a",
        ),
        (
            {"variables": ({"EXAMINER_STACK": "s", "A": "1", "B": "1"}, {"A": "2"})},
            "version 7: it has another value of A, B",
        ),
    ],
)
def test_a_version_that_differs(
    ask: Ask, aws: Aws, change: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(HOOK)
    for name, value in change.items():
        monkeypatch.setattr(aws, name, value)
    ask(HOOK)
    assert aws.hooks == ["Succeeded", "Failed"]
    assert reason in ask(resource({"Target": "version"}, "Create"))["Reason"]


def test_a_schedule_examines_every_version_and_the_endpoint(
    ask: Ask, aws: Aws, logged: Ask
) -> None:
    aws.status, aws.weights = "UPDATE_COMPLETE", {"6": 0.1}
    aws.digests[f"{FUNCTION}:6"] = "sha256:a"
    ask(SCHEDULED)
    assert aws.asked == [f"{FUNCTION}:7"] * 3 + [f"{FUNCTION}:6"] * 3 + ["live"] * 3
    line = logged()
    assert (line["trigger"], line["skews"], line["level"]) == ("Schedule", 0, "INFO")
    assert line["targets"] == ["version 7", "version 6", "the endpoint live"]
    assert line["endpointCalls"] == 3
    aws.digests[f"{FUNCTION}:6"] = "sha256:b"
    ask(SCHEDULED)
    line = logged()
    assert (line["skews"], line["level"]) == (1, "ERROR")
    assert line["differences"] == ["version 6: it runs the image sha256:b, not sha256:a"]


def test_a_forwarding_version_is_examined_with_its_endpoint(
    ask: Ask, aws: Aws, monkeypatch: pytest.MonkeyPatch, logged: Ask
) -> None:
    """With a small share, the exam might not reach the endpoint through the function."""
    monkeypatch.setenv("EXAMINER_COMPARE", "identity")
    aws.variables[0]["EXAMINER_COMPARE"] = "identity"
    for name, value in {"FORWARD_ENDPOINT": "live", "FORWARD_PERCENT": "67"}.items():
        monkeypatch.setenv(name, value)
        for variables in aws.variables:
            variables[name] = value
    aws.factor = 2.001  # as a GPU answers
    ask(HOOK)
    assert aws.hooks == ["Succeeded"]
    assert aws.asked == [f"{FUNCTION}:7"] * 3 + ["live"] * 3
    assert logged()["endpointCalls"] == 5  # 3 of them directly
    aws.variables[1]["FORWARD_PERCENT"] = "0"  # changed without the stack
    ask(HOOK)
    assert aws.hooks == ["Succeeded", "Failed"]
    assert logged()["differences"] == ["version 7: it has another value of FORWARD_PERCENT"]


def test_a_version_that_cannot_forward_yet_is_asked_again(
    ask: Ask, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new IAM permission takes a while. A 502 is a fault if the version does not forward."""
    aws.unforwarded = [502]
    ask(HOOK)
    for name, value in {"FORWARD_ENDPOINT": "live", "EXAMINER_COMPARE": "answers"}.items():
        monkeypatch.setenv(name, value)
        aws.variables[0][name] = value
    aws.variables[1]["FORWARD_ENDPOINT"] = "live"
    aws.unforwarded = [503, 502]
    ask(HOOK)
    aws.unforwarded = [504] * 1000
    ask(HOOK)
    assert aws.hooks == ["Failed", "Succeeded", "Failed"]


def test_a_schedule_during_a_deployment_examines_nothing(ask: Ask, aws: Aws, logged: Ask) -> None:
    ask(SCHEDULED)
    assert aws.asked == []
    assert logged() is None


@pytest.mark.parametrize("denied", ["DescribeStacks", "InvokeEndpoint", ""])
def test_without_an_answer_the_deployment_fails_after_a_while(
    ask: Ask, aws: Aws, clock: SimpleNamespace, denied: str
) -> None:
    aws.denied = {denied}
    aws.endpoint["EndpointStatus"] = "InService" if denied else "Updating"
    answer = ask(resource(ENDPOINT))
    assert answer["Status"] == "FAILED"
    reason = "An error occurred (AccessDenied)" if denied else "the endpoint live is Updating, not"
    assert answer["Reason"].startswith(reason)
    assert 120 < clock.now < 130


def test_an_examiner_without_time_left_answers(ask: Ask, aws: Aws, clock: SimpleNamespace) -> None:
    clock.timeout = 130.0
    answer = ask(resource(ENDPOINT))
    assert (answer["Status"], answer["Reason"]) == ("FAILED", "the exam did not end in its time")
    assert clock.now == 0
    ask(HOOK)
    assert aws.hooks == ["Failed"]


def test_a_rollback_is_not_stopped(ask: Ask, aws: Aws) -> None:
    aws.factor, aws.status = 3.0, "UPDATE_ROLLBACK_IN_PROGRESS"
    assert ask(resource(ENDPOINT))["Status"] == "SUCCESS"
    ask(HOOK)
    assert aws.hooks == ["Succeeded"]
    aws.denied = {"DescribeStacks"}
    assert ask(resource(ENDPOINT, "Delete"))["Status"] == "SUCCESS"


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("[]", "the examiner does not start: .*golden.json is not an exam: it must be an array"),
        (json.dumps(QUESTIONS[2:]), "the examiner's own model answers no request of the exam"),
        (json.dumps([{**QUESTIONS[0], "body": "{}"}]), "own model fails on the exam's 'one'"),
        (None, "the examiner does not start: .*has no exam, golden.json: `python -m ops package`"),
    ],
)
def test_without_an_exam_the_deployment_fails(
    ask: Ask, artifact: Path, clock: SimpleNamespace, written: str | None, reason: str
) -> None:
    (artifact / "golden.json").unlink()
    if written:
        (artifact / "golden.json").write_text(written)
    manifest.write(artifact, {"name": "doubling"})
    answer = ask(resource(ENDPOINT))
    assert (answer["Status"], clock.now) == ("FAILED", 0)
    assert re.search(reason, answer["Reason"])


def test_a_model_that_does_not_start(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "inference.py").write_text("def infer(): ...\ndef load_model(folder): 1 / 0")
    answer = ask(resource({"Target": "version"}, "Create"))
    assert answer["Reason"] == "the examiner does not start: division by zero"


@pytest.mark.parametrize(
    ("denied", "event"),
    [("InvokeEndpoint", SCHEDULED), ("PutLifecycleEventHookExecutionStatus", HOOK)],
)
def test_lambda_repeats_a_call_whose_result_nobody_got(
    ask: Ask, aws: Aws, denied: str, event: dict[str, Any], logged: Ask
) -> None:
    aws.status, aws.denied = "UPDATE_COMPLETE", {denied}
    with pytest.raises(FaultException, match="AccessDenied"):
        ask(event)
    assert (logged() is None) == (event is SCHEDULED)

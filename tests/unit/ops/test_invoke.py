"""`python -m ops invoke` with stand-ins for AWS in front of the real server."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from integration.ops.operator_tools import by_endpoint, by_url
from ops import async_endpoint, targets
from ops.aws import split_s3
from ops.local_servers import HttpFace
from support.cases import PHOTOS
from support.signature import verify

CAT = str(PHOTOS / "cat.jpg")
ENDPOINT = "/endpoints/the-endpoint/invocations"


@pytest.fixture
def both(account: Any, script: Any, face: HttpFace) -> Any:
    """Deploy a stack of both targets, whose container is the real server."""

    def signed(request: Any) -> Any:
        assert "content-type" in verify(request, script.url, "lambda")
        return by_url(face, request)

    script.replies["/invocations"] = signed
    script.replies[ENDPOINT] = partial(by_endpoint, face)
    account.deploy({"FunctionUrl": f"{script.url}/", "EndpointName": "the-endpoint"})
    return account


@pytest.fixture
def invoke(both: Any, ops: Callable[..., Any]) -> Callable[..., Any]:
    """Run `python -m ops invoke` on that stack."""
    return lambda *arguments: ops("invoke", *arguments, "--stack", both.stack_name)


def test_a_command_survives_the_move_between_the_targets(
    both: Any, script: Any, ops: Callable[..., Any], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes((PHOTOS / "cat.jpg").read_bytes()[:1000])
    misnamed = tmp_path / "a-png.jpg"
    misnamed.write_bytes((PHOTOS / "coffee.png").read_bytes())
    refused = "http://169.254.169.254/"  # a 403 of the container, not of the function URL
    command = ("invoke", CAT, str(misnamed), str(broken), refused)
    command = (*command, "--json", "--stack", both.stack_name)
    endpoint = ops(*command)
    function = ops(*command, "--target", "lambda")
    assert [request.path for request in script.asked] == [ENDPOINT] * 4 + ["/invocations"] * 4
    assert endpoint == function
    assert function.status == 1
    assert function.err == ""
    cat, coffee, undecodable, not_allowed = map(json.loads, function.out.splitlines())
    assert cat["results"][0]["label"] == "tiger cat"
    assert coffee["results"][0]["label"] == "espresso"
    assert undecodable["error"]["code"] == "undecodable_image"
    assert not_allowed["error"]["code"] == "uri_not_allowed"
    types = [request.headers["content-type"] for request in script.asked[4:]]
    assert types == ["image/jpeg", "image/png", "image/jpeg", "application/json"]


def test_an_answer_is_a_table_and_an_error_has_its_status(
    invoke: Callable[..., Any], tmp_path: Path
) -> None:
    text = tmp_path / "[bold]notes.txt"
    text.write_text("no picture")
    done = invoke(CAT, str(text))
    assert done.status == 1
    assert "cat.jpg (endpoint the-endpoint, " in done.out
    (row,) = [line for line in done.out.splitlines() if "Egyptian cat" in line]
    assert "0.3523" in row
    assert "[bold]notes.txt (endpoint" in done.out
    assert "error 422 undecodable_image: " in done.out


WAKING = "Lambda is initializing your function. It will be ready to invoke shortly."


@pytest.mark.parametrize("outputs", ["FunctionName", "FunctionUrl"])
def test_a_function_that_was_idle_for_weeks_is_asked_again(
    account: Any,
    script: Any,
    ops: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    outputs: str,
) -> None:
    """Its first call fails and wakes it up. With url_auth=off, a function has no URL."""
    naps: list[float] = []
    monkeypatch.setattr(targets.time, "sleep", naps.append)
    by_url = outputs == "FunctionUrl"
    account.deploy({outputs: f"{script.url}/" if by_url else "the-function"})
    place = "/invocations" if by_url else "/2015-03-31/functions/the-function/invocations"
    answered = {"results": []}
    if not by_url:
        answered = {"statusCode": 200, "headers": {}, "body": json.dumps(answered)}
    asleep = {"x-amzn-ErrorType": "CodeArtifactUserPendingException"}
    error = (409, asleep, json.dumps({"message": WAKING}).encode())
    for failures, status in ((2, 0), (9, 1 if by_url else 2)):
        replies = [error] * failures + [(200, {}, json.dumps(answered).encode())]
        script.replies[place] = lambda _, replies=replies: replies.pop(0)
        done = ops("invoke", CAT, "--json", "--stack", account.stack_name)
        assert done.status == status, done.err
        assert status or done.out == '{"results": []}\n'
        assert len(naps) == min(failures, 5)
        assert sum(naps) <= 90
        naps.clear()


def test_another_models_answer_is_shown_as_it_is(
    account: Any, script: Any, ops: Callable[..., Any]
) -> None:
    account.deploy({"FunctionUrl": f"{script.url}/"})
    script.replies["/invocations"] = (200, {}, '{"results": ["größe"],\n "n": 1}'.encode())
    command = ("invoke", "s3://bucket/cat.jpg", "--stack", account.stack_name)
    done = ops(*command)
    shown = json.loads(done.out.partition("\n")[2])
    assert (done.status, shown) == (0, {"results": ["größe"], "n": 1})
    assert len(ops(*command, "--json").out.splitlines()) == 1
    assert json.loads(script.asked[0].body) == {"uri": "s3://bucket/cat.jpg"}


def test_a_request_in_a_file_is_sent_as_its_ending_says(
    invoke: Callable[..., Any], script: Any, tmp_path: Path
) -> None:
    """A picture is sent as a picture with any ending."""
    request = '{"uri": "data:image/png,"}'
    files = {
        "request.json": request,
        "requests.jsonl": f"{request}\n{request}\n",
        "more.NDJSON": request,
        "picture.json": (PHOTOS / "cat.jpg").read_bytes(),
    }
    for name, body in files.items():
        (tmp_path / name).write_bytes(body if isinstance(body, bytes) else body.encode())
    done = invoke(*(str(tmp_path / name) for name in files), "--json")
    asked = [(request.headers["content-type"], request.body) for request in script.asked]
    types = ["application/json", *["application/jsonlines"] * 2, "image/jpeg"]
    assert [kind for kind, _ in asked] == types
    assert asked[1][1] == files["requests.jsonl"].encode()
    one, *_, picture = map(json.loads, done.out.splitlines())
    assert one["error"]["code"] == "undecodable_image"
    assert picture["results"][0]["label"] == "tiger cat"
    script.json("/invocations", [{"results": []}, {"error": {"code": "x", "message": "y"}}])
    assert invoke(str(tmp_path / "requests.jsonl"), "--target", "lambda").status == 1


TOO_LARGE = "1 validation error detected: Value at 'body' failed"


@pytest.mark.parametrize(
    ("error", "body", "code"),
    [
        ((424, "ModelError"), {"OriginalStatusCode": 0, "OriginalMessage": "x"}, "target_failed"),
        ((429, "ModelNotReadyException"), {"Message": "loading"}, "throttled"),
        ((400, "ThrottlingException"), {"message": "Rate exceeded"}, "throttled"),
        ((400, "ValidationError"), {"Message": TOO_LARGE}, "too_large"),
    ],
)
def test_what_an_endpoint_says_is_one_too(
    invoke: Callable[..., Any], script: Any, error: tuple[int, str], body: Any, code: str
) -> None:
    script.json(ENDPOINT, body, error[0], **{"x-amzn-ErrorType": error[1]})
    done = invoke(CAT, "--json")
    assert (done.status, json.loads(done.out)["error"]["code"]) == (1, code), done.err


def check_not_asked(done: Any, *says: str) -> None:
    """Check that the command printed one error line, with all of `says`, and no answer."""
    assert (done.status, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert line.startswith("error: ")
    assert [part for part in says if part not in line] == [], line


def test_a_stack_that_cannot_be_asked(account: Any, script: Any, ops: Callable[..., Any]) -> None:
    stack = ("--stack", account.stack_name)
    missing = f"no stack {account.stack_name} in eu-central-1"
    check_not_asked(ops("invoke", CAT, *stack), missing, "`cdk deploy` makes it")
    account.deploy({"FunctionUrl": f"{script.url}/"})
    done = ops("invoke", CAT, *stack, "--target", "sagemaker")
    check_not_asked(done, "no sagemaker target, but lambda", "cdk deploy -c mode=sagemaker")
    check_not_asked(ops("invoke", CAT, *stack, "--region", "us-west-2"), "in us-west-2")
    check_not_asked(ops("invoke", CAT, "no/such.jpg", *stack), "no/such.jpg: No such file")
    assert script.asked == []
    account.deploy({"Other": "value"}, region="us-west-2")
    says = ("EndpointName or FunctionUrl", "--stack")
    check_not_asked(ops("invoke", CAT, *stack, "--region", "us-west-2"), *says)


def test_the_region_is_the_one_that_the_cdk_deploys_to(
    account: Any, ops: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS_REGION comes first, which boto3 does not read; the default is us-east-1."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    check_not_asked(ops("invoke", CAT), "in eu-central-1")
    monkeypatch.delenv("AWS_REGION")
    check_not_asked(ops("invoke", CAT), "in eu-west-1")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    check_not_asked(ops("invoke", CAT), "in us-east-1")


def test_credentials_that_lead_nowhere(
    account: Any, script: Any, ops: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as changed:
        changed.delenv("AWS_ACCESS_KEY_ID")
        changed.delenv("AWS_SECRET_ACCESS_KEY")
        check_not_asked(ops("invoke", CAT), "no AWS credentials", "aws configure")
    with monkeypatch.context() as changed:
        changed.setenv("AWS_PROFILE", "typo")
        check_not_asked(ops("invoke", CAT), "typo", "aws configure list-profiles")
    monkeypatch.setenv("AWS_ENDPOINT_URL", script.url)  # for CloudFormation
    for code, says in (
        ("ExpiredToken", "expired"),
        ("InvalidClientTokenId", "does not accept"),
        ("AccessDenied", "cloudformation:DescribeStacks"),
    ):
        body = f"<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>"
        script.replies["/"] = (403, {}, body.encode())
        check_not_asked(ops("invoke", CAT), says)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    check_not_asked(ops("invoke", CAT), "cannot be reached", "--region")


def test_a_target_that_does_not_let_in(account: Any, script: Any, ops: Callable[..., Any]) -> None:
    account.deploy({"FunctionUrl": f"{script.url}/", "EndpointName": "the-endpoint"})
    command = ("invoke", CAT, "--stack", account.stack_name)
    script.json("/invocations", {"Message": "Forbidden. For troubleshooting ..."}, 403)
    actions = "lambda:InvokeFunctionUrl and lambda:InvokeFunction"
    check_not_asked(ops(*command, "--target", "lambda"), "Forbidden", actions)
    script.deny(ENDPOINT)
    check_not_asked(ops(*command), "may not sagemaker:InvokeEndpoint")
    said = {"Message": "Endpoint the-endpoint of account 1 not found."}
    script.json(ENDPOINT, said, 400, **{"x-amzn-ErrorType": "ValidationError"})
    check_not_asked(ops(*command), "the-endpoint of account 1 not found")


@pytest.fixture
def queue(
    account: Any, script: Any, ops: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Call an asynchronous endpoint, whose answer is in S3 after the third poll."""
    bucket = "a-queue"
    s3 = account.bucket(bucket)
    account.deploy({"EndpointName": "the-endpoint", "AsyncInput": f"s3://{bucket}/input/"})
    place, kinds = "X-Amzn-SageMaker-{}Location", ("output", "failure")
    places = {place.format(kind.title()): f"s3://{bucket}/{kind}/1.out" for kind in kinds}
    script.replies["/endpoints/the-endpoint/async-invocations"] = (202, places, b"{}")

    def invoke(key: str, body: str, *options: str, photo: str = CAT) -> Any:
        naps: list[float] = []

        def sleep(seconds: float) -> None:
            naps.append(seconds)
            if len(naps) == 3:
                s3.put_object(Bucket=bucket, Key=key, Body=body.encode())

        monkeypatch.setattr(async_endpoint.time, "sleep", sleep)
        return ops("invoke", photo, "--json", "--stack", account.stack_name, *options)

    return invoke


def test_an_asynchronous_endpoint(account: Any, script: Any, queue: Callable[..., Any]) -> None:
    """The call holds a small request; a larger one is uploaded first."""
    large = str(PHOTOS / "coffee.png")
    for photo in (CAT, large):
        done = queue("output/1.out", '{"uri":"sha256:1","results":[]}', photo=photo)
        assert (done.status, done.out) == (0, '{"uri":"sha256:1","results":[]}\n'), done.err
        account.client("s3").delete_object(Bucket="a-queue", Key="output/1.out")
    inline, asked = script.asked
    assert inline.headers["x-amzn-sagemaker-content-type"] == "image/jpeg"
    assert "x-amzn-sagemaker-inputlocation" not in inline.headers
    assert inline.body == Path(CAT).read_bytes()
    assert asked.headers["x-amzn-sagemaker-content-type"] == "image/png"
    assert asked.body == b""
    bucket, key = split_s3(asked.headers["x-amzn-sagemaker-inputlocation"])
    assert key.startswith("input/")
    found = account.client("s3").get_object(Bucket=bucket, Key=key)
    assert found["Body"].read() == Path(large).read_bytes()


def test_an_asynchronous_failure_is_the_same_error(script: Any, queue: Callable[..., Any]) -> None:
    """SageMaker may take as long as the answer is waited for, up to AWS's maximum."""
    error = '{"error":{"code":"undecodable_image","message":"not a picture"}}'
    sentence = f'Received client error (422) from primary with message "{error}". See https://...'
    done = queue("failure/1.out", sentence, "--wait", "9999")
    assert (done.status, done.out.strip()) == (1, error), done.err
    (asked,) = script.asked
    assert asked.headers["x-amzn-sagemaker-invocationtimeoutseconds"] == "3600"


def test_an_asynchronous_answer_that_does_not_come(script: Any, queue: Callable[..., Any]) -> None:
    done = queue("elsewhere", "", "--wait", "10")
    check_not_asked(done, "no answer after 10 s", "/output/1.out", "--wait")
    (asked,) = script.asked
    assert asked.headers["x-amzn-sagemaker-invocationtimeoutseconds"] == "900"  # AWS's default

"""`python -m ops invoke` against stand-ins for AWS that pass requests on to the real server."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cases import PHOTOS
from ops import async_endpoint
from ops.faces import HttpFace
from tests.signature import verify

CAT = str(PHOTOS / "cat.jpg")
ENDPOINT = "/endpoints/the-endpoint/invocations"


@pytest.fixture
def both(account: Any, script: Any, face: HttpFace) -> Any:
    """A stack of both targets, whose container is the real server."""

    def ask(request: Any) -> Any:
        content_type = {"Content-Type": request.headers["content-type"]}
        return face.send("POST", "/invocations", content_type, request.body)

    def function_url(request: Any) -> tuple[int, dict[str, str], bytes]:
        assert "content-type" in verify(request, script.url, "lambda")
        reply = ask(request)
        return reply.status, {"Content-Type": "application/json"}, reply.body

    def endpoint(request: Any) -> tuple[int, dict[str, str], bytes]:
        reply = ask(request)
        if reply.status == 200:
            return 200, {"Content-Type": "application/json"}, reply.body
        error = {
            "Message": f'Received client error ({reply.status}) from primary with message "..."',
            "OriginalStatusCode": reply.status,
            "OriginalMessage": reply.body.decode(),
        }
        return 424, {"x-amzn-ErrorType": "ModelError"}, json.dumps(error).encode()

    script.replies["/invocations"] = function_url
    script.replies[ENDPOINT] = endpoint
    account.deploy({"FunctionUrl": f"{script.url}/", "EndpointName": "the-endpoint"})
    return account


@pytest.fixture
def invoke(both: Any, ops: Callable[..., Any]) -> Callable[..., Any]:
    """`python -m ops invoke ...` of that stack."""
    return lambda *arguments: ops("invoke", *arguments, "--stack", both.stack_name)


def paths(script: Any) -> list[str]:
    return [request.path for request in script.asked]


def test_a_command_survives_the_move_between_the_targets(
    both: Any, script: Any, ops: Callable[..., Any], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes((PHOTOS / "cat.jpg").read_bytes()[:1000])
    # The bytes say what it is.
    misnamed = tmp_path / "a-png.jpg"
    misnamed.write_bytes((PHOTOS / "coffee.png").read_bytes())
    refused = "http://169.254.169.254/"  # a 403 of the container, not of the function URL
    command = ("invoke", CAT, str(misnamed), str(broken), refused)
    command = (*command, "--json", "--stack", both.stack_name)
    endpoint = ops(*command)
    function = ops(*command, "--target", "lambda")
    assert paths(script) == [ENDPOINT] * 4 + ["/invocations"] * 4
    assert endpoint == function
    assert function.status == 1
    assert function.err == ""
    cat, coffee, undecodable, not_allowed = map(json.loads, function.out.splitlines())
    assert cat["results"][0]["label"] == "tiger cat"
    assert coffee["results"][0]["label"] == "espresso"
    assert undecodable["error"]["code"] == "undecodable_image"
    assert not_allowed["error"]["code"] == "uri_not_allowed"
    assert [request.headers["content-type"] for request in script.asked[4:]] == [
        "image/jpeg",
        "image/png",
        "image/jpeg",
        "application/json",
    ]


def test_an_answer_is_a_table_that_says_who_answered(both: Any, ops: Callable[..., Any]) -> None:
    done = ops("invoke", CAT, "--stack", both.stack_name)
    assert done.status == 0
    assert "cat.jpg (endpoint the-endpoint, " in done.out
    (row,) = [line for line in done.out.splitlines() if "Egyptian cat" in line]
    assert "0.3523" in row


def test_an_error_is_shown_with_its_status(
    both: Any, ops: Callable[..., Any], tmp_path: Path
) -> None:
    text = tmp_path / "[bold]notes.txt"
    text.write_text("no picture")
    done = ops("invoke", str(text), "--stack", both.stack_name)
    assert done.status == 1
    assert "[bold]notes.txt (endpoint" in done.out
    assert "error 422 undecodable_image: " in done.out


def test_another_models_answer_is_shown_as_it_is(
    account: Any, script: Any, ops: Callable[..., Any]
) -> None:
    account.deploy({"FunctionUrl": f"{script.url}/"})
    script.replies["/invocations"] = (200, {}, '{"results": ["größe"],\n "n": 1}'.encode())
    command = ("invoke", "s3://bucket/cat.jpg", "--stack", account.stack_name)
    done = ops(*command)
    assert (done.status, json.loads(done.out.partition("\n")[2])) == (
        0,
        {"results": ["größe"], "n": 1},
    )
    assert len(ops(*command, "--json").out.splitlines()) == 1
    assert json.loads(script.asked[0].body) == {"uri": "s3://bucket/cat.jpg"}


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (
            (502, b'{"message":"Internal Server Error"}'),
            {"code": "target_failed", "message": "Internal Server Error"},
        ),
        (
            (429, b'{"Reason":"ConcurrentInvocationLimitExceeded","message":"Rate Exceeded."}'),
            {
                "code": "throttled",
                "message": "Rate Exceeded. (ConcurrentInvocationLimitExceeded)",
            },
        ),
        ((200, b"<p>a page"), {"code": "target_failed", "message": "<p>a page"}),
        ((503, b""), {"code": "target_failed", "message": "status 503 and an empty body"}),
    ],
)
def test_what_the_platform_says_is_an_error_object_too(
    account: Any,
    script: Any,
    ops: Callable[..., Any],
    reply: tuple[int, bytes],
    error: dict[str, str],
) -> None:
    account.deploy({"FunctionUrl": f"{script.url}/"})
    script.replies["/invocations"] = (reply[0], {}, reply[1])
    done = ops("invoke", CAT, "--json", "--stack", account.stack_name)
    assert (done.status, json.loads(done.out)) == (1, {"error": error})


@pytest.mark.parametrize(
    ("exception", "body", "code"),
    [
        (
            (424, "ModelError"),
            {"OriginalStatusCode": 0, "OriginalMessage": "Your invocation timed out"},
            "target_failed",
        ),
        ((429, "ModelNotReadyException"), {"Message": "loading"}, "throttled"),
        ((400, "ThrottlingException"), {"message": "Rate exceeded"}, "throttled"),
        (
            (400, "ValidationError"),
            {"Message": "1 validation error detected: Value at 'body' failed to satisfy"},
            "target_failed",
        ),
    ],
)
def test_what_an_endpoint_says_is_one_too(
    invoke: Callable[..., Any], script: Any, exception: tuple[int, str], body: Any, code: str
) -> None:
    status, kind = exception
    script.json(ENDPOINT, body, status, **{"x-amzn-ErrorType": kind})
    done = invoke(CAT, "--json")
    assert (done.status, json.loads(done.out)["error"]["code"]) == (1, code), done.err


def check_not_asked(done: Any, *says: str) -> None:
    """One line that has all of `says`, and no answer."""
    assert (done.status, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert line.startswith("error: ")
    assert [part for part in says if part not in line] == [], line


def test_a_stack_that_cannot_be_asked(account: Any, script: Any, ops: Callable[..., Any]) -> None:
    stack = ("--stack", account.stack_name)
    check_not_asked(
        ops("invoke", CAT, *stack),
        f"no stack {account.stack_name} in eu-central-1",
        "`cdk deploy` makes it",
    )
    account.deploy({"FunctionUrl": f"{script.url}/"})
    check_not_asked(
        ops("invoke", CAT, *stack, "--target", "sagemaker"),
        "no sagemaker target, but lambda",
        "cdk deploy -c mode=sagemaker",
    )
    check_not_asked(ops("invoke", CAT, *stack, "--region", "us-west-2"), "in us-west-2")
    check_not_asked(ops("invoke", CAT, "no/such.jpg", *stack), "no/such.jpg: No such file")
    assert script.asked == []


@pytest.mark.parametrize(
    ("outputs", "says"),
    [
        ({"Other": "value"}, ("EndpointName or FunctionUrl", "--stack")),
        ({}, ("Traffic is CREATE_COMPLETE and has no outputs", "wait until")),
    ],
)
def test_a_stack_without_a_target(
    account: Any, ops: Callable[..., Any], outputs: dict[str, str], says: tuple[str, ...]
) -> None:
    account.deploy(outputs)
    check_not_asked(ops("invoke", CAT, "--stack", account.stack_name), *says)


def test_the_region_is_the_one_that_the_cdk_deploys_to(
    account: Any, ops: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS_REGION, which boto3 alone does not read; without any, us-east-1."""
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
    monkeypatch.setenv("AWS_ENDPOINT_URL", script.url)  # whatever CloudFormation is asked
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
    check_not_asked(
        ops(*command, "--target", "lambda"),
        "Forbidden",
        "lambda:InvokeFunctionUrl and lambda:InvokeFunction",
    )
    script.deny(ENDPOINT)
    check_not_asked(ops(*command), "may not sagemaker:InvokeEndpoint")
    said = {"Message": "Endpoint the-endpoint of account 1 not found."}
    script.json(ENDPOINT, said, 400, **{"x-amzn-ErrorType": "ValidationError"})
    check_not_asked(ops(*command), "the-endpoint of account 1 not found")


@pytest.fixture
def queue(account: Any, script: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """An asynchronous endpoint; `queue(key, body)` puts an object after the third poll."""
    s3 = account.client("s3")
    bucket = "a-queue"
    s3.create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    account.deploy({"EndpointName": "the-endpoint", "AsyncInput": f"s3://{bucket}/input/"})
    script.replies["/endpoints/the-endpoint/async-invocations"] = (
        202,
        {
            "X-Amzn-SageMaker-OutputLocation": f"s3://{bucket}/output/1.out",
            "X-Amzn-SageMaker-FailureLocation": f"s3://{bucket}/failure/1.out",
        },
        b"{}",
    )

    def put_later(key: str, body: str) -> None:
        naps: list[float] = []

        def sleep(seconds: float) -> None:
            naps.append(seconds)
            if len(naps) == 3:
                s3.put_object(Bucket=bucket, Key=key, Body=body.encode())

        monkeypatch.setattr(async_endpoint.time, "sleep", sleep)

    return put_later


def test_an_asynchronous_endpoint(
    account: Any, script: Any, queue: Callable[..., None], ops: Callable[..., Any]
) -> None:
    queue("output/1.out", '{"uri":"sha256:1","results":[]}')
    done = ops("invoke", CAT, "--json", "--stack", account.stack_name)
    assert (done.status, done.out) == (0, '{"uri":"sha256:1","results":[]}\n'), done.err
    (asked,) = script.asked
    assert asked.headers["x-amzn-sagemaker-content-type"] == "image/jpeg"
    bucket, key = async_endpoint.split(asked.headers["x-amzn-sagemaker-inputlocation"])
    assert key.startswith("input/")
    found = account.client("s3").get_object(Bucket=bucket, Key=key)
    assert found["Body"].read() == Path(CAT).read_bytes()


def test_an_asynchronous_failure_is_the_same_error(
    account: Any, queue: Callable[..., None], ops: Callable[..., Any]
) -> None:
    error = '{"error":{"code":"undecodable_image","message":"not a picture"}}'
    sentence = f'Received client error (422) from primary with message "{error}". See https://...'
    queue("failure/1.out", sentence)
    done = ops("invoke", CAT, "--json", "--stack", account.stack_name)
    assert (done.status, done.out.strip()) == (1, error), done.err


def test_an_asynchronous_answer_that_does_not_come(
    account: Any, queue: Callable[..., None], ops: Callable[..., Any]
) -> None:
    queue("elsewhere", "")
    done = ops("invoke", CAT, "--stack", account.stack_name, "--wait", "10")
    check_not_asked(done, "no answer after 10 s", "/output/1.out", "--wait")


def test_an_interrupt_ends_the_wait_without_a_traceback(
    account: Any,
    queue: Callable[..., None],
    ops: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(async_endpoint.time, "sleep", interrupt)
    done = ops("invoke", CAT, "--stack", account.stack_name)
    assert (done.status, done.out, done.err) == (130, "", "")

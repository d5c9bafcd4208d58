"""The targets of a deployed stack, each asked as AWS wants it, all giving the same answer."""

import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Protocol

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from ops.answers import (
    TARGET_FAILED,
    Answer,
    from_body,
    platform_error,
)
from ops.async_endpoint import AsyncEndpoint
from ops.aws import AWS_ERRORS, Aws, CannotAsk, code_of, explain
from ops.faces import Reply
from ops.local import Picture

JSON = "application/json"
# Every answer of the container has it: which image and which model gave it.
IDENTITY = "x-amzn-sagemaker-custom-attributes"
# The stack's outputs, by target.
OUTPUTS = {"sagemaker": "EndpointName", "lambda": "FunctionUrl"}
ASYNC_OUTPUT = "AsyncInput"


class Target(Protocol):
    @property
    def name(self) -> str: ...

    def send(self, picture: Picture) -> Answer:
        """The answer, an error too. Raises CannotAsk where nobody could be asked."""
        ...


def choose(outputs: Mapping[str, str], wanted: str | None) -> str:
    """Which target to ask: the endpoint if there is one, as it is paid for either way.

    Raises CannotAsk where the stack has no target, or not the wanted one.
    """
    there = [target for target, output in OUTPUTS.items() if output in outputs]
    if not there:
        named = " or ".join(OUTPUTS.values())
        raise CannotAsk(f"the stack has no output {named}", "--stack names one that this app made")
    if wanted and wanted not in there:
        raise CannotAsk(
            f"the stack has no {wanted} target, but {there[0]}",
            f"leave --target out, or run `cdk deploy -c mode={wanted}`",
        )
    return wanted or there[0]


def connect(
    aws: Aws,
    outputs: Mapping[str, str],
    wanted: str | None,
    *,
    wait_seconds: int,
    tell: Callable[[str], None],
) -> Target:
    """The target that `choose` chooses. Raises CannotAsk.

    Where an answer takes minutes, `tell` hears of it; `wait_seconds` is the most that it may take.
    """
    target = choose(outputs, wanted)
    name = outputs[OUTPUTS[target]]
    if target == "lambda":
        return FunctionUrl(aws, name)
    if ASYNC_OUTPUT in outputs:
        return AsyncEndpoint(aws, name, outputs[ASYNC_OUTPUT], wait_seconds=wait_seconds, tell=tell)
    return Endpoint(aws, name)


class FunctionUrl:
    """The Lambda function by its URL. It is signed even where none is asked: that does no harm."""

    def __init__(self, aws: Aws, url: str) -> None:
        self._aws, self._url = aws, url.rstrip("/") + "/invocations"
        self.name = f"function URL {url}"

    def send(self, picture: Picture) -> Answer:
        reply = self.post(picture)
        return from_body(reply.status, reply.body)

    def post(self, picture: Picture, accept: str = JSON) -> Reply:
        """The HTTP reply as it came. Raises CannotAsk."""
        headers = {"Content-Type": picture.content_type, "Accept": accept}
        request = AWSRequest("POST", self._url, headers, data=picture.body)
        started = time.perf_counter()
        try:
            SigV4Auth(self._aws.credentials(), "lambda", self._aws.region).add_auth(request)
            reply = self._http.send(request.prepare())
            body = reply.content
        except AWS_ERRORS as error:
            raise explain(error, "lambda:InvokeFunctionUrl") from error
        seconds = time.perf_counter() - started
        said = from_body(reply.status_code, body).error or {}
        if reply.status_code in (403, 404) and said.get("code") == TARGET_FAILED:
            raise CannotAsk(
                f"the function URL answered {reply.status_code}: {said['message']}",
                "ask for a policy that allows lambda:InvokeFunctionUrl and lambda:InvokeFunction"
                if reply.status_code == 403
                else "run `cdk deploy`, which makes the URL again",
            )
        lower = {name.lower(): value for name, value in reply.headers.items()}
        return Reply(reply.status_code, lower, body, seconds)

    @cached_property
    def _http(self) -> Any:
        # A function may take 900 s, and then says so itself.
        return URLLib3Session(
            verify=self._aws.ca_bundle,
            proxies=get_environ_proxies(self._url),
            timeout=(10, 910),
        )


class Endpoint:
    """A real-time or serverless endpoint."""

    def __init__(self, aws: Aws, endpoint_name: str) -> None:
        self._aws, self._endpoint_name = aws, endpoint_name
        self.name = f"endpoint {endpoint_name}"

    def send(self, picture: Picture) -> Answer:
        reply = self.post(picture)
        return from_body(reply.status, reply.body)

    def post(self, picture: Picture, accept: str = JSON) -> Reply:
        """The container's reply; one that is an error has no headers. Raises CannotAsk."""
        started = time.perf_counter()
        try:
            reply = self._runtime.invoke_endpoint(
                EndpointName=self._endpoint_name,
                ContentType=picture.content_type,
                Accept=accept,
                Body=picture.body,
            )
            body = reply["Body"].read()
        except AWS_ERRORS as error:
            seconds = time.perf_counter() - started
            if isinstance(error, ClientError) and code_of(error) == "ModelError":
                said = error.response
                status, text = said.get("OriginalStatusCode"), said.get("OriginalMessage", "")
                return Reply(int(status or 0), {}, str(text).encode(), seconds)
            if answer := endpoint_answer(error):
                return Reply(answer.status, {}, answer.text.encode(), seconds)
            raise explain(error, "sagemaker:InvokeEndpoint") from error
        headers = {IDENTITY: reply.get("CustomAttributes", "")}
        return Reply(200, headers, body, time.perf_counter() - started)

    @cached_property
    def _runtime(self) -> Any:
        # A model may take 60 s, and then SageMaker says so itself.
        return self._aws.client("sagemaker-runtime", read_timeout=75)


def endpoint_answer(error: Exception) -> Answer | None:
    """What SageMaker itself says in an exception; None where nobody was asked.

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
    """
    if not isinstance(error, ClientError):
        return None
    code = code_of(error)
    message = error.response["Error"].get("Message", "")
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    if code == "ThrottlingException":  # comes as 400
        return platform_error(429, message)
    if code == "ValidationError" and "'body' failed" in message:
        return platform_error(413, message)
    if status >= 500 or code == "ModelNotReadyException":
        return platform_error(status, message)
    return None

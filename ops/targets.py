"""Call deployed targets: a function by its URL or by Invoke, and an endpoint."""

import json
import re
import time
from collections.abc import Mapping

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from ops.answers import TARGET_FAILED, Answer, from_body, platform_error
from ops.async_endpoint import AsyncEndpoint
from ops.aws import AWS_ERRORS, Aws, CannotAsk, code_of, explain, explained
from ops.cli import Tell
from ops.inputs import JSON, Input
from ops.local_servers import FaceError, HttpReply, url_event, url_reply

# The header in which the container names the image and the model of an answer.
IDENTITY = "x-amzn-sagemaker-custom-attributes"
SERVED_BY = "x-served-by"  # tells who answered if a function forwards calls to an endpoint
# Stack outputs by kind of target. With url_auth=off, a function has no URL.
OUTPUTS = {"sagemaker": ("EndpointName",), "lambda": ("FunctionUrl", "FunctionName")}
ASYNC_OUTPUT = "AsyncInput"
# Lambda deactivates a function after weeks without calls. The first call wakes it up within 90 s.
# https://docs.aws.amazon.com/lambda/latest/dg/functions-states.html
_WAKING = re.compile("initializing your function|function is inactive|following state: Pending")
_WAKING_PAUSES_SECONDS = (5, 10, 15, 30, 30)
_LONGEST_SECONDS = 910  # Lambda's own limit is 900


class FunctionUrl:
    """A function called by its URL. Requests are signed even if AWS does not require it."""

    def __init__(self, aws: Aws, url: str) -> None:
        self._aws, self.url = aws, url.rstrip("/") + "/invocations"
        self.region = aws.region
        self.name = f"function URL {url}"
        proxies, timeouts = get_environ_proxies(self.url), (10, _LONGEST_SECONDS)
        self._http = URLLib3Session(verify=aws.ca_bundle, proxies=proxies, timeout=timeouts)

    def post(self, item: Input, accept: str = JSON) -> HttpReply:
        """Return the reply unchanged. Raise CannotAsk."""
        headers = {"Content-Type": item.content_type, "Accept": accept}
        request = AWSRequest("POST", self.url, headers, data=item.body)
        for pause in (*_WAKING_PAUSES_SECONDS, None):
            started = time.perf_counter()
            with explained("lambda:InvokeFunctionUrl"):
                SigV4Auth(self._aws.credentials(), "lambda", self._aws.region).add_auth(request)
                reply = self._http.send(request.prepare())
                body = reply.content
            seconds = time.perf_counter() - started
            found = from_body(reply.status_code, body).error
            if pause is None or not _WAKING.search(found.get("message", "")):
                break
            time.sleep(pause)
        if reply.status_code in (403, 404) and found.get("code") == TARGET_FAILED:
            why = f"the function URL answered {reply.status_code}: {found['message']}"
            fix = "run `cdk deploy`, which creates the URL again"
            if reply.status_code == 403:
                fix = "ask for a policy with lambda:InvokeFunctionUrl and lambda:InvokeFunction"
            raise CannotAsk(why, fix)
        lower = {name.lower(): value for name, value in reply.headers.items()}
        if IDENTITY not in lower and "x-image-id" in lower and "x-model-id" in lower:
            lower[IDENTITY] = f"image={lower['x-image-id']};model={lower['x-model-id']}"
        return HttpReply(reply.status_code, lower, body, seconds)


class InvokedFunction:
    """A function called by lambda:InvokeFunction. Its name may be an ARN or include an alias.

    It gets a function URL's event (payload format 2.0): a direct event could only hold JSON, and
    its answer has no status.
    """

    def __init__(self, aws: Aws, function_name: str) -> None:
        self.function_name = function_name
        self.name = f"function {function_name}"
        self.region = aws.region
        self._lambda = aws.client("lambda", read_timeout=_LONGEST_SECONDS)
        self.service_url = str(self._lambda.meta.endpoint_url)

    def post(self, item: Input, accept: str = JSON) -> HttpReply:
        """Return the same reply as the function's URL. Raise CannotAsk."""
        headers = {"content-type": item.content_type, "accept": accept}
        event = json.dumps(url_event("POST", "/invocations", headers, item.body))
        for pause in (*_WAKING_PAUSES_SECONDS, None):
            started = time.perf_counter()
            try:
                reply = self._lambda.invoke(FunctionName=self.function_name, Payload=event)
                payload = reply["Payload"].read()
                break
            except AWS_ERRORS as error:
                if isinstance(error, ClientError):
                    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                    if status in (413, 429):  # an event above 6 MB, or throttling
                        return _platform_reply(platform_error(status, str(error)), started)
                if pause is None or not _WAKING.search(str(error)):
                    raise explain(error, "lambda:InvokeFunction") from error
            time.sleep(pause)
        failure = payload.decode(errors="replace")
        if "FunctionError" not in reply:
            try:
                return url_reply(json.loads(payload), time.perf_counter() - started)
            except (FaceError, ValueError, KeyError):
                failure = f"the function did not return an HTTP reply, but {payload[:200]!r}"
        return _platform_reply(platform_error(502, failure), started)


class Endpoint:
    """A real-time or serverless endpoint."""

    def __init__(self, aws: Aws, endpoint_name: str) -> None:
        self.endpoint_name = endpoint_name
        self.name = f"endpoint {endpoint_name}"
        self.region = aws.region
        # SageMaker itself answers if the model takes more than 60 s.
        self._runtime = aws.client("sagemaker-runtime", read_timeout=75)
        self.service_url = str(self._runtime.meta.endpoint_url)

    def post(self, item: Input, accept: str = JSON) -> HttpReply:
        """Return the container's reply; an error has no headers. Raise CannotAsk."""
        started = time.perf_counter()
        try:
            request = {"ContentType": item.content_type, "Accept": accept, "Body": item.body}
            reply = self._runtime.invoke_endpoint(EndpointName=self.endpoint_name, **request)
            body = reply["Body"].read()
        except AWS_ERRORS as error:
            if answer := _endpoint_error(error):
                return _platform_reply(answer, started)
            raise explain(error, "sagemaker:InvokeEndpoint") from error
        headers = {IDENTITY: reply.get("CustomAttributes", "")}
        return HttpReply(200, headers, body, time.perf_counter() - started)


def targets_of(outputs: Mapping[str, str]) -> list[str]:
    """Return the kinds of targets of a stack, the endpoint first."""
    return [kind for kind, names in OUTPUTS.items() if any(name in outputs for name in names)]


def connect(
    aws: Aws, outputs: Mapping[str, str], wanted: str | None, wait_seconds: int, tell: Tell
) -> FunctionUrl | InvokedFunction | Endpoint | AsyncEndpoint:
    """Return the wanted target of a stack. Raise CannotAsk if the stack does not have it.

    The default is the endpoint, which is paid for anyway. An asynchronous one answers within
    `wait_seconds`, and `tell` shows its progress.
    """
    present = targets_of(outputs)
    if not present:
        names = " or ".join(names[0] for names in OUTPUTS.values())
        raise CannotAsk(f"the stack has no output {names}", "use --stack with a stack of this app")
    if wanted and wanted not in present:
        fix = f"leave --target out, or run `cdk deploy -c mode={wanted}`"
        raise CannotAsk(f"the stack has no {wanted} target, but {present[0]}", fix)
    if (wanted or present[0]) == "lambda":
        if url := outputs.get("FunctionUrl"):
            return FunctionUrl(aws, url)
        return InvokedFunction(aws, outputs["FunctionName"])
    name = outputs["EndpointName"]
    if ASYNC_OUTPUT in outputs:
        return AsyncEndpoint(aws, name, outputs[ASYNC_OUTPUT], wait_seconds, tell)
    return Endpoint(aws, name)


def _platform_reply(answer: Answer, started: float) -> HttpReply:
    return HttpReply(answer.status, {}, answer.text.encode(), time.perf_counter() - started)


def _endpoint_error(error: Exception) -> Answer | None:
    """Return the answer that SageMaker or the container put into an exception, or None.

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
    """
    if not isinstance(error, ClientError):
        return None
    code, reply = code_of(error), error.response
    message = reply["Error"].get("Message", "")
    status = reply["ResponseMetadata"]["HTTPStatusCode"]
    if code == "ModelError":
        body = str(reply.get("OriginalMessage", ""))
        return from_body(int(reply.get("OriginalStatusCode") or 0), body.encode())
    if code == "ThrottlingException":  # its status is 400
        return platform_error(429, message)
    if status == 413 or (code == "ValidationError" and "'body' failed" in message):
        return platform_error(413, message)
    if status >= 500 or code == "ModelNotReadyException":
        return platform_error(status, message)
    return None

"""Stand in for AWS in front of both real faces: signatures, errors, CORS and missing capacity.

It serves Lambda's Invoke, a function URL, sagemaker-runtime's InvokeEndpoint and the stack's
outputs, as documented:
https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
https://docs.aws.amazon.com/lambda/latest/dg/urls-configuration.html#urls-cors
"""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

from ops.local_servers import EmulatedLambda, HttpFace, HttpReply
from serving.core.contract import render_error
from serving.core.errors import InternalError, Overloaded
from support.signature import ACCESS_KEY, REGION, SECRET_KEY, SESSION_TOKEN, verify
from support.upstream import Asked, Handler, listening

FUNCTION = "arn:aws:lambda:eu-central-1:123456789012:function:one-image:live"
ENDPOINT = "one-image-0a1b2c3d"
INVOKE = f"/2015-03-31/functions/{FUNCTION}/invocations"
INVOKE_ENDPOINT = f"/endpoints/{ENDPOINT}/invocations"
CUSTOM = "x-amzn-sagemaker-custom-attributes"
PASSED = ("content-type", "accept", CUSTOM, "x-amzn-sagemaker-inference-id")
FAULT = InternalError("the model failed on this request")
MAX_MESSAGE = 2048  # characters of a container's error that SageMaker passes on
SERVICES = {INVOKE: "lambda", INVOKE_ENDPOINT: "sagemaker", "/invocations": "lambda"}

Answer = tuple[int, Mapping[str, str], bytes]


@dataclass
class Aws:
    """The stand-in. Tests set `busy` (how many calls find no capacity), `broken` (the container
    fails) and `url_settings` (the properties of `AWS::Lambda::Url`).
    """

    http: HttpFace
    function: EmulatedLambda
    url: str = ""
    busy: int = 0
    broken: bool = False
    url_settings: Mapping[str, Any] = field(default_factory=lambda: {"AuthType": "AWS_IAM"})
    asked: list[Asked] = field(default_factory=list)
    _one: threading.Lock = field(default_factory=threading.Lock)

    def reset(self) -> None:
        self.busy, self.broken, self.url_settings = 0, False, {"AuthType": "AWS_IAM"}
        self.asked.clear()

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        path = unquote(asked.path)
        if path == INVOKE_ENDPOINT and self._is_signed(asked, "sagemaker"):
            return self._endpoint(asked)  # without the lock, since the function may be forwarding
        with self._one:  # the emulator takes one request at a time
            if path == "/invocations":
                return self._url(asked)
            if not self._is_signed(asked, SERVICES.get(path, "cloudformation")):
                return _said(403, "InvalidSignatureException", message="The signature is another")
            if path == INVOKE:
                return self._invoke(asked)
            return self._outputs(asked)

    def _is_signed(self, asked: Asked, service: str) -> bool:
        try:
            return bool(verify(asked, self.url, service))
        except AssertionError:
            return False

    def _planted(self) -> HttpReply | None:
        if not self.busy and not self.broken:
            return None
        busy = Overloaded("32 requests are waiting already")
        reply = render_error(busy if self.busy else FAULT)
        self.busy = max(0, self.busy - 1)
        return HttpReply(reply.status, dict(reply.headers), reply.body, 0.0)

    def _url(self, asked: Asked) -> Answer:
        shared = self._shared(asked)
        if asked.method == "OPTIONS" and "Cors" in self.url_settings:
            return 200, shared, b""  # Lambda answers without the function
        if self.url_settings["AuthType"] == "AWS_IAM" and not self._is_signed(asked, "lambda"):
            return _said(403, "AccessDeniedException", Message="Forbidden")
        reply = self._planted() or self.function.send(*asked)
        return reply.status, {**reply.headers, **shared}, reply.body

    def _shared(self, asked: Asked) -> dict[str, str]:
        """Return the CORS headers, none for an origin that is not allowed."""
        cors, origin = self.url_settings.get("Cors", {}), asked.headers.get("origin", "")
        if not {origin, "*"} & set(cors.get("AllowOrigins", ())):
            return {}
        found = {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": ",".join(cors["ExposeHeaders"]),
            "Vary": "Origin",
        }
        if asked.method == "OPTIONS":
            found["Access-Control-Allow-Methods"] = ",".join(cors["AllowMethods"])
            found["Access-Control-Allow-Headers"] = ",".join(cors["AllowHeaders"])
            found["Access-Control-Max-Age"] = str(cors["MaxAge"])
        return found

    def _invoke(self, asked: Asked) -> Answer:
        if self.busy:
            self.busy -= 1
            return _said(429, "TooManyRequestsException", message="Rate Exceeded.", Type="User")
        if self.broken:
            answer = {"errorMessage": str(FAULT), "errorType": FAULT.code, "stackTrace": []}
        else:
            answer = self.function.invoke(json.loads(asked.body))
        failed = isinstance(answer, dict) and "errorType" in answer
        headers = {"X-Amz-Function-Error": "Unhandled"} if failed else {}
        return 200, headers, json.dumps(answer).encode()

    def _endpoint(self, asked: Asked) -> Answer:
        passed = {name: asked.headers[name] for name in PASSED if name in asked.headers}
        reply = self._planted() or self.http.send("POST", "/invocations", passed, asked.body)
        if reply.status == 200:
            return 200, {n: reply.headers[n] for n in ("content-type", CUSTOM)}, reply.body
        whose, text = "client" if reply.status < 500 else "server", reply.body.decode()
        told = f'Received {whose} error ({reply.status}) from primary with message "{text}". '
        told += (
            "See https://eu-central-1.console.aws.amazon.com/cloudwatch/home for more information."
        )
        original = {"OriginalStatusCode": reply.status, "OriginalMessage": text[:MAX_MESSAGE]}
        return _said(424, "ModelError", Message=told, **original)

    def _outputs(self, asked: Asked) -> Answer:
        assert parse_qs(asked.body.decode())["Action"] == ["DescribeStacks"]
        names = {"FunctionName": FUNCTION, "EndpointName": ENDPOINT}
        outputs = {**names, "FunctionUrl": f"{self.url}/"}
        members = "".join(
            f"<member><OutputKey>{name}</OutputKey><OutputValue>{value}</OutputValue></member>"
            for name, value in outputs.items()
        )
        body = (
            "<DescribeStacksResponse><DescribeStacksResult><Stacks><member>"
            "<StackName>DualInferenceStack</StackName><StackStatus>CREATE_COMPLETE</StackStatus>"
            f"<Outputs>{members}</Outputs>"
            "</member></Stacks></DescribeStacksResult></DescribeStacksResponse>"
        )
        return 200, {"Content-Type": "text/xml"}, body.encode()


def _said(status: int, kind: str, **members: object) -> Answer:
    return status, {"x-amzn-ErrorType": kind}, json.dumps(members).encode()


@contextmanager
def served(aws: Aws) -> Iterator[Aws]:
    class Answers(Handler):
        def reply(self, body: bytes) -> None:
            status, sent, answered = aws.answer(self.asked(body))
            self.answer(status, answered, sent)

    with listening(Answers) as aws.url:
        yield aws


def forwarding(url: str) -> dict[str, str]:
    """Return the variables of a function that forwards every call to the endpoint at `url`."""
    return {
        "FORWARD_ENDPOINT": ENDPOINT,
        "FORWARD_PERCENT": "100",
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": url,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_SESSION_TOKEN": SESSION_TOKEN,
    }


def paths(asked: Sequence[Asked]) -> list[str]:
    return [unquote(one.path) for one in asked]

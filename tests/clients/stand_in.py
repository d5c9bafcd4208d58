"""AWS as its callers see it, in front of both real faces: signatures, errors, CORS, no capacity.

Lambda's Invoke, a function's URL, sagemaker-runtime's InvokeEndpoint and the outputs of the stack.
What it says in place of the container is what AWS documents:
https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
https://docs.aws.amazon.com/lambda/latest/dg/urls-configuration.html#urls-cors
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape

from ops.faces import EmulatedLambda, HttpFace, Reply
from serving.contract import render_error
from serving.errors import Fault, Overloaded, ServingError
from tests.signature import verify

FUNCTION = "arn:aws:lambda:eu-central-1:123456789012:function:one-image:live"
ENDPOINT = "one-image-0a1b2c3d"
INVOKE = f"/2015-03-31/functions/{FUNCTION}/invocations"
INVOKE_ENDPOINT = f"/endpoints/{ENDPOINT}/invocations"
CUSTOM = "x-amzn-sagemaker-custom-attributes"
SERVICES = {INVOKE: "lambda", INVOKE_ENDPOINT: "sagemaker", "/invocations": "lambda"}

Answer = tuple[int, Mapping[str, str], bytes]


class Asked(NamedTuple):
    """Header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Aws:
    """What a test may set: so many calls find no capacity, or every one a fault of the container;
    the URL's settings, as `AWS::Lambda::Url` has them."""

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
        with self._one:  # the emulator takes one request at a time
            self.asked.append(asked)
            path = unquote(asked.path)
            if path == "/invocations":
                return self._url(asked)
            if not self._is_signed(asked, SERVICES.get(path, "cloudformation")):
                return _said(403, "InvalidSignatureException", message="The signature is another")
            if path == INVOKE:
                return self._invoke(asked)
            if path == INVOKE_ENDPOINT:
                return self._endpoint(asked)
            return self._outputs(asked)

    def _is_signed(self, asked: Asked, service: str) -> bool:
        try:
            return bool(verify(asked, self.url, service))
        except AssertionError:
            return False

    def _planted(self) -> ServingError | None:
        if self.busy:
            self.busy -= 1
            return Overloaded("32 requests are waiting already")
        return Fault() if self.broken else None

    def _url(self, asked: Asked) -> Answer:
        shared = self._shared(asked)
        if asked.method == "OPTIONS" and "Cors" in self.url_settings:
            return 200, shared, b""  # the function is not asked
        if self.url_settings["AuthType"] == "AWS_IAM" and not self._is_signed(asked, "lambda"):
            return _said(403, "AccessDeniedException", Message="Forbidden")
        if planted := self._planted():
            reply = render_error(planted)
            return reply.status, {**dict(reply.headers), **shared}, reply.body
        answered = self.function.send(asked.method, asked.path, asked.headers, asked.body)
        return answered.status, {**answered.headers, **shared}, answered.body

    def _shared(self, asked: Asked) -> dict[str, str]:
        """The headers of CORS: none for an origin that is not allowed."""
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
            fault = Fault()
            answer = {"errorMessage": fault.message, "errorType": fault.code, "stackTrace": []}
        else:
            answer = self.function.invoke(json.loads(asked.body))
        failed = isinstance(answer, dict) and "errorType" in answer
        headers = {"X-Amz-Function-Error": "Unhandled"} if failed else {}
        return 200, headers, json.dumps(answer).encode()

    def _endpoint(self, asked: Asked) -> Answer:
        if planted := self._planted():
            rendered = render_error(planted)
            reply = Reply(rendered.status, {}, rendered.body, 0.0)
        else:
            names = ("content-type", "accept")
            passed = {name: asked.headers[name] for name in names if name in asked.headers}
            reply = self.http.send("POST", "/invocations", passed, asked.body)
        if reply.status == 200:
            names = ("content-type", CUSTOM)
            return 200, {name: reply.headers[name] for name in names}, reply.body
        whose, text = "client" if reply.status < 500 else "server", reply.body.decode()
        return _said(
            424,
            "ModelError",
            Message=f'Received {whose} error ({reply.status}) from primary with message "{text}". '
            "See https://eu-central-1.console.aws.amazon.com/cloudwatch/home for more information.",
            OriginalStatusCode=reply.status,
            OriginalMessage=text,
        )

    def _outputs(self, asked: Asked) -> Answer:
        assert parse_qs(asked.body.decode())["Action"] == ["DescribeStacks"]
        outputs = {
            "FunctionName": FUNCTION,
            "FunctionUrl": f"{self.url}/",
            "EndpointName": ENDPOINT,
        }
        members = "".join(
            f"<member><OutputKey>{name}</OutputKey>"
            f"<OutputValue>{escape(value)}</OutputValue></member>"
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
def listening(aws: Aws) -> Iterator[Aws]:
    """It has its `url` from here on."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, sent, body = aws.answer(Asked(self.command, self.path, headers, body))
            send(self, status, sent, body)

        do_POST = do_OPTIONS = _answer  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as aws.url:
        yield aws


def send(
    handler: BaseHTTPRequestHandler, status: int, headers: Mapping[str, str], body: bytes
) -> None:
    handler.send_response(status)
    for name, value in {**headers, "Content-Length": str(len(body))}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


@contextmanager
def serving(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    """An HTTP server on loopback, by its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def paths(asked: Sequence[Asked]) -> list[str]:
    return [unquote(one.path) for one in asked]

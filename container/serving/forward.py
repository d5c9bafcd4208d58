"""Forward a share of the function's calls to a SageMaker endpoint of the same image.

This module signs requests itself and uses http.client: importing botocore would take as long as
importing and loading the model.
"""

import hashlib
import hmac
import json
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPSConnection
from urllib.parse import urlsplit

from serving.core import errors, logs
from serving.core.contract import IDENTITY, JSON, JSON_LINES, Reply, Request, compression_in
from serving.core.errors import EndpointFailed, EndpointTimeout, EndpointUnavailable, StartError
from serving.core.settings import Settings
from serving.fetch.timeouts import CONNECT_SECONDS, MAX_CALLS, run_with_timeout
from serving.model.custom_model import ModelFunctions
from serving.model.protocol import Model

# InvokeEndpoint passes these headers to the container, each of at most 1,024 ASCII characters.
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
_PASSED = ("content-type", "accept", IDENTITY.lower())
_MAX_HEADER = 1024
_INFERENCE_ID = "x-amzn-sagemaker-inference-id"
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
_MAX_ANSWER_BYTES = 6 * 1024**2
_MARGIN_SECONDS = 1.0  # the part of the function's time in which it reports a slow endpoint
_ENDPOINT_SECONDS = 60.0  # SageMaker's own limit; a function that may spill answers after it
# Older connections are not reused, because a frozen function does not see that they were closed.
_KEPT_SECONDS = 20
_NOT_JSON = (ValueError, TypeError, KeyError, RecursionError)
_NO_ANSWER = (EndpointFailed, EndpointTimeout, EndpointUnavailable)

_slots = threading.BoundedSemaphore(MAX_CALLS)


@dataclass
class Forwarder:
    """Answers calls from the endpoint, or returns None for those that the function answers."""

    settings: Settings
    endpoint: "Endpoint"
    remaining_seconds: Callable[[], float]  # returns the time left to a call

    def __call__(self, request: Request) -> Reply | None:
        """Return the endpoint's reply, or None if the function must answer. Raises _NO_ANSWER."""
        logs.note(target="lambda")
        # InvokeEndpoint drops Content-Encoding, so the container could not refuse the body.
        is_compressed = compression_in(request.headers.get("content-encoding", ""))
        digest = hashlib.sha256(logs.request_id.get().encode()).digest()
        if is_compressed or int.from_bytes(digest[:8]) % 100 >= self.settings.forward_percent:
            return None
        headers = _passed_headers(request)
        logs.note(target="sagemaker")
        started = time.perf_counter()
        try:
            reply = self._ask(headers, request.body)
            if reply.status != 503 or not self.settings.forward_spill:
                return reply
            reason = "the endpoint answered 503"
        except _NO_ANSWER as error:
            reason = str(error)
            if not self.settings.forward_spill:
                logs.note(forwardError=reason)
                raise
        finally:
            logs.note(forwardMilliseconds=round((time.perf_counter() - started) * 1000, 2))
        logs.note(target="lambda-spill", forwardError=reason)
        return None

    def _ask(self, headers: dict[str, str], body: bytes) -> Reply:
        """Return the endpoint's reply. Raises one of _NO_ANSWER, or TooLarge."""
        seconds = min(_ENDPOINT_SECONDS, self.remaining_seconds() - _MARGIN_SECONDS)
        ask = partial(self.endpoint.invoke, headers, body, time.monotonic() + seconds)
        try:
            if seconds <= 0:
                raise TimeoutError
            # A socket's timeout restarts with every byte, and a DNS look-up has none.
            return run_with_timeout(ask, seconds, _slots)
        except TimeoutError:
            self.endpoint.abandon()
            raise EndpointTimeout("the endpoint did not answer in time") from None


# The model of a function that only forwards.
NO_MODEL: Model = ModelFunctions(load_model=lambda _folder: None, infer=lambda _record, _net: None)


class Endpoint:
    """Calls one endpoint over one connection that is kept open. Makes one call at a time.

    A sent request is never sent again: SageMaker may have executed it although no answer came.
    """

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        """Read the endpoint's URL and credentials. Raises StartError."""
        region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION", "")
        domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        url = (
            environment.get("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME")
            or environment.get("AWS_ENDPOINT_URL")
            or f"https://runtime.sagemaker.{region}.{domain}"
        )
        for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            if not environment.get(variable):
                raise StartError(f"{variable} is not set: calls to an endpoint are signed")
        parts = urlsplit(url)
        self._environment, self._region, self._host = environment, region, parts.netloc
        self._path = f"{parts.path.rstrip('/')}/endpoints/{name}/invocations"
        self._connect: Callable[..., HTTPConnection] = partial(HTTPConnection, parts.netloc)
        if parts.scheme == "https":
            tls = ssl.create_default_context()
            self._connect = partial(HTTPSConnection, parts.netloc, context=tls)
        self._kept: HTTPConnection | None = None
        self._used_at = 0.0
        self._socket: socket.socket | None = None

    def invoke(self, headers: dict[str, str], body: bytes, ends_at: float) -> Reply:
        """Return the reply by `ends_at` (monotonic). Raises _NO_ANSWER, TooLarge, TimeoutError."""
        connection = self._connection()
        is_kept = bool(connection.sock)
        try:
            try:
                self._send(connection, headers, body, ends_at)
            except ConnectionError:
                if not is_kept:
                    raise
                # The peer closed the connection before it had the whole request.
                connection.close()
                self._send(connection, headers, body, ends_at)
            with connection.getresponse() as response:
                answer = response.read(_MAX_ANSWER_BYTES + 1)
                length = response.headers.get("Content-Length", str(len(answer)))
                if len(answer) > _MAX_ANSWER_BYTES:
                    raise EndpointFailed("the endpoint's answer is larger than 6 MB")
                if length.strip() != str(len(answer)):
                    raise EndpointFailed("the connection to the endpoint broke in mid-answer")
                if not response.will_close:
                    self._kept, self._used_at = connection, time.time()
        except TimeoutError:
            raise
        except (OSError, HTTPException) as error:
            kind = type(error).__name__
            raise EndpointFailed(f"the connection to the endpoint broke: {kind}") from None
        finally:
            if self._kept is not connection:
                connection.close()
        return _reply(response.status, response.headers, answer)

    def abandon(self) -> None:
        """End the call that is under way in another thread."""
        if self._socket:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        if self._kept:
            self._kept.close()
        self._kept = None

    def _connection(self) -> HTTPConnection:
        """Return the kept connection, or a new one if it is old or closed."""
        is_recent = 0 <= time.time() - self._used_at < _KEPT_SECONDS
        if not (self._kept and is_recent) or select.select([self._kept.sock], [], [], 0)[0]:
            self.close()
        connection, self._kept = self._kept, None
        return connection or self._connect(timeout=CONNECT_SECONDS)

    def _send(
        self, connection: HTTPConnection, headers: Mapping[str, str], body: bytes, ends_at: float
    ) -> None:
        if not connection.sock:
            connection.connect()
        seconds = ends_at - time.monotonic()
        if seconds <= 0:  # the caller already has its answer
            raise TimeoutError
        self._socket = connection.sock
        self._socket.settimeout(seconds)
        connection.request("POST", self._path, body, self._signed(headers, body))

    def _signed(self, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
        """Return the headers with a signature, version 4, over all of them."""
        # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        signed = {**headers, "host": self._host, "x-amz-date": now}
        if token := self._environment.get("AWS_SESSION_TOKEN"):
            signed["x-amz-security-token"] = token
        lines = [f"{name}:{' '.join(signed[name].split())}\n" for name in sorted(signed)]
        names = ";".join(sorted(signed))
        digest = hashlib.sha256(body).hexdigest()
        request = "\n".join(["POST", self._path, "", "".join(lines), names, digest])
        scope = f"{now[:8]}/{self._region}/sagemaker/aws4_request"
        hashed = hashlib.sha256(request.encode()).hexdigest()
        key = f"AWS4{self._environment['AWS_SECRET_ACCESS_KEY']}".encode()
        for part in (*scope.split("/"), f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashed}"):
            key = hmac.digest(key, part.encode(), "sha256")
        signed["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self._environment['AWS_ACCESS_KEY_ID']}/{scope}, "
            f"SignedHeaders={names}, Signature={key.hex()}"
        )
        return signed


def _passed_headers(request: Request) -> dict[str, str]:
    """Return the headers for InvokeEndpoint. Raises a ServingError for values that it refuses."""
    headers = {name: request.headers[name] for name in _PASSED if request.headers.get(name)}
    for name, value in headers.items():
        if len(value) > _MAX_HEADER:
            raise errors.HeadersTooLarge(f"{name} is longer than {_MAX_HEADER} characters")
        if not (value.isascii() and value.isprintable()):
            raise errors.MalformedRequest(f"{name} is not printable ASCII")
    if request_id := logs.request_id.get():
        headers[_INFERENCE_ID] = request_id
    return headers


def _reply(status: int, headers: HTTPMessage, body: bytes) -> Reply:
    """Return the container's reply from SageMaker's answer. Raises one of _NO_ANSWER."""
    if status == 200:
        return _success(headers, body)
    kind = headers.get("x-amzn-errortype", "").partition(":")[0]
    if kind == "ModelError":
        return _model_error(body)
    if status == 413 or (kind == "ValidationError" and b"'body' failed" in body):
        raise errors.TooLarge("the body is larger than the endpoint takes")
    is_busy = kind.startswith("Throttling") or status in (429, 503, 530)
    error = EndpointUnavailable if is_busy else EndpointFailed
    raise error(f"SageMaker answered {kind if kind.isidentifier() else status}")


def _success(headers: HTTPMessage, body: bytes) -> Reply:
    content_type, identity = headers.get("Content-Type", ""), headers.get(IDENTITY, "")
    try:
        text = body.decode()
        if content_type != JSON_LINES:
            json.loads(text)
    except _NOT_JSON:
        raise EndpointFailed("the endpoint's answer is not JSON") from None
    parts = dict(part.split("=", 1) for part in identity.split(";") if "=" in part)
    named = {
        "Content-Type": content_type,
        IDENTITY: identity,
        "X-Image-Id": parts.get("image", ""),
        "X-Model-Id": parts.get("model", ""),
    }
    return Reply(200, body, tuple(named.items()), has_identity=True)


def _model_error(body: bytes) -> Reply:
    """Return the container's error. SageMaker passes none of its headers."""
    try:
        found = json.loads(body)
        status, message = int(found["OriginalStatusCode"]), found["OriginalMessage"]
    except _NOT_JSON:
        raise EndpointFailed("the endpoint's ModelError is not JSON") from None
    for end in ("", '"}}'):  # SageMaker cuts a message after 2,048 characters
        with suppress(*_NOT_JSON):
            text = message + end
            code = str(json.loads(text)["error"]["code"])
            retry = EndpointUnavailable.headers if status == 503 else ()
            headers = (("Content-Type", JSON), *retry)
            return Reply(status, text.encode(), headers, code, has_identity=True)
    if status == 0:  # https://github.com/aws/amazon-sagemaker-examples/issues/799
        raise EndpointTimeout("the endpoint's container did not answer in time")
    kind = EndpointUnavailable if status == 503 else EndpointFailed
    raise kind(f"the endpoint's container answered {status}")

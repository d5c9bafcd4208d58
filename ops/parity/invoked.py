"""A Lambda function by lambda:InvokeFunction, with the event that its URL would make.

A direct event carries JSON alone and has no status. Lambda hands the handler an HTTP request as an
event of payload format 2.0, so the same event by Invoke gives status, headers and bytes too.
"""

import json
import time
from functools import cached_property
from typing import Any

from botocore.exceptions import ClientError

from ops.answers import platform_error
from ops.aws import AWS_ERRORS, Aws, code_of, explain
from ops.faces import FaceError, Reply, url_event, url_reply
from ops.local import Picture
from ops.targets import JSON

_THROTTLED = ("TooManyRequestsException", "ThrottlingException")


class InvokedFunction:
    """A function by name, ARN, or either with an alias."""

    def __init__(self, aws: Aws, function_name: str) -> None:
        self._aws, self._function_name = aws, function_name

    def post(self, picture: Picture, accept: str = JSON) -> Reply:
        """The reply that its URL would give. Raises CannotAsk."""
        headers = {"content-type": picture.content_type, "accept": accept}
        event = json.dumps(url_event("POST", "/invocations", headers, picture.body))
        started = time.perf_counter()
        try:
            reply = self._lambda.invoke(FunctionName=self._function_name, Payload=event)
            payload = reply["Payload"].read()
        except AWS_ERRORS as error:
            if isinstance(error, ClientError) and code_of(error) in _THROTTLED:
                return _said(429, str(error), started)
            raise explain(error, "lambda:InvokeFunction") from error
        seconds = time.perf_counter() - started
        if "FunctionError" in reply:
            return _said(502, payload.decode(errors="replace"), started)
        try:
            return url_reply(json.loads(payload), seconds)
        except (FaceError, ValueError, KeyError):
            return _said(502, f"no HTTP reply, but {payload[:200]!r}", started)

    @cached_property
    def _lambda(self) -> Any:
        return self._aws.client("lambda", read_timeout=910)  # it may take 900 s


def _said(status: int, message: str, started: float) -> Reply:
    """What Lambda says in the place of an answer, in the contract's own form."""
    text = platform_error(status, message).text
    return Reply(status, {}, text.encode(), time.perf_counter() - started)

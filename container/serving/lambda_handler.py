"""The Lambda face: AWS's events become the pipeline's requests, its replies AWS's answers.

Nothing of the HTTP face is imported here; a cold start pays for what it uses.
"""

import gc

# Nothing that a start makes is garbage, and looking for some would be 6 % of a cold start.
gc.disable()

import base64
import json
import logging
import os
from typing import Any
from urllib.parse import unquote

from awslambdaric.lambda_runtime_exception import FaultException

from serving import logs
from serving.artifact import resolve
from serving.contract import JSON, MAX_DEPTH, Reply, Request
from serving.errors import MalformedRequest, StartError
from serving.service import Service, model_of
from serving.settings import Settings, granted_cpus


def _start() -> Service:
    """Lambda imports this module in its init phase, so the model is loaded there.

    A StartError becomes awslambdaric's own kind of failure: one line in the log, and an init error
    with that message, instead of a traceback.
    """
    try:
        # One request at a time, so one forward may have every CPU. MXNet reads the variable itself.
        os.environ.setdefault("OMP_NUM_THREADS", str(granted_cpus(os.environ)))
        settings = Settings.from_environment(os.environ)
        logs.configure(settings.log_level)
        service = Service(settings, resolve(settings), model_of(settings))
        service.start()
        gc.freeze()
        gc.enable()
    except StartError as error:
        logging.disable()  # awslambdaric would announce the failure a second time
        raise FaultException("StartError", logs.redacted(str(error))) from None
    return service


_service = _start()


def handler(event: Any, context: Any) -> Any:
    """Answer a direct invocation, a function URL or HTTP API (payload 2.0), or an ALB.

    A direct event is the JSON request itself. It gets the JSON answer, an error object if it is at
    fault; when we are, this raises, so that Lambda's Errors metric counts it.
    """
    logs.request_id.set(getattr(context, "aws_request_id", ""))
    if isinstance(event, dict) and isinstance(origin := event.get("requestContext"), dict):
        http = origin.get("http")
        if event.get("version") == "2.0" and isinstance(http, dict) and "method" in http:
            return _respond_url(event)
        if "elb" in origin and "httpMethod" in event:
            return _respond_alb(event)
    body, problem = b"", None
    try:
        text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
        body = text.encode(errors="backslashreplace")  # a lone surrogate is its JSON escape again
    except RecursionError:
        problem = MalformedRequest(f"the JSON is nested more than {MAX_DEPTH} deep")
    reply = _service.respond(Request("POST", "/invocations", {"content-type": JSON}, body, problem))
    answer = json.loads(reply.body)
    if reply.status >= 500:
        raise FaultException(answer["error"]["code"], answer["error"]["message"])
    return answer


def _respond_url(event: dict[str, Any]) -> dict[str, Any]:
    """Payload format 2.0.

    https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads
    """
    origin = event["requestContext"]
    path = str(event.get("rawPath") or "/")
    # An HTTP API puts the name of its stage before the path, unless that is $default.
    if path.startswith(prefix := f"/{origin.get('stage')}/"):
        path = path[len(prefix) - 1 :]
    reply = _respond(event, origin["http"]["method"], path, event.get("headers"))
    return {**_answer(reply), "headers": dict(reply.headers)}


def _respond_alb(event: dict[str, Any]) -> dict[str, Any]:
    """An Application Load Balancer's event, with multi-value headers or without.

    https://docs.aws.amazon.com/lambda/latest/dg/services-alb.html
    """
    multiple = event.get("multiValueHeaders")
    multiple = multiple if isinstance(multiple, dict) else {}
    joined = {
        name: ",".join(map(str, values))
        for name, values in multiple.items()
        if isinstance(values, list)
    }
    path = str(event.get("path") or "/")
    reply = _respond(event, event["httpMethod"], path, joined or event.get("headers"))
    if multiple:
        return {**_answer(reply), "multiValueHeaders": {k: [v] for k, v in reply.headers}}
    return {**_answer(reply), "headers": dict(reply.headers)}


def _respond(event: dict[str, Any], method: object, path: str, headers: Any) -> Reply:
    """Of any types: who may invoke the function can make an event by hand."""
    text, body, problem = event.get("body") or "", b"", None
    try:
        body = text.encode(errors="backslashreplace")
        if event.get("isBase64Encoded"):
            body = base64.b64decode(body, validate=True)
    except (AttributeError, ValueError):
        problem = MalformedRequest("the event's body is not base64")
    pairs = headers.items() if isinstance(headers, dict) else ()
    lower = {name.lower(): str(value) for name, value in pairs}
    return _service.respond(Request(str(method), unquote(path), lower, body, problem))


def _answer(reply: Reply) -> dict[str, Any]:
    return {
        "statusCode": reply.status,
        "body": reply.body.decode(),
        "isBase64Encoded": False,
    }

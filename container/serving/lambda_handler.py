"""The Lambda face: turn AWS's events into requests, and replies into AWS's answers."""

import gc

# Starting creates no garbage, and collection would take 6 % of a cold start.
gc.disable()

import base64
import json
import logging
import os
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from awslambdaric.lambda_runtime_exception import FaultException

from serving.artifact.resolve import Artifact, resolve
from serving.core import logs
from serving.core.contract import JSON, MAX_DEPTH, Request
from serving.core.errors import MalformedRequest, StartError
from serving.core.settings import Settings, granted_cpus
from serving.service import Service, model_of

_remaining_ms: ContextVar[Callable[[], int]] = ContextVar("remaining_ms")


def _start() -> Service:
    """Load the model in Lambda's init phase, in which Lambda imports this module.

    Raises awslambdaric's own exception for a StartError, which logs one line without a traceback.
    """
    try:
        # Requests come one at a time, so a forward may use every CPU. MXNet reads the variable.
        os.environ.setdefault("OMP_NUM_THREADS", str(granted_cpus(os.environ)))
        settings = Settings.from_environment(os.environ)
        logs.configure(settings.log_level, os.environ.get("AWS_LAMBDA_FUNCTION_VERSION", ""))
        artifact = model = forward = None
        if settings.forward_endpoint and settings.forward_percent:
            from serving.forward import NO_MODEL, Endpoint, Forwarder

            endpoint = Endpoint(settings.forward_endpoint, os.environ)
            forward = Forwarder(settings, endpoint, lambda: _remaining_ms.get()() / 1000)
            if settings.forward_percent == 100 and not settings.forward_spill:
                artifact, model = Artifact(Path(), settings.model_id), NO_MODEL
        artifact, model = artifact or resolve(settings), model or model_of(settings)
        service = Service(settings, artifact, model, forward=forward)
        service.start()
        gc.freeze()
        gc.enable()
    except StartError as error:
        logging.disable()  # awslambdaric would log the failure a second time
        raise FaultException("StartError", logs.redacted(str(error))) from None
    return service


_service = _start()
_SCHEDULERS = ("aws.events", "aws.scheduler")  # a rule of EventBridge, and EventBridge Scheduler


def handler(event: Any, context: Any) -> Any:
    """Answer a direct invocation, a function URL, API Gateway or an ALB.

    A direct event is the JSON request itself. The result is the JSON answer, or an error object for
    a client error. Raises for a fault, so that Lambda's Errors metric counts it, and for an event
    of a service that takes any result as success, so that the service keeps the event.
    """
    if context:
        logs.request_id.set(context.aws_request_id)
        _remaining_ms.set(context.get_remaining_time_in_millis)
    if isinstance(event, dict):
        if isinstance(origin := event.get("requestContext"), dict):
            http = origin.get("http")
            if event.get("version") == "2.0" and isinstance(http, dict) and "method" in http:
                return _respond_2(event, origin, http)
            if "httpMethod" in event and "path" in event:
                return _respond_1(event, origin)
        if event.get("detail-type") == "Scheduled Event" and event.get("source") in _SCHEDULERS:
            return None
    if service := _sender(event):
        raise FaultException(
            "UnsupportedEvent",
            f"the function answers requests, and this is an event of {service}; "
            "call the function from one that reads such events",
        )
    body, problem = b"", None
    try:
        text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
        body = text.encode(errors="backslashreplace")  # a lone surrogate becomes its JSON escape
    except RecursionError:
        problem = MalformedRequest(f"the JSON is nested more than {MAX_DEPTH} deep")
    reply = _service.respond(Request("POST", "/invocations", {"content-type": JSON}, body, problem))
    answer = json.loads(reply.body)
    if reply.status >= 500:
        raise FaultException(answer["error"]["code"], answer["error"]["message"])
    return answer


def _sender(event: Any) -> str:
    """Return the service that sent the event, such as `aws:sqs`, or an empty string."""
    records = event.get("Records") if isinstance(event, dict) else event  # Pipes sends an array
    first = records[0] if isinstance(records, list) and records else event
    found = first if isinstance(first, dict) else {}
    source = str(found.get("eventSource") or found.get("EventSource"))  # SNS writes the second
    if source.startswith(("aws:", "SelfManagedKafka")):
        return source
    if found.keys() >= {"detail-type", "source", "detail"}:
        return "EventBridge"
    return "CloudWatch Logs" if "awslogs" in found else ""


def _respond_2(
    event: dict[str, Any], origin: dict[str, Any], http: dict[str, Any]
) -> dict[str, Any]:
    """Answer an event of payload format 2.0, from a function URL or an HTTP API."""
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
    raw = str(event.get("rawPath") or "/")
    inner = str(http.get("path") or raw)
    route = str(event.get("routeKey")).rpartition(" ")[2]
    path = _path(event, origin, inner if raw.endswith(inner) else raw, route)
    return _respond(event, http["method"], path, event.get("headers"))


def _respond_1(event: dict[str, Any], origin: dict[str, Any]) -> dict[str, Any]:
    """Answer an event of payload format 1.0, from API Gateway or a load balancer.

    A load balancer that sends multi-value headers expects them in the answer.
    https://docs.aws.amazon.com/lambda/latest/dg/services-alb.html
    """
    multiple = event.get("multiValueHeaders")
    pairs = multiple.items() if isinstance(multiple, dict) else ()
    joined = {k: ",".join(map(str, values)) for k, values in pairs if isinstance(values, list)}
    path = _path(event, origin, str(event.get("path") or "/"), str(event.get("resource")))
    headers, multiple = joined or event.get("headers"), bool(pairs) and "elb" in origin
    return _respond(event, event["httpMethod"], path, headers, multiple)


def _path(event: dict[str, Any], origin: dict[str, Any], path: str, route: str) -> str:
    """Return the path without API Gateway's prefix, which is a stage or a base path.

    `route` is the path of the API's route or resource, such as `/invocations` or `/{proxy+}`.
    """
    parameters = event.get("pathParameters")
    if route.endswith("+}") and isinstance(parameters, dict):
        return "/" + str(parameters.get(route.rpartition("{")[2][:-2]) or "")
    if route.startswith("/") and "{" not in route:
        return route
    stage = f"/{origin.get('stage')}/"
    return path[len(stage) - 1 :] if path.startswith(stage) else path


def _respond(
    event: dict[str, Any], method: object, path: str, headers: Any, multiple: bool = False
) -> dict[str, Any]:
    """Answer an HTTP event, whose values may have any type: events can be written by hand."""
    text, body, problem = event.get("body") or "", b"", None
    try:
        body = text.encode(errors="backslashreplace")
        if event.get("isBase64Encoded"):
            body = base64.b64decode(body, validate=True)
    except (AttributeError, ValueError):
        problem = MalformedRequest("the event's body is not base64")
    pairs = headers.items() if isinstance(headers, dict) else ()
    lower = {name.lower(): str(value) for name, value in pairs}
    reply = _service.respond(Request(str(method), unquote(path), lower, body, problem))
    sent = {name: [value] if multiple else value for name, value in reply.headers}
    return {
        "statusCode": reply.status,
        "multiValueHeaders" if multiple else "headers": sent,
        "body": reply.body.decode(),
        "isBase64Encoded": False,
    }

"""Route requests, by the service that they are signed for, to MiniStack or our own services."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import urllib3

from integration.deploy.plane import asynchronous
from integration.deploy.plane.account import Account
from integration.deploy.plane.codedeploy import CodeDeploy
from integration.deploy.plane.fleets import Endpoint
from integration.deploy.plane.rules import kind
from integration.deploy.plane.sagemaker import SageMaker, arn
from integration.deploy.plane.scaling import Scaling
from integration.deploy.plane.shapes import Refused

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Answered = tuple[int, dict[str, str], bytes]

_SIGNED_FOR = re.compile(r"Credential=[^/]+/\d{8}/[^/]+/([^/]+)/aws4_request")
_INVOCATION = re.compile(r"/endpoints/([^/]+)/(async-)?invocations")
_CUSTOM = "x-amzn-sagemaker-custom-attributes"
_PASSED_ON = ("content-type", "accept", _CUSTOM, "x-amzn-sagemaker-inference-id")


def gateway(
    ministack: Application,
    account: Account,
    sagemaker: SageMaker,
    scaling: Scaling,
    codedeploy: CodeDeploy,
    *,
    controls: Mapping[str, Callable[[], None]],
) -> Application:
    """Return MiniStack with SageMaker, its runtime and the other services in front of it.

    A test calls one of `controls` at /_plane/NAME.
    """
    operations = _operations(sagemaker, scaling, codedeploy)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if control := controls.get(scope.get("path", "").removeprefix("/_plane/")):
            await asyncio.to_thread(control)
            await _send(send, 200, {}, b"{}")
            return
        headers = {n.decode().lower(): v.decode("latin-1") for n, v in scope.get("headers", [])}
        signed = _SIGNED_FOR.search(headers.get("authorization", ""))
        service = signed[1] if signed else ""
        if service not in ("sagemaker", "application-autoscaling", "codedeploy"):
            await ministack(scope, receive, send)
            return
        body = await _body(receive)
        try:
            if invocation := _INVOCATION.fullmatch(scope["path"]):
                endpoint = _endpoint(sagemaker, invocation[1])
                if invocation[2]:
                    role = sagemaker.role_of(endpoint.fleet.config)
                    identifier, told = asynchronous.invoke(account, endpoint, role, headers, body)
                    answered = 202, told, json.dumps({"InferenceId": identifier}).encode()
                else:
                    answered = await asyncio.to_thread(_invoke, endpoint, headers, body)
            else:
                operation = headers.get("x-amz-target", "").split(".")[-1]
                api = operations.get(operation)
                if api is None:
                    raise Refused(f"{service}: {operation or scope['path']} is not emulated")
                reply = api(json.loads(body or b"{}"))
                answered = 200, {}, json.dumps(reply).encode()
        except Refused as refused:
            answered = _error(400, "ValidationException", message=str(refused))
        await _send(send, *answered)

    return application


def _endpoint(sagemaker: SageMaker, name: str) -> Endpoint:
    endpoint = sagemaker.endpoints.get(name)
    if endpoint is None or not endpoint.routes:
        raise Refused(f"Endpoint {name} of account not found.")
    return endpoint


def _invoke(endpoint: Endpoint, asked: dict[str, str], body: bytes) -> Answered:
    """Return the container's answer, or ModelError if it is an error."""
    if kind(endpoint.fleet.config) == "async":
        raise Refused(f"Endpoint {endpoint.name} takes asynchronous invocations only.")
    passed = {name: asked[name] for name in _PASSED_ON if name in asked}
    try:
        answer = endpoint.invoke(passed, body)
    except urllib3.exceptions.HTTPError as error:
        return _model_error(500, "the container does not answer", str(error))
    variant = endpoint.fleet.variant["VariantName"]
    if answer.status >= 400:
        whose = "client" if answer.status < 500 else "server"
        told = f"Received {whose} error ({answer.status}) from {variant}"
        return _model_error(answer.status, told, answer.data.decode(errors="replace"))
    kept = {n: answer.headers[n] for n in ("content-type", _CUSTOM) if n in answer.headers}
    data = answer.data.replace(b'"tiger cat"', b'"lynx"') if endpoint.skewed else answer.data
    return 200, {"x-amzn-invoked-production-variant": variant, **kept}, data


def _model_error(status: int, told: str, text: str) -> Answered:
    original = {"OriginalStatusCode": status, "OriginalMessage": text}
    return _error(424, "ModelError", Message=f'{told} with message "{text}".', **original)


def _describe_endpoint(sagemaker: SageMaker, name: str) -> dict[str, Any]:
    if name not in sagemaker.endpoints:
        raise Refused(f"Could not find endpoint {name!r}.")
    endpoint = sagemaker.endpoints[name]
    about = {**_summary(endpoint), "FailureReason": endpoint.failure_reason}
    if endpoint.routes:
        fleet = endpoint.fleet
        about["EndpointConfigName"] = fleet.config["EndpointConfigName"]
        images = [
            {"SpecifiedImage": i.specified, "ResolvedImage": i.image} for i in fleet.instances
        ]
        variant = {"VariantName": fleet.variant["VariantName"], "DeployedImages": images}
        counts = dict.fromkeys(("CurrentInstanceCount", "DesiredInstanceCount"), len(images))
        about["ProductionVariants"] = [{**variant, **counts}]
    return about


def _summary(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "EndpointName": endpoint.name,
        "EndpointArn": arn("endpoint", endpoint.name),
        "EndpointStatus": endpoint.status,
        "CreationTime": endpoint.created,
        "LastModifiedTime": endpoint.modified,
    }


def _describe(records: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    if name not in records:
        raise Refused(f"Could not find {name!r}.")
    return records[name]


def _operations(
    sagemaker: SageMaker, scaling: Scaling, codedeploy: CodeDeploy
) -> dict[str, Callable[[dict[str, Any]], Any]]:
    models, configs, endpoints = sagemaker.models, sagemaker.configs, sagemaker.endpoints
    return {
        "DescribeEndpoint": lambda asked: _describe_endpoint(sagemaker, asked["EndpointName"]),
        "DescribeModel": lambda asked: _describe(models, asked["ModelName"]),
        "DescribeEndpointConfig": lambda asked: _describe(configs, asked["EndpointConfigName"]),
        "ListEndpoints": lambda _: {"Endpoints": [_summary(e) for e in endpoints.values()]},
        "ListModels": lambda _: {"Models": list(models.values())},
        "ListEndpointConfigs": lambda _: {"EndpointConfigs": list(configs.values())},
        "DescribeScalableTargets": lambda _: {"ScalableTargets": list(scaling.targets.values())},
        "DescribeScalingPolicies": lambda _: {"ScalingPolicies": list(scaling.policies.values())},
        "ListApplications": lambda _: {"applications": list(codedeploy.applications)},
        "PutLifecycleEventHookExecutionStatus": codedeploy.put_hook_status,
        "ListDeployments": lambda _: {"deployments": codedeploy.deployments},
    }


def _error(status: int, code: str, **members: Any) -> Answered:
    return status, {"x-amzn-errortype": code}, json.dumps({"__type": code, **members}).encode()


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _send(send: Send, status: int, headers: dict[str, str], body: bytes) -> None:
    headers = {"content-type": "application/x-amz-json-1.1", **headers}
    headers["content-length"] = str(len(body))
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})

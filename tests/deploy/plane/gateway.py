"""The HTTP face of what MiniStack lacks: requests for those services, told by their signature."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import urllib3

from deploy.plane.asynchronous import Asynchronous
from deploy.plane.codedeploy import CodeDeploy
from deploy.plane.fleets import Endpoint
from deploy.plane.rules import kind
from deploy.plane.sagemaker import SageMaker, arn
from deploy.plane.scaling import Scaling
from deploy.plane.shapes import Refused

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Answered = tuple[int, dict[str, str], bytes]

_SIGNED_FOR = re.compile(r"Credential=[^/]+/\d{8}/[^/]+/([^/]+)/aws4_request")
_INVOCATION = re.compile(r"/endpoints/([^/]+)/(async-)?invocations")
_PASSED_ON = (
    "content-type",
    "accept",
    "x-amzn-sagemaker-custom-attributes",
    "x-amzn-sagemaker-inference-id",
)
_CUSTOM = "x-amzn-sagemaker-custom-attributes"


def gateway(
    ministack: Application,
    sagemaker: SageMaker,
    asynchronous: Asynchronous,
    scaling: Scaling,
    codedeploy: CodeDeploy,
) -> Application:
    """MiniStack, with SageMaker, its runtime and what else it lacks in front of it."""
    operations = _operations(sagemaker, scaling, codedeploy)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
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
                    identifier, told = asynchronous.invoke(endpoint, headers)
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
        await _send(send, answered)

    return application


def _endpoint(sagemaker: SageMaker, name: str) -> Endpoint:
    endpoint = sagemaker.endpoints.get(name)
    if endpoint is None or not endpoint.routes:
        raise Refused(f"Endpoint {name} of account not found.")
    return endpoint


def _invoke(endpoint: Endpoint, asked: dict[str, str], body: bytes) -> Answered:
    """InvokeEndpoint: the container's answer, or ModelError where that is no success."""
    if kind(endpoint.fleet.config) == "async":
        raise Refused(f"Endpoint {endpoint.name} takes asynchronous invocations only.")
    passed = {name: asked[name] for name in _PASSED_ON if name in asked}
    try:
        variant, answer = endpoint.invoke(passed, body)
    except urllib3.exceptions.HTTPError as error:
        return _error(
            424,
            "ModelError",
            Message=f"the container does not answer: {error}",
            OriginalStatusCode=500,
            OriginalMessage=str(error),
        )
    if answer.status >= 400:
        whose = "client" if answer.status < 500 else "server"
        text = answer.body.decode(errors="replace")
        message = f'Received {whose} error ({answer.status}) from {variant} with message "{text}".'
        return _error(
            424,
            "ModelError",
            Message=message,
            OriginalStatusCode=answer.status,
            OriginalMessage=text,
        )
    told = {"x-amzn-invoked-production-variant": variant}
    for header in ("content-type", _CUSTOM):
        if header in answer.headers:
            told[header] = answer.headers[header]
    return 200, told, answer.body


def _describe_endpoint(sagemaker: SageMaker, name: str) -> dict[str, Any]:
    if name not in sagemaker.endpoints:
        raise Refused(f"Could not find endpoint {name!r}.")
    endpoint = sagemaker.endpoints[name]
    about = _summary(endpoint)
    if endpoint.failure_reason:
        about["FailureReason"] = endpoint.failure_reason
    if endpoint.routes:
        about["EndpointConfigName"] = endpoint.fleet.config["EndpointConfigName"]
        about["ProductionVariants"] = [
            {
                "VariantName": variant,
                "DeployedImages": [
                    {"SpecifiedImage": instance.specified, "ResolvedImage": instance.image}
                    for instance in instances
                ],
                "CurrentInstanceCount": len(instances),
                "DesiredInstanceCount": len(instances),
            }
            for variant, instances in endpoint.fleet.variants.items()
        ]
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
        "ListDeploymentGroups": lambda asked: {
            "deploymentGroups": [
                group for name, group in codedeploy.groups if name == asked["applicationName"]
            ]
        },
        "ListDeployments": lambda _: {
            "deployments": [f"d-{index:09}" for index in range(len(codedeploy.deployments))]
        },
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


async def _send(send: Send, answered: Answered) -> None:
    status, headers, body = answered
    headers.setdefault("content-type", "application/x-amz-json-1.1")
    headers["content-length"] = str(len(body))
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})

"""Read how the targets are deployed, and send them requests."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from os import environ
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from serving.core.contract import IDENTITY, Reply
from serving.examiner.exam import Question

# The examiner's own variables. It shares all others with the function.
_STACK, _NEW_VERSION, _COMPARE = "EXAMINER_STACK", "EXAMINER_VERSION", "EXAMINER_COMPARE"
_CALL_SECONDS = 120  # the longest call, such as a cold start that unpacks `model_data`
_MARGIN_SECONDS = 20
_NOT_FORWARDED = (502, 503, 504)  # a function's statuses when its endpoint gives no answer


class CannotExamine(Exception):
    """There is no answer to compare. The message is one line with the reason."""


NO_ANSWER = (CannotExamine, ClientError, BotoCoreError)  # the methods of `Account` raise these


class TargetFails(Exception):
    """The target cannot run. The message is the target's."""


@dataclass(frozen=True)
class Target:
    """A target, its faults that are known without a request, and a function that sends one.

    `ask` raises TargetFails. It is None for an asynchronous endpoint.
    """

    name: str
    faults: tuple[str, ...]
    ask: Callable[[Question], Reply] | None
    gives_same_bodies: bool = True  # False for a GPU, whose rounding may swap close classes
    endpoint_share: float = 0.0  # the share of its answers that the endpoint gives, 0 to 1


@dataclass(frozen=True)
class Account:
    """The services of this account. Each method raises one of NO_ANSWER if AWS does not answer."""

    context: Any  # Lambda's context of the examiner's call

    def has_time(self) -> bool:
        seconds: float = self.context.get_remaining_time_in_millis() / 1000
        return seconds > _CALL_SECONDS + _MARGIN_SECONDS

    def stack_status(self) -> str:
        """Return the status of the stack, such as UPDATE_IN_PROGRESS."""
        found = _client("cloudformation").describe_stacks(StackName=environ[_STACK])
        return str(found["Stacks"][0]["StackStatus"])

    def new_version(self) -> list[Target]:
        """Return the function's version in the stack's newest template, and its endpoint.

        An exam is too short to reach an endpoint with a small share through the function.
        """
        found = _client("cloudformation").describe_stack_resource(
            StackName=environ[_STACK], LogicalResourceId=environ[_NEW_VERSION]
        )
        version = self._version(found["StackResourceDetail"]["PhysicalResourceId"])
        endpoint = environ.get("FORWARD_ENDPOINT")
        if not endpoint:
            return [version]
        return [version, self._endpoint(endpoint, environ[_COMPARE], ())]

    def versions(self, alias: str) -> list[Target]:
        """Return the versions of an alias. The alias's metrics exclude calls of a version."""
        function, _, name = alias.rpartition(":")
        found = _client("lambda").get_alias(FunctionName=function, Name=name)
        others = found.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
        versions = (found["FunctionVersion"], *others)
        return [self._version(f"{function}:{version}") for version in versions]

    def endpoint(self, wanted: Mapping[str, str]) -> Target:
        """Return an endpoint, with a fault unless it runs the config `EndpointConfig`.

        If SageMaker rolls back an update, the old config stays in service. `Compare` names the
        part of the answers that must match this image's: answers, identity or nothing.
        """
        name, config = wanted["Endpoint"], wanted["EndpointConfig"]
        found = _client("sagemaker").describe_endpoint(EndpointName=name)
        if (status := found["EndpointStatus"]) != "InService":
            raise CannotExamine(f"the endpoint {name} is {status}, not in service")
        faults: tuple[str, ...] = ()
        if (runs := found["EndpointConfigName"]) != config:
            reason = found.get("FailureReason") or "it gives no reason"
            faults = (f"SageMaker rolled back its update ({reason}): it runs {runs}, not {config}",)
        return self._endpoint(name, wanted["Compare"], faults)

    def _endpoint(self, name: str, compare: str, faults: tuple[str, ...]) -> Target:
        ask = None if compare == "nothing" else partial(self._ask_endpoint, name)
        return Target(f"the endpoint {name}", faults, ask, compare == "answers", endpoint_share=1)

    def finish_hook(self, event: Mapping[str, str], *, passed: bool) -> None:
        """Tell CodeDeploy whether its deployment may go on."""
        _client("codedeploy").put_lifecycle_event_hook_execution_status(
            deploymentId=event["DeploymentId"],
            lifecycleEventHookExecutionId=event["LifecycleEventHookExecutionId"],
            status="Succeeded" if passed else "Failed",
        )

    def _version(self, arn: str) -> Target:
        """Return a version, with a fault if its image or settings differ from the examiner's."""
        digest, variables = _running(arn)
        own_digest, own_variables = _running(environ["AWS_LAMBDA_FUNCTION_NAME"])
        faults = []
        if digest != own_digest:
            faults.append(f"it runs the image {digest}, not {own_digest}")
        names = variables.keys() | own_variables.keys() - {_STACK, _NEW_VERSION, _COMPARE}
        if other := sorted(n for n in names if variables.get(n) != own_variables.get(n)):
            faults.append(f"it has another value of {', '.join(other)}")
        return Target(
            f"version {arn.rpartition(':')[2]}",
            tuple(faults),
            partial(self._ask, arn),
            gives_same_bodies=environ.get(_COMPARE, "answers") == "answers",
            endpoint_share=int(environ.get("FORWARD_PERCENT", "0")) / 100,
        )

    def _ask(self, arn: str, question: Question) -> Reply:
        """Invoke a version with a function URL's event, so that it answers status and headers."""
        event = {
            "version": "2.0",
            "rawPath": "/invocations",
            "headers": {"content-type": question.content_type},
            "requestContext": {"http": {"method": "POST"}},
            "body": base64.b64encode(question.body).decode(),
            "isBase64Encoded": True,
        }
        client = self._runtime("lambda")
        found = client.invoke(FunctionName=arn, Payload=json.dumps(event).encode())
        reply = json.loads(found["Payload"].read())
        if "FunctionError" in found:
            raise TargetFails(str(reply.get("errorMessage", reply)))
        status = reply["statusCode"]
        if status in _NOT_FORWARDED and environ.get("FORWARD_ENDPOINT"):
            # Retry: the permission may be new, or the endpoint busy.
            raise CannotExamine(f"the function answers {status} for its endpoint: {reply['body']}")
        return Reply(status, reply["body"].encode(), tuple(reply["headers"].items()))

    def _ask_endpoint(self, name: str, question: Question) -> Reply:
        """Invoke the endpoint. SageMaker passes no headers of an error."""
        client = self._runtime("sagemaker-runtime")
        try:
            reply = client.invoke_endpoint(
                EndpointName=name,
                ContentType=question.content_type,
                Body=question.body,
                InferenceId="examiner",
            )
        except client.exceptions.ModelError as error:
            response = error.response
            status, body = response["OriginalStatusCode"], response["OriginalMessage"].encode()
            return Reply(status, body)
        identity = reply.get("CustomAttributes", "")
        return Reply(200, reply["Body"].read(), ((IDENTITY, identity),))

    def _runtime(self, service: str) -> Any:
        """Return a client that invokes, unless a call could outlast the examiner."""
        if not self.has_time():
            raise CannotExamine("the exam did not end in its time")
        return _client(service, _CALL_SECONDS)


def _client(service: str, read_seconds: int = _MARGIN_SECONDS) -> Any:
    once = {"total_max_attempts": 1}
    config = Config(connect_timeout=10, read_timeout=read_seconds, retries=once)
    return boto3.client(service, config=config)


def _running(function: str) -> tuple[str, Mapping[str, str]]:
    """Return the digest of a function's image, and its environment variables."""
    found = _client("lambda").get_function(FunctionName=function)
    variables = found["Configuration"].get("Environment", {}).get("Variables", {})
    return found["Code"]["ResolvedImageUri"].rpartition("@")[2], variables

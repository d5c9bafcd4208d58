"""Read how the targets are deployed, and ask them. AWS's answers are the only input here."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from serving.core.contract import IDENTITY
from serving.examiner.answers import Answer
from serving.examiner.exam import Question

INFERENCE_ID = "examiner"
STACK, NEW_VERSION, COMPARE = "EXAMINER_STACK", "EXAMINER_VERSION", "EXAMINER_COMPARE"
"""Variables of the examiner alone; it has all others in common with the function."""
CALL_SECONDS = 120
"""The longest time of one call, such as a cold start that unpacks `model_data`."""
_MARGIN_SECONDS = 20
_NOT_FORWARDED = (502, 503, 504)  # of a function whose endpoint has given no answer


class CannotExamine(Exception):
    """There is no answer to compare. The message is one line that says why."""


NO_ANSWER = (CannotExamine, ClientError, BotoCoreError)
"""What the methods of `Account` raise."""


class TargetFails(Exception):
    """The target cannot run. The message is its own."""


@dataclass(frozen=True)
class Target:
    """One target, what is wrong with it before it is asked, and how to ask it.

    `ask` is None for an asynchronous endpoint. It raises TargetFails.
    """

    name: str
    faults: tuple[str, ...]
    ask: Callable[[Question], Answer] | None
    gives_same_bodies: bool = True
    """False for a GPU, which adds in another order: close classes may swap their places."""
    endpoint_share: float = 0.0
    """The share of its answers that the endpoint gives, 0 to 1."""


@dataclass(frozen=True)
class Account:
    """The services of this account. Every method raises one of NO_ANSWER if AWS does not answer."""

    environment: Mapping[str, str]
    context: Any  # of the examiner's call, which knows how much time is left

    def has_time(self) -> bool:
        """Return whether another call fits into the time that is left."""
        seconds: float = self.context.get_remaining_time_in_millis() / 1000
        return seconds > CALL_SECONDS + _MARGIN_SECONDS

    def stack_status(self) -> str:
        """Return the status of the stack, such as UPDATE_IN_PROGRESS."""
        client = _client("cloudformation")
        found = client.describe_stacks(StackName=self.environment[STACK])
        return str(found["Stacks"][0]["StackStatus"])

    def new_version(self) -> list[Target]:
        """Return the version of the function that belongs to the stack's newest template.

        The endpoint that it forwards to comes with it: an exam has too few questions to meet a
        small share by chance.
        """
        found = _client("cloudformation").describe_stack_resource(
            StackName=self.environment[STACK], LogicalResourceId=self.environment[NEW_VERSION]
        )
        version = self._version(found["StackResourceDetail"]["PhysicalResourceId"])
        endpoint = self.environment.get("FORWARD_ENDPOINT")
        if not endpoint:
            return [version]
        return [version, self._endpoint(endpoint, self.environment[COMPARE], ())]

    def versions(self, alias: str) -> list[Target]:
        """Return the versions that the alias leads to. Its own metrics do not count their calls."""
        function, _, name = alias.rpartition(":")
        found = _client("lambda").get_alias(FunctionName=function, Name=name)
        others = found.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
        versions = (found["FunctionVersion"], *others)
        return [self._version(f"{function}:{version}") for version in versions]

    def endpoint(self, wanted: Mapping[str, str]) -> Target:
        """Return an endpoint, which is at fault if it runs another config than `EndpointConfig`.

        An update that SageMaker takes back by itself leaves the old config in service. `Compare`
        says what of its answers must be this image's own: answers, identity or nothing.
        """
        name, config, compare = wanted["Endpoint"], wanted["EndpointConfig"], wanted["Compare"]
        found = _client("sagemaker").describe_endpoint(EndpointName=name)
        if (status := found["EndpointStatus"]) != "InService":
            raise CannotExamine(f"the endpoint {name} is {status}, not in service")
        faults: tuple[str, ...] = ()
        if (runs := found["EndpointConfigName"]) != config:
            reason = found.get("FailureReason") or "it gives no reason"
            faults = (f"SageMaker took its update back ({reason}): it runs {runs}, not {config}",)
        return self._endpoint(name, compare, faults)

    def _endpoint(self, name: str, compare: str, faults: tuple[str, ...]) -> Target:
        ask = None if compare == "nothing" else partial(self._ask_endpoint, name)
        same = compare == "answers"
        return Target(f"the endpoint {name}", faults, ask, same, endpoint_share=1)

    def finish_hook(self, event: Mapping[str, str], *, passed: bool) -> None:
        """Tell CodeDeploy whether its deployment may go on."""
        _client("codedeploy").put_lifecycle_event_hook_execution_status(
            deploymentId=event["DeploymentId"],
            lifecycleEventHookExecutionId=event["LifecycleEventHookExecutionId"],
            status="Succeeded" if passed else "Failed",
        )

    def _version(self, arn: str) -> Target:
        """Return a version, which is at fault if its image or settings are not the examiner's."""
        digest, variables = _running(arn)
        own_digest, own_variables = _running(self.environment["AWS_LAMBDA_FUNCTION_NAME"])
        faults = []
        if digest != own_digest:
            faults.append(f"it runs the image {digest}, not {own_digest}")
        names = variables.keys() | own_variables.keys() - {STACK, NEW_VERSION, COMPARE}
        if other := sorted(n for n in names if variables.get(n) != own_variables.get(n)):
            faults.append(f"it has another value of {', '.join(other)}")
        return Target(
            f"version {arn.rpartition(':')[2]}",
            tuple(faults),
            partial(self._ask, arn),
            gives_same_bodies=self.environment.get(COMPARE, "answers") == "answers",
            endpoint_share=int(self.environment.get("FORWARD_PERCENT", 0)) / 100,
        )

    def _ask(self, arn: str, question: Question) -> Answer:
        """Invoke a version with the event of a function URL: the answer has status and headers."""
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
        if status in _NOT_FORWARDED and self.environment.get("FORWARD_ENDPOINT"):
            # A new permission takes a while, and an endpoint may be busy: it is asked again.
            raise CannotExamine(f"the function answers {status} for its endpoint: {reply['body']}")
        return Answer(status, reply["body"].encode(), reply["headers"].get(IDENTITY))

    def _ask_endpoint(self, name: str, question: Question) -> Answer:
        """Invoke the endpoint. SageMaker passes no headers of an answer that is an error."""
        client = self._runtime("sagemaker-runtime")
        try:
            reply = client.invoke_endpoint(
                EndpointName=name,
                ContentType=question.content_type,
                Body=question.body,
                InferenceId=INFERENCE_ID,
            )
        except client.exceptions.ModelError as error:
            response = error.response
            status, body = response["OriginalStatusCode"], response["OriginalMessage"].encode()
            return Answer(status, body, None)
        return Answer(200, reply["Body"].read(), reply.get("CustomAttributes", ""))

    def _runtime(self, service: str) -> Any:
        """Return a client that invokes, unless a call could outlast the examiner."""
        if not self.has_time():
            raise CannotExamine("the exam did not end in its time")
        return _client(service, CALL_SECONDS)


def _client(service: str, read_seconds: int = _MARGIN_SECONDS) -> Any:
    once = {"total_max_attempts": 1}
    config = Config(connect_timeout=10, read_timeout=read_seconds, retries=once)
    return boto3.client(service, config=config)


def _running(function: str) -> tuple[str, Mapping[str, str]]:
    """Return the digest of a function's image, and its environment variables."""
    found = _client("lambda").get_function(FunctionName=function)
    variables = found["Configuration"].get("Environment", {}).get("Variables", {})
    return found["Code"]["ResolvedImageUri"].rpartition("@")[2], variables

"""A deployed stack of both targets: stand-ins for AWS in front of the real server."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from integration.ops.operator_tools import REGISTRY, REPOSITORY, ScriptedReply, by_endpoint, by_url
from ops.local_servers import HttpFace

FUNCTION = "/2015-03-31/functions/the-function%3Alive"
ENDPOINT = "/endpoints/the-endpoint/invocations"
SETTINGS = {"MODEL_NAME": "efficientnet_lite0", "IMAGE_ID": "local", "URI_ALLOWLIST": "*"}
ROLE = "arn:aws:iam::123456789012:role/any"


@dataclass
class Deployed:
    """AWS's descriptions of a stack, and the face behind its function."""

    account: Any
    script: Any
    digest: str
    config: str
    on_lambda: HttpFace

    def describe(
        self,
        *,
        digest: str = "",
        environment: Mapping[str, str] = SETTINGS,
        function: Mapping[str, Any] | None = None,
        endpoint: Mapping[str, Any] | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        """Script the descriptions; `digest` and `environment` are the function's."""
        image = f"{REGISTRY}/{REPOSITORY}@"
        about = {"FunctionName": "the-function", "State": "Active", "Architectures": ["x86_64"]}
        about |= function or {}
        about["Environment"] = {"Variables": dict(environment)}
        code = {"ResolvedImageUri": image + (digest or self.digest)}
        self.script.json(FUNCTION, {"Configuration": about, "Code": code})
        deployed = [{"ResolvedImage": image + self.digest}]
        found = {"EndpointName": "the-endpoint", "EndpointConfigName": self.config}
        found["ProductionVariants"] = [{"VariantName": "v", "DeployedImages": deployed}]
        found |= {"EndpointStatus": "InService", **(endpoint or {})}
        self.script.json("DescribeEndpoint", found)
        variant = {"VariantName": "v", "ModelName": "the-model"}
        self.script.json("DescribeEndpointConfig", {"ProductionVariants": [variant]})
        container = {"Image": image, "Environment": SETTINGS}
        self.script.json("DescribeModel", {"PrimaryContainer": container})
        alias = {"Name": "live", "RoutingConfig": {"AdditionalVersionWeights": weights or {}}}
        self.script.json("/2015-03-31/functions/the-function/aliases/live", alias)

    def by_url(self, request: Any) -> ScriptedReply:
        return by_url(self.on_lambda, request)

    def by_invocation(self, request: Any) -> ScriptedReply:
        event = json.loads(request.body)
        assert event["version"] == "2.0"
        body = base64.b64decode(event["body"])
        reply = self.on_lambda.send("POST", event["rawPath"], event["headers"], body)
        answer = {"statusCode": reply.status, "headers": dict(reply.headers)}
        answer["body"] = reply.body.decode()
        return 200, {}, json.dumps(answer).encode()


def deploy(account: Any, url: str) -> str:
    """Create the stack and return the generated name of its endpoint config."""
    image = f"{REGISTRY}/{REPOSITORY}:deployed"
    client = account.client("sagemaker")
    client.create_model(ModelName="m", PrimaryContainer={"Image": image}, ExecutionRoleArn=ROLE)
    variant = {"VariantName": "v", "ModelName": "m", "InitialVariantWeight": 1}
    size = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    config = {"ProductionVariants": [{**variant, **size}]}
    outputs = {"ImageUri": image, "FunctionUrl": f"{url}/"}
    outputs |= {"FunctionName": "the-function:live", "EndpointName": "the-endpoint"}
    resources = {"Config": {"Type": "AWS::SageMaker::EndpointConfig", "Properties": config}}
    account.deploy(outputs, resources)
    [made] = client.list_endpoint_configs()["EndpointConfigs"]
    return str(made["EndpointConfigName"])


@pytest.fixture
def deployed(
    account: Any, script: Any, face: HttpFace, monkeypatch: pytest.MonkeyPatch
) -> Deployed:
    """Deploy a stack of two equal targets."""
    digest, config = account.push("deployed"), deploy(account, script.url)
    # moto's own endpoints have no instances and so no images.
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", script.url)
    found = Deployed(account, script, digest, config, face)
    found.describe()
    script.replies["/invocations"] = found.by_url
    script.replies[f"{FUNCTION}/invocations"] = found.by_invocation
    script.replies[ENDPOINT] = partial(by_endpoint, face)
    return found

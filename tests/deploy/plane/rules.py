"""What AWS refuses beyond its shapes, each with the page that says so.

https://docs.aws.amazon.com/sagemaker/latest/dg/ has deployment-guardrails-blue-green.html,
deployment-guardrails-configuration.html, serverless-endpoints.html, endpoint-auto-scaling.html
and your-algorithms-containers-inference-private.html.
"""

import re
from collections.abc import Mapping
from typing import Any, Protocol

from deploy.plane.shapes import Refused, check, members

Properties = Mapping[str, Any]

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEXES = (
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
)
ENVIRONMENT_BYTES = 1024
LAMBDA_ENVIRONMENT_BYTES = 4096
PULL_ACTIONS = (
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:GetDownloadUrlForLayer",
)


class World(Protocol):
    """What the rules ask about the account."""

    def manifest_type(self, image: str) -> str | None:
        """The media type of what the registry holds under that URI."""

    def repository_arn(self, image: str) -> str: ...

    def role_allows(self, role_arn: str, service: str, action: str, resource: str) -> bool:
        """Whether the role exists, trusts the service and has the permission."""

    def object_exists(self, url: str) -> bool: ...

    def alarm_arn(self, name: str) -> str | None:
        """None where there is no such alarm."""


def check_model(properties: Properties, world: World) -> None:
    """Raises Refused for what CreateModel refuses."""
    check("sagemaker", "CreateModel", properties)
    role = properties.get("ExecutionRoleArn")
    if not role:
        raise Refused("ExecutionRoleArn is required")
    containers = [properties.get("PrimaryContainer"), *properties.get("Containers", [])]
    for container in filter(None, containers):
        _check_pull(role, container["Image"], world)
        for name, value in container.get("Environment", {}).items():
            for text in (name, value):
                if len(text.encode()) > ENVIRONMENT_BYTES:
                    raise Refused(f"environment {name} is over {ENVIRONMENT_BYTES} bytes")
        if url := model_data_url(container):
            if not world.object_exists(url):
                raise Refused(f"Could not find model data at {url}.")
            arn = "arn:aws:s3:::" + url.removeprefix("s3://")
            _require(role, "s3:GetObject", arn, world)


def model_data_url(container: Properties) -> str | None:
    """The archive that SageMaker unpacks to /opt/ml/model."""
    if url := container.get("ModelDataUrl"):
        return str(url)
    source = container.get("ModelDataSource", {}).get("S3DataSource")
    if not source:
        return None
    if (source["S3DataType"], source["CompressionType"]) != ("S3Object", "Gzip"):
        raise NotImplementedError(f"ModelDataSource {source} is not emulated")
    return str(source["S3Uri"])


def _check_pull(role: str, image: str, world: World) -> None:
    found = world.manifest_type(image)
    if found is None:
        raise Refused(f"Requested image {image} not found.")
    if found != DOCKER_MANIFEST:
        raise Refused(f"Unsupported manifest media type {found} for image {image}.")
    for action in PULL_ACTIONS:
        _require(role, action, world.repository_arn(image), world)
    _require(role, "ecr:GetAuthorizationToken", "*", world)


def _require(role: str, action: str, resource: str, world: World) -> None:
    if not world.role_allows(role, "sagemaker.amazonaws.com", action, resource):
        raise Refused(f"role {role} cannot be assumed by SageMaker for {action} on {resource}")


def check_endpoint_config(properties: Properties, models: Mapping[str, Properties]) -> None:
    """Raises Refused for what CreateEndpointConfig refuses."""
    check("sagemaker", "CreateEndpointConfig", properties)
    for variant in properties["ProductionVariants"]:
        model = models.get(variant["ModelName"])
        if model is None:
            raise Refused(f'Could not find model "{variant["ModelName"]}".')
        if "ServerlessConfig" in variant:
            _check_serverless(variant, properties, model)
        elif not {"InstanceType", "InitialInstanceCount"} <= variant.keys():
            raise Refused("InstanceType and InitialInstanceCount are required")


def _check_serverless(variant: Properties, config: Properties, model: Properties) -> None:
    if {"InstanceType", "InitialInstanceCount"} & variant.keys():
        raise Refused("a serverless variant has no instances")
    if model.get("VpcConfig") or config.get("VpcConfig"):
        raise Refused("Serverless Inference does not support VPC configurations")
    if model.get("EnableNetworkIsolation") or config.get("EnableNetworkIsolation"):
        raise Refused("Serverless Inference does not support network isolation")
    for unsupported in ("DataCaptureConfig", "AsyncInferenceConfig", "ExplainerConfig"):
        if unsupported in config:
            raise Refused(f"Serverless Inference does not support {unsupported}")
    if variant["ServerlessConfig"]["MemorySizeInMB"] % 1024:
        raise Refused("MemorySizeInMB must be a multiple of 1024")


def kind(config: Properties) -> str:
    """What AWS does not change into each other in place: realtime, serverless or async."""
    if "AsyncInferenceConfig" in config:
        return "async"
    serverless = "ServerlessConfig" in config["ProductionVariants"][0]
    return "serverless" if serverless else "realtime"


def check_endpoint(
    properties: Properties, configs: Mapping[str, Properties], role: str, world: World
) -> None:
    """Raises Refused for what CreateEndpoint and UpdateEndpoint refuse."""
    creates = members("sagemaker", "CreateEndpoint")
    updates = members("sagemaker", "UpdateEndpoint")
    check("sagemaker", "UpdateEndpoint", {k: v for k, v in properties.items() if k != "Tags"})
    check(
        "sagemaker",
        "CreateEndpoint",
        {k: v for k, v in properties.items() if k in creates or k not in updates},
    )
    config = configs.get(properties["EndpointConfigName"])
    if config is None:
        raise Refused(
            f'Could not find endpoint configuration "{properties["EndpointConfigName"]}".'
        )
    deployment = properties.get("DeploymentConfig", {})
    for alarm in deployment.get("AutoRollbackConfiguration", {}).get("Alarms", []):
        arn = world.alarm_arn(alarm["AlarmName"])
        if arn is None:
            raise Refused(f"alarm {alarm['AlarmName']} does not exist")
        _require(role, "cloudwatch:DescribeAlarms", arn, world)
    if deployment and kind(config) == "serverless":
        raise Refused("Serverless Inference does not support DeploymentConfig")
    _check_traffic(deployment.get("BlueGreenUpdatePolicy"), config)


def _check_traffic(policy: Properties | None, config: Properties) -> None:
    if policy is None:
        return
    routing = policy["TrafficRoutingConfiguration"]
    sizes = {"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}
    for routing_type, name in sizes.items():
        if (name in routing) != (routing["Type"] == routing_type):
            raise Refused(f"{name} belongs to {routing_type}, and the type is {routing['Type']}")
    if routing["Type"] == "ALL_AT_ONCE":
        return
    size = routing[sizes[routing["Type"]]]
    instances = sum(v["InitialInstanceCount"] for v in config["ProductionVariants"])
    if instances < 2:
        raise Refused(f"{routing['Type']} needs two instances or more; the fleet has {instances}")
    percent = (
        size["Value"] if size["Type"] == "CAPACITY_PERCENT" else 100 * size["Value"] / instances
    )
    low = 10 if routing["Type"] == "LINEAR" else 0
    if not low <= percent <= 50:
        raise Refused(f"{routing['Type']} of {percent:g} % of the fleet: 50 % at most")


def check_endpoint_change(
    old: Properties, new: Properties, scaled_variants: frozenset[str], guarded: bool
) -> None:
    """Raises Refused for what UpdateEndpoint does not change in place: `old`, `new` are configs."""
    if kind(old) != kind(new):
        raise Refused(f"an endpoint cannot change from {kind(old)} to {kind(new)}")
    types = {v["VariantName"]: v.get("InstanceType") for v in old["ProductionVariants"]}
    if guarded and types.keys() != {v["VariantName"] for v in new["ProductionVariants"]}:
        raise Refused("a guarded deployment keeps the names of the variants")
    for variant in new["ProductionVariants"]:
        name = variant["VariantName"]
        before = types.pop(name, variant.get("InstanceType"))
        if before != variant.get("InstanceType") and name in scaled_variants:
            raise Refused(
                f"variant {name} has a scalable target; deregister it to change its instance type"
            )
    if removed := types.keys() & scaled_variants:
        raise Refused(f"variants {sorted(removed)} have a scalable target")


def check_scalable_target(properties: Properties, resources: Mapping[str, str]) -> None:
    """Raises Refused for what RegisterScalableTarget refuses.

    `resources` are the ids of what could be scaled, each with its kind.
    """
    # CloudFormation's own member; it makes a call of its own of it.
    taken = {name: value for name, value in properties.items() if name != "ScheduledActions"}
    check("application-autoscaling", "RegisterScalableTarget", taken)
    resource = properties["ResourceId"]
    if resource not in resources:
        raise Refused(f"No such resource: {resource}")
    if properties["MinCapacity"] > properties["MaxCapacity"]:
        raise Refused("MinCapacity is more than MaxCapacity")
    if properties["MinCapacity"] == 0 and resources[resource] != "async":
        raise Refused("only an asynchronous endpoint scales to zero")


def check_lambda_image(uri: str, world: World) -> None:
    """Raises Refused for what CreateFunction and UpdateFunctionCode refuse of an image."""
    found = world.manifest_type(uri)
    if found is None:
        raise Refused(f"Source image {uri} does not exist. Provide a valid source image.")
    if found in INDEXES:
        raise Refused(f"The image manifest, config or layer media type of {uri} is not supported.")


def check_lambda_model_data(role: str, url: str | None, world: World) -> None:
    """AWS would let such a function be made, and its every start fail."""
    arn = "arn:aws:s3:::" + (url or "").removeprefix("s3://")
    if url and not world.role_allows(role, "lambda.amazonaws.com", "s3:GetObject", arn):
        raise Refused(f"role {role} may not read {url}")


def check_lambda_environment(variables: Mapping[str, str]) -> None:
    size = sum(len(name.encode()) + len(value.encode()) for name, value in variables.items())
    if size > LAMBDA_ENVIRONMENT_BYTES:
        raise Refused(f"the environment's {size} bytes are over {LAMBDA_ENVIRONMENT_BYTES}")
    for name in variables:
        if not re.fullmatch(r"[a-zA-Z]([a-zA-Z0-9_])+", name) or name.startswith("AWS_"):
            raise Refused(f"Lambda sets or refuses the environment variable {name}")

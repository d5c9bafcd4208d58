"""Check AWS's rules beyond the shapes of its API.

https://docs.aws.amazon.com/sagemaker/latest/dg/ documents them in deployment-guardrails-
blue-green.html, deployment-guardrails-configuration.html, serverless-endpoints.html,
endpoint-auto-scaling.html and your-algorithms-containers-inference-private.html.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from integration.deploy.plane.shapes import Refused, check, input_shape

Properties = Mapping[str, Any]

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEXES = (
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
)
ENVIRONMENT_BYTES = 1024
PULL_ACTIONS = ("BatchCheckLayerAvailability", "BatchGetImage", "GetDownloadUrlForLayer")


class World(Protocol):
    """What the rules ask about the account."""

    def manifest_type(self, image: str) -> str | None: ...

    def repository_arn(self, image: str) -> str: ...

    def role_allows(self, role_arn: str, service: str, action: str, resource: str) -> bool:
        """Return True if the role exists, trusts the service and has the permission."""

    def object_exists(self, url: str) -> bool: ...

    def alarm_arn(self, name: str) -> str | None:
        """Return None if there is no such alarm."""


def check_model(properties: Properties, world: World) -> None:
    """Raise Refused for what CreateModel refuses."""
    check("sagemaker", "CreateModel", properties)
    role = properties.get("ExecutionRoleArn")
    if not role:
        raise Refused("ExecutionRoleArn is required")
    container = properties["PrimaryContainer"]
    _check_pull(role, container["Image"], world)
    for name, value in container.get("Environment", {}).items():
        if max(len(name.encode()), len(value.encode())) > ENVIRONMENT_BYTES:
            raise Refused(f"environment {name} is over {ENVIRONMENT_BYTES} bytes")
    if url := container.get("ModelDataUrl"):
        if not world.object_exists(url):
            raise Refused(f"Could not find model data at {url}.")
        _require(role, "s3:GetObject", "arn:aws:s3:::" + url.removeprefix("s3://"), world)


def _check_pull(role: str, image: str, world: World) -> None:
    found = world.manifest_type(image)
    if found is None:
        raise Refused(f"Requested image {image} not found.")
    if found != DOCKER_MANIFEST:
        raise Refused(f"Unsupported manifest media type {found} for image {image}.")
    for action in PULL_ACTIONS:
        _require(role, f"ecr:{action}", world.repository_arn(image), world)
    _require(role, "ecr:GetAuthorizationToken", "*", world)


def _require(role: str, action: str, resource: str, world: World) -> None:
    if not world.role_allows(role, "sagemaker.amazonaws.com", action, resource):
        raise Refused(f"role {role} cannot be assumed by SageMaker for {action} on {resource}")


def check_endpoint_config(properties: Properties, models: Mapping[str, Properties]) -> None:
    """Raise Refused for what CreateEndpointConfig refuses."""
    check("sagemaker", "CreateEndpointConfig", properties)
    for variant in properties["ProductionVariants"]:
        if variant["ModelName"] not in models:
            raise Refused(f'Could not find model "{variant["ModelName"]}".')
        has = variant.keys() & {"InstanceType", "InitialInstanceCount", "ServerlessConfig"}
        if has not in ({"InstanceType", "InitialInstanceCount"}, {"ServerlessConfig"}):
            raise Refused("InstanceType and InitialInstanceCount are required")


def kind(config: Properties) -> str:
    """Return realtime, serverless or async. AWS does not change one into another in place."""
    if "AsyncInferenceConfig" in config:
        return "async"
    serverless = "ServerlessConfig" in config["ProductionVariants"][0]
    return "serverless" if serverless else "realtime"


def check_endpoint(
    properties: Properties, configs: Mapping[str, Properties], role: str, world: World
) -> None:
    """Raise Refused for what CreateEndpoint and UpdateEndpoint refuse."""
    creates = input_shape("sagemaker", "CreateEndpoint").members
    updates = input_shape("sagemaker", "UpdateEndpoint").members
    given = {k: v for k, v in properties.items() if k in creates or k not in updates}
    check("sagemaker", "CreateEndpoint", given)
    check("sagemaker", "UpdateEndpoint", {k: v for k, v in properties.items() if k != "Tags"})
    config = configs.get(name := properties["EndpointConfigName"])
    if config is None:
        raise Refused(f'Could not find endpoint configuration "{name}".')
    deployment = properties.get("DeploymentConfig", {})
    for alarm in deployment.get("AutoRollbackConfiguration", {}).get("Alarms", []):
        arn = world.alarm_arn(alarm["AlarmName"])
        if arn is None:
            raise Refused(f"alarm {alarm['AlarmName']} does not exist")
        _require(role, "cloudwatch:DescribeAlarms", arn, world)
    if deployment and kind(config) == "serverless":
        raise Refused("Serverless Inference does not support DeploymentConfig")
    instances = sum(v.get("InitialInstanceCount", 0) for v in config["ProductionVariants"])
    if policy := deployment.get("BlueGreenUpdatePolicy"):
        _check_traffic(policy["TrafficRoutingConfiguration"], instances)
    if policy := deployment.get("RollingUpdatePolicy"):
        batch = policy["MaximumBatchSize"]["Value"]
        if not 0.05 <= batch / instances <= 0.5:
            raise Refused(f"a batch of {batch} of {instances}: 5 to 50 % of them")


def _check_traffic(routing: Properties, instances: int) -> None:
    if ("CanarySize" in routing) != (routing["Type"] == "CANARY"):
        raise Refused(f"CanarySize belongs to CANARY, and the type is {routing['Type']}")
    if size := routing.get("CanarySize"):
        whole = 100 if size["Type"] == "CAPACITY_PERCENT" else instances
        if instances < 2:
            raise Refused(f"a canary needs two instances or more; the fleet has {instances}")
        if size["Value"] / whole > 0.5:
            raise Refused(f"a canary of {size['Value']} of {whole}: 50 % at most")


def check_endpoint_change(old: Properties, new: Properties, *, is_scaled: bool) -> None:
    """Raise Refused for what UpdateEndpoint does not change from config `old` to `new`.

    A config has one variant. `is_scaled`: it has a scalable target.
    """
    if kind(old) != kind(new):
        raise Refused(f"an endpoint cannot change from {kind(old)} to {kind(new)}")
    [before], [after] = old["ProductionVariants"], new["ProductionVariants"]
    if before["VariantName"] != after["VariantName"]:
        raise Refused("a guarded deployment keeps the names of the variants")
    if is_scaled and before.get("InstanceType") != after.get("InstanceType"):
        raise Refused("the variant has a scalable target, and keeps its instance type")


def check_scalable_target(properties: Properties, resources: Mapping[str, str]) -> None:
    """Raise Refused for what RegisterScalableTarget refuses. `resources` maps ids to kinds."""
    check("application-autoscaling", "RegisterScalableTarget", properties)
    resource = properties["ResourceId"]
    if resource not in resources:
        raise Refused(f"No such resource: {resource}")
    if properties["MinCapacity"] > properties["MaxCapacity"]:
        raise Refused("MinCapacity is more than MaxCapacity")
    if properties["MinCapacity"] == 0 and resources[resource] != "async":
        raise Refused("only an asynchronous endpoint scales to zero")


def check_lambda_image(uri: str, world: World) -> None:
    """Raise Refused for an image that CreateFunction and UpdateFunctionCode refuse."""
    found = world.manifest_type(uri)
    if found is None:
        raise Refused(f"Source image {uri} does not exist. Provide a valid source image.")
    if found in INDEXES:
        raise Refused(f"The image manifest, config or layer media type of {uri} is not supported.")


def check_lambda_model_data(role: str, url: str | None, world: World) -> None:
    """Raise Refused for a function that AWS would create but that could never start."""
    arn = "arn:aws:s3:::" + (url or "").removeprefix("s3://")
    if url and not world.role_allows(role, "lambda.amazonaws.com", "s3:GetObject", arn):
        raise Refused(f"role {role} may not read {url}")

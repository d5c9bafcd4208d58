"""The control plane refuses what AWS refuses: every rule has its violation planted here.

Without Docker and without MiniStack: what judges needs botocore's API models alone.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest

from deploy.plane import rules
from deploy.plane.codedeploy import CodeDeploy
from deploy.plane.rules import DOCKER_MANIFEST, INDEXES
from deploy.plane.scaling import Scaling
from deploy.plane.shapes import Refused, check

Change = Callable[[dict[str, Any]], object]

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/assets:tag"
ROLE = "arn:aws:iam::123456789012:role/endpoint"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"

MODEL: dict[str, Any] = {
    "ModelName": "model",
    "ExecutionRoleArn": ROLE,
    "EnableNetworkIsolation": False,
    "PrimaryContainer": {
        "Image": IMAGE,
        "Environment": {"MODEL_NAME": "efficientnet_lite0"},
        "ModelDataUrl": "s3://bucket/model.tar.gz",
    },
}
VARIANT: dict[str, Any] = {
    "VariantName": "AllTraffic",
    "ModelName": "model",
    "InstanceType": "ml.m5.large",
    "InitialInstanceCount": 2,
    "InitialVariantWeight": 1,
    "ContainerStartupHealthCheckTimeoutInSeconds": 300,
}
SERVERLESS_VARIANT: dict[str, Any] = {
    "VariantName": "AllTraffic",
    "ModelName": "model",
    "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 5},
}
CAPTURE: dict[str, Any] = {
    "InitialSamplingPercentage": 10,
    "DestinationS3Uri": "s3://bucket/captured",
    "CaptureOptions": [{"CaptureMode": "Input"}],
}
ASYNC: dict[str, Any] = {"OutputConfig": {"S3OutputPath": "s3://bucket/out"}}
CONFIG: dict[str, Any] = {"EndpointConfigName": "config", "ProductionVariants": [VARIANT]}
SERVERLESS: dict[str, Any] = {**CONFIG, "ProductionVariants": [SERVERLESS_VARIANT]}
ENDPOINT: dict[str, Any] = {
    "EndpointName": "endpoint",
    "EndpointConfigName": "config",
    "RetainAllVariantProperties": True,
    "DeploymentConfig": {
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "faults"}]},
        "BlueGreenUpdatePolicy": {
            "MaximumExecutionTimeoutInSeconds": 3600,
            "TerminationWaitInSeconds": 0,
            "TrafficRoutingConfiguration": {
                "Type": "CANARY",
                "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 50},
                "WaitIntervalInSeconds": 300,
            },
        },
    },
}
RESOURCE = "endpoint/endpoint/variant/AllTraffic"
TARGET: dict[str, Any] = {
    "MinCapacity": 1,
    "MaxCapacity": 2,
    "ResourceId": RESOURCE,
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    "ServiceNamespace": "sagemaker",
}
POLICY: dict[str, Any] = {
    "PolicyName": "target-tracking",
    "PolicyType": "TargetTrackingScaling",
    "ScalingTargetId": f"{RESOURCE}|sagemaker:variant:DesiredInstanceCount|sagemaker",
    "TargetTrackingScalingPolicyConfiguration": {
        "TargetValue": 3000,
        "ScaleInCooldown": 300,
        "PredefinedMetricSpecification": {
            "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
        },
    },
}


@dataclass
class World:
    """An account with one image, one model archive, one alarm and one role that may use them."""

    media_type: str | None = DOCKER_MANIFEST
    forbidden: str = ""
    alarm: str = "faults"
    data: str = "s3://bucket/model.tar.gz"

    def manifest_type(self, image: str) -> str | None:
        return self.media_type

    def repository_arn(self, image: str) -> str:
        return "arn:aws:ecr:us-east-1:123456789012:repository/assets"

    def role_allows(self, role_arn: str, service: str, action: str, resource: str) -> bool:
        return role_arn == ROLE and action != self.forbidden

    def object_exists(self, url: str) -> bool:
        return url == self.data

    def alarm_arn(self, name: str) -> str | None:
        arn = f"arn:aws:cloudwatch:us-east-1:123456789012:alarm:{name}"
        return arn if name == self.alarm else None


def put(*path: str | int, value: Any = None) -> Change:
    """Set what is at that path; without one nothing is changed."""

    def change(properties: Any) -> None:
        if not path:
            return
        for step in path[:-1]:
            properties = properties[step]
        properties[path[-1]] = value

    return change


def drop(*path: str | int) -> Change:
    def change(properties: Any) -> None:
        for step in path[:-1]:
            properties = properties[step]
        del properties[path[-1]]

    return change


def changed(properties: Mapping[str, Any], *changes: Change) -> dict[str, Any]:
    copied = deepcopy(dict(properties))
    for change in changes:
        change(copied)
    return copied


CONTAINER = "PrimaryContainer"
TRAFFIC = ("DeploymentConfig", "BlueGreenUpdatePolicy", "TrafficRoutingConfiguration")
VARIANTS = "ProductionVariants"


@pytest.mark.parametrize(
    ("change", "world", "message"),
    [
        (put("ModelName", value="a name"), World(), "does not match"),
        (put("Mode", value="x"), World(), "CreateModel.Mode is unknown"),
        (put(CONTAINER, "Mode", value="Many"), World(), "not one of SingleModel, MultiModel"),
        (put(CONTAINER, "Environment", "1A", value="x"), World(), "key '1A'"),
        (put(CONTAINER, "Environment", "A", value=1), World(), "not a string"),
        (put(CONTAINER, "Environment", "A", value="x" * 1025), World(), "1025, more than 1024"),
        (put(CONTAINER, "Environment", "A", value="é" * 600), World(), "over 1024 bytes"),
        (put("EnableNetworkIsolation", value="false"), World(), "not a boolean"),
        (drop("ExecutionRoleArn"), World(), "ExecutionRoleArn is required"),
        (drop("ModelName"), World(), "ModelName is required"),
        (put("ExecutionRoleArn", value=ROLE + "2"), World(), "cannot be assumed"),
        (put("Tags", value=[{"Key": "k"}]), World(), "Tags[0].Value is required"),
        (put(CONTAINER, "ModelDataUrl", value="http://x/y"), World(), "does not match"),
        (
            put(CONTAINER, "ModelDataUrl", value="s3://bucket/x"),
            World(),
            "Could not find model data",
        ),
        (put(), World(media_type=None), "not found"),
        (put(), World(media_type=OCI_MANIFEST), "Unsupported manifest media type"),
        (put(), World(media_type=INDEXES[0]), "Unsupported manifest media type"),
        (put(), World(media_type=INDEXES[1]), "Unsupported manifest media type"),
        (put(), World(forbidden="ecr:BatchGetImage"), "ecr:BatchGetImage"),
        (put(), World(forbidden="ecr:GetAuthorizationToken"), "ecr:GetAuthorizationToken"),
        (put(), World(forbidden="s3:GetObject"), "s3:GetObject"),
    ],
)
def test_models(change: Change, world: World, message: str) -> None:
    refused(message, rules.check_model, changed(MODEL, change), world)


@pytest.mark.parametrize(
    ("config", "change", "message"),
    [
        (CONFIG, drop(VARIANTS), "ProductionVariants is required"),
        (CONFIG, put(VARIANTS, value=[]), "is 0, less than 1"),
        (CONFIG, put(VARIANTS, 0, "InstanceType", value="m5.large"), "not one of"),
        (CONFIG, put(VARIANTS, 0, "InitialInstanceCount", value=0), "is 0, less than 1"),
        (CONFIG, put(VARIANTS, 0, "InitialInstanceCount", value="1"), "not a integer"),
        (CONFIG, put(VARIANTS, 0, "InitialVariantWeight", value=-1), "is -1, less than 0"),
        (
            CONFIG,
            put(VARIANTS, 0, "ContainerStartupHealthCheckTimeoutInSeconds", value=59),
            "is 59, less than 60",
        ),
        (CONFIG, put(VARIANTS, 0, "Instances", value=1), "Instances is unknown"),
        (CONFIG, put(VARIANTS, 0, "ModelName", value="other"), "Could not find model"),
        (CONFIG, drop(VARIANTS, 0, "InstanceType"), "InstanceType and InitialInstanceCount"),
        (CONFIG, put("DataCaptureConfig", value={**CAPTURE, "KmsKeyId": 1}), "not a string"),
        (CONFIG, put("AsyncInferenceConfig", value={}), "OutputConfig is required"),
        (SERVERLESS, put(VARIANTS, 0, "InstanceType", value="ml.m5.large"), "has no instances"),
        (SERVERLESS, put("DataCaptureConfig", value=CAPTURE), "DataCaptureConfig"),
        (SERVERLESS, put("AsyncInferenceConfig", value=ASYNC), "AsyncInferenceConfig"),
        (SERVERLESS, put("EnableNetworkIsolation", value=True), "network isolation"),
        (
            SERVERLESS,
            put("VpcConfig", value={"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}),
            "VPC",
        ),
        (
            SERVERLESS,
            put(VARIANTS, 0, "ServerlessConfig", "MemorySizeInMB", value=2000),
            "multiple of 1024",
        ),
        (
            SERVERLESS,
            put(VARIANTS, 0, "ServerlessConfig", "MaxConcurrency", value=201),
            "is 201, more than 200",
        ),
    ],
)
def test_endpoint_configs(config: dict[str, Any], change: Change, message: str) -> None:
    refused(message, rules.check_endpoint_config, changed(config, change), {"model": MODEL})


@pytest.mark.parametrize(
    "change",
    [
        put("EnableNetworkIsolation", value=True),
        put("VpcConfig", value={"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}),
    ],
)
def test_a_serverless_model(change: Change) -> None:
    models = {"model": changed(MODEL, change)}
    refused("Serverless Inference", rules.check_endpoint_config, SERVERLESS, models)


@pytest.mark.parametrize(
    ("change", "world", "config", "message"),
    [
        (put(*TRAFFIC, "CanarySize", "Value", value=51), World(), CONFIG, "50 % at most"),
        (
            put(*TRAFFIC, "CanarySize", value={"Type": "INSTANCE_COUNT", "Value": 2}),
            World(),
            CONFIG,
            "50 % at most",
        ),
        (
            put(),
            World(),
            changed(CONFIG, put(VARIANTS, 0, "InitialInstanceCount", value=1)),
            "two instances or more",
        ),
        (put(*TRAFFIC, "Type", value="ALL_AT_ONCE"), World(), CONFIG, "belongs to CANARY"),
        (put(*TRAFFIC, "Type", value="LINEAR"), World(), CONFIG, "belongs to"),
        (put(*TRAFFIC, "Type", value="SLOW"), World(), CONFIG, "not one of"),
        (drop(*TRAFFIC, "WaitIntervalInSeconds"), World(), CONFIG, "is required"),
        (put(*TRAFFIC, "WaitIntervalInSeconds", value=3601), World(), CONFIG, "more than 3600"),
        (put(), World(alarm="other"), CONFIG, "alarm faults does not exist"),
        (put(), World(forbidden="cloudwatch:DescribeAlarms"), CONFIG, "cloudwatch:DescribeAlarms"),
        (put("EndpointConfigName", value="other"), World(), CONFIG, "Could not find endpoint conf"),
        (put("EndpointName", value="a_name"), World(), CONFIG, "does not match"),
        (put("RetainAll", value=True), World(), CONFIG, "RetainAll is unknown"),
        (put(), World(), SERVERLESS, "does not support DeploymentConfig"),
    ],
)
def test_endpoints(change: Change, world: World, config: dict[str, Any], message: str) -> None:
    endpoint = changed(ENDPOINT, change)
    refused(message, rules.check_endpoint, endpoint, {"config": config}, ROLE, world)


@pytest.mark.parametrize(
    ("old", "new", "scaled", "message"),
    [
        (CONFIG, SERVERLESS, (), "from realtime to serverless"),
        (SERVERLESS, CONFIG, (), "from serverless to realtime"),
        (CONFIG, {**CONFIG, "AsyncInferenceConfig": ASYNC}, (), "from realtime to async"),
        (
            CONFIG,
            changed(CONFIG, put(VARIANTS, 0, "InstanceType", value="ml.c5.large")),
            ("AllTraffic",),
            "has a scalable target",
        ),
        (
            CONFIG,
            changed(CONFIG, put(VARIANTS, 0, "VariantName", value="Other")),
            (),
            "keeps the names of the variants",
        ),
    ],
)
def test_changes_in_place(
    old: dict[str, Any], new: dict[str, Any], scaled: tuple[str, ...], message: str
) -> None:
    refused(message, rules.check_endpoint_change, old, new, frozenset(scaled), True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("ResourceId", value="endpoint/other/variant/AllTraffic"), "No such resource"),
        (put("MinCapacity", value=0), "scales to zero"),
        (put("MinCapacity", value=3), "more than MaxCapacity"),
        (put("ScalableDimension", value="sagemaker:variant:Instances"), "not one of"),
        (drop("ServiceNamespace"), "is required"),
        (put("Capacity", value=1), "Capacity is unknown"),
    ],
)
def test_scalable_targets(change: Change, message: str) -> None:
    refused(message, scaling().create_target, "Target", changed(TARGET, change), "stack")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("ScalingTargetId", value="other|x|sagemaker"), "not one of"),
        (put("PolicyType", value="Tracking"), "not one of"),
        (drop("TargetTrackingScalingPolicyConfiguration", "TargetValue"), "is required"),
        (put("Cooldown", value=1), "Cooldown is unknown"),
        (
            put(
                "ScalingTargetId",
                value="endpoint/x/variant/y|sagemaker:variant:DesiredInstanceCount|sagemaker",
            ),
            "No scalable target registered",
        ),
    ],
)
def test_scaling_policies(change: Change, message: str) -> None:
    registered = scaling()
    registered.create_target("Target", TARGET, "stack")
    refused(message, registered.create_policy, "Policy", changed(POLICY, change), "stack")


def test_an_instance_type_is_kept_while_its_variant_scales() -> None:
    registered = scaling()
    target, _ = registered.create_target("Target", TARGET, "stack")
    assert registered.variants_of("endpoint") == {"AllTraffic"}
    registered.delete_target(target, TARGET)
    assert registered.variants_of("endpoint") == frozenset()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("ApplicationName", value="other"), "No application found"),
        (put("DeploymentConfigName", value="CodeDeployDefault.LambdaSlow"), "No deployment conf"),
        (drop("ServiceRoleArn"), "serviceRoleArn is required"),
        (put("AutoRollbackConfiguration", "Events", value=["ALARM"]), "not one of"),
        (put("Alarms", value=[]), "alarms is unknown"),
    ],
)
def test_deployment_groups(change: Change, message: str) -> None:
    group = {
        "ApplicationName": "application",
        "ServiceRoleArn": ROLE,
        "DeploymentConfigName": "CodeDeployDefault.LambdaCanary10Percent5Minutes",
        "AutoRollbackConfiguration": {"Enabled": True, "Events": ["DEPLOYMENT_FAILURE"]},
    }
    codedeploy = CodeDeploy(lambda names: [])
    codedeploy.create_application("A", {"ApplicationName": "application"}, "stack")
    codedeploy.create_group("Group", group, "stack")
    refused(message, codedeploy.create_group, "Group", changed(group, change), "stack")


def test_lambda() -> None:
    refused("does not exist", rules.check_lambda_image, IMAGE, World(media_type=None))
    refused("not supported", rules.check_lambda_image, IMAGE, World(media_type=INDEXES[1]))
    rules.check_lambda_image(IMAGE, World(media_type=OCI_MANIFEST))
    url = "s3://bucket/model.tar.gz"
    rules.check_lambda_model_data(ROLE, None, World(forbidden="s3:GetObject"))
    refused(
        "may not read", rules.check_lambda_model_data, ROLE, url, World(forbidden="s3:GetObject")
    )
    refused("over 4096", rules.check_lambda_environment, {"NAME": "x" * 4096})
    refused("AWS_REGION", rules.check_lambda_environment, {"AWS_REGION": "eu-central-1"})


def test_nothing_else_is_refused() -> None:
    """What the violations above are planted in."""
    rules.check_model(MODEL, World())
    rules.check_endpoint(ENDPOINT, {"config": CONFIG}, ROLE, World())
    plain = changed(ENDPOINT, drop("DeploymentConfig"))
    rules.check_endpoint(plain, {"config": SERVERLESS}, ROLE, World())
    for config in (
        CONFIG,
        SERVERLESS,
        {**CONFIG, "AsyncInferenceConfig": ASYNC},
        {**CONFIG, "DataCaptureConfig": CAPTURE},
    ):
        rules.check_endpoint_config(config, {"model": MODEL})
        rules.check_endpoint_change(config, config, frozenset({"AllTraffic"}), True)
    registered = scaling()
    registered.create_target("Target", TARGET, "stack")
    registered.create_policy("Policy", POLICY, "stack")
    check(
        "cloudwatch",
        "PutMetricAlarm",
        {"AlarmName": "a", "ComparisonOperator": "GreaterThanThreshold", "EvaluationPeriods": 1},
    )


def scaling() -> Scaling:
    made = Scaling(frozenset)
    made.endpoint_variants = lambda: {RESOURCE: "realtime"}
    return made


def refused(message: str, call: Callable[..., object], *arguments: object) -> None:
    with pytest.raises(Refused) as refusal:
        call(*arguments)
    assert message in str(refusal.value)

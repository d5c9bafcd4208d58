"""The endpoint config: its model and variant, its storage in S3, and its update policy."""

from collections.abc import Sequence

from aws_cdk import CfnDeletionPolicy
from aws_cdk.aws_cloudwatch import IAlarm
from aws_cdk.aws_iam import IRole
from aws_cdk.aws_sagemaker import CfnEndpoint, CfnEndpointConfig, CfnModel
from constructs import Construct

from infra.common.access import Network
from infra.image.asset import Image
from infra.sagemaker_target.capacity import Capacity, Instances, Serverless
from infra.sagemaker_target.model import create_model
from infra.sagemaker_target.storage import AsyncWork, capture_traffic

VARIANT = "AllTraffic"

# Asynchronous requests come from S3, where AWS's limit is 1 GB, but must fit into memory.
_ASYNC_MAX_BODY_BYTES = 64 * 1024 * 1024

# It has driver 580, which the image's CUDA 13 needs. The default AMI has an older driver.
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProductionVariant.html
_GPU_AMI = "al2023-ami-sagemaker-inference-gpu-4-1"
# The NVIDIA Container Toolkit reads these and mounts the driver into the container.
_GPU_ENVIRONMENT = {
    "NVIDIA_VISIBLE_DEVICES": "all",
    "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
}

_START_TIMEOUT_SECONDS = 300  # until the container's first healthy /ping
_DOWNLOAD_TIMEOUT_SECONDS = 600  # for model_data

# The alarms on the new fleet need three minutes; the old fleet is kept for longer.
_BAKE_SECONDS = 300
_MAX_SECONDS = 3600
_ROLLING_SECONDS = 8 * 3600  # AWS's limit


def create_endpoint_config(
    scope: Construct,
    *,
    image: Image,
    network: Network,
    capacity: Capacity,
    role: IRole,
    work: AsyncWork | None,
    data_capture_percent: int,
) -> CfnEndpointConfig:
    """Create a model and its endpoint config; `work` is given for an asynchronous endpoint."""
    environment = dict(image.environment)
    if work:
        environment["MAX_BODY_BYTES"] = str(_ASYNC_MAX_BODY_BYTES)
    if capacity.has_gpu:
        environment |= _GPU_ENVIRONMENT
    model = create_model(scope, image=image, network=network, role=role, environment=environment)
    if work:
        model.node.add_dependency(work.policy)
    capture = None
    if data_capture_percent:
        capture, policy = capture_traffic(scope, role, data_capture_percent)
        model.node.add_dependency(policy)
    batch = capacity.rolling_batch
    endpoint_config = CfnEndpointConfig(
        scope,
        # UpdateEndpoint needs a new config even if only the update policy changes.
        "KeptSize" * capacity.keeps_size + (f"Batch{batch}" if batch else "") + "EndpointConfig",
        production_variants=[_variant(model, capacity, downloads=bool(image.model_data))],
        async_inference_config=work.config if work else None,
        data_capture_config=capture,
    )
    # SageMaker may roll back an update without CloudFormation noticing. The endpoint then still
    # runs the old resources, so they are kept. They cost nothing.
    for resource in (model, endpoint_config):
        resource.cfn_options.deletion_policy = CfnDeletionPolicy.DELETE
        resource.cfn_options.update_replace_policy = CfnDeletionPolicy.RETAIN
    return endpoint_config


def update_policy(
    watched: Sequence[IAlarm], instances: Instances
) -> CfnEndpoint.DeploymentConfigProperty:
    """Return a policy for updates, which roll back if one of `watched` goes off."""
    rollback = CfnEndpoint.AutoRollbackConfigProperty(
        alarms=[CfnEndpoint.AlarmProperty(alarm_name=alarm.alarm_name) for alarm in watched]
    )
    if batch := instances.rolling_batch:
        return CfnEndpoint.DeploymentConfigProperty(
            rolling_update_policy=CfnEndpoint.RollingUpdatePolicyProperty(
                maximum_batch_size=_instances(batch),
                wait_interval_in_seconds=_BAKE_SECONDS,
                # A fleet has at most 20 batches, each of which starts as slowly as the first.
                maximum_execution_timeout_in_seconds=_ROLLING_SECONDS,
            ),
            auto_rollback_configuration=rollback,
        )
    # AWS allows a canary of at most half of the fleet. A single instance is replaced at once.
    with_canary = instances.minimum >= 2
    routing = CfnEndpoint.TrafficRoutingConfigProperty(
        type="CANARY" if with_canary else "ALL_AT_ONCE",
        canary_size=_instances(1) if with_canary else None,
        wait_interval_in_seconds=_BAKE_SECONDS,
    )
    return CfnEndpoint.DeploymentConfigProperty(
        blue_green_update_policy=CfnEndpoint.BlueGreenUpdatePolicyProperty(
            traffic_routing_configuration=routing,
            termination_wait_in_seconds=_BAKE_SECONDS,
            maximum_execution_timeout_in_seconds=_MAX_SECONDS,
        ),
        auto_rollback_configuration=rollback,
    )


def _instances(count: int) -> CfnEndpoint.CapacitySizeProperty:
    return CfnEndpoint.CapacitySizeProperty(type="INSTANCE_COUNT", value=count)


def _variant(
    model: CfnModel, capacity: Capacity, *, downloads: bool
) -> CfnEndpointConfig.ProductionVariantProperty:
    if isinstance(capacity, Serverless):
        return CfnEndpointConfig.ProductionVariantProperty(
            variant_name=VARIANT,
            model_name=model.attr_model_name,
            initial_variant_weight=1,
            serverless_config=CfnEndpointConfig.ServerlessConfigProperty(
                memory_size_in_mb=capacity.memory_mb, max_concurrency=capacity.max_concurrency
            ),
        )
    return CfnEndpointConfig.ProductionVariantProperty(
        variant_name=VARIANT,
        model_name=model.attr_model_name,
        initial_variant_weight=1,
        instance_type=capacity.instance_type,
        initial_instance_count=max(1, capacity.minimum),
        inference_ami_version=_GPU_AMI if capacity.has_gpu else None,
        # With the default, RANDOM, a request may wait for another while an instance is idle.
        routing_config=CfnEndpointConfig.RoutingConfigProperty(
            routing_strategy="LEAST_OUTSTANDING_REQUESTS"
        ),
        container_startup_health_check_timeout_in_seconds=_START_TIMEOUT_SECONDS,
        model_data_download_timeout_in_seconds=_DOWNLOAD_TIMEOUT_SECONDS if downloads else None,
    )

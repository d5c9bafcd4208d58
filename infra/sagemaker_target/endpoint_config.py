"""The endpoint config (the model, its one variant, what is kept in S3), and how it is changed."""

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
from infra.sagemaker_target.storage import AsyncWork, CapturedTraffic

VARIANT = "AllTraffic"

# A body of an asynchronous call comes from S3, where AWS's limit is 1 GB; it has to fit in memory.
_ASYNC_MAX_BODY_BYTES = 64 * 1024 * 1024

# With driver 580, for CUDA 13: the image's. The default AMI's driver is older.
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProductionVariant.html
_GPU_AMI = "al2023-ami-sagemaker-inference-gpu-4-1"
# The NVIDIA Container Toolkit reads them, and puts the driver into the container.
_GPU_ENVIRONMENT = {
    "NVIDIA_VISIBLE_DEVICES": "all",
    "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
}

_START_TIMEOUT_SECONDS = 300  # of the container, until its first healthy /ping
_DOWNLOAD_TIMEOUT_SECONDS = 600  # of model_data

# How long the new fleet is watched before the old one goes: the alarms need three minutes.
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
        store = CapturedTraffic(scope, "Capture", role=role)
        capture = store.config(data_capture_percent)
        model.node.add_dependency(store.policy)
    config = CfnEndpointConfig(
        scope,
        # UpdateEndpoint needs a new config, even where only these choices are new.
        "KeptSize" * capacity.keeps_size
        + (f"Batch{capacity.rolling_batch}" if capacity.rolling_batch else "")
        + "EndpointConfig",
        production_variants=[_variant(model, capacity, downloads=image.model_data is not None)],
        async_inference_config=work.config() if work else None,
        data_capture_config=capture,
    )
    # SageMaker may take an update back by itself, and CloudFormation may not notice: then the
    # endpoint still runs the old ones. They cost nothing.
    for resource in (model, config):
        resource.cfn_options.deletion_policy = CfnDeletionPolicy.DELETE
        resource.cfn_options.update_replace_policy = CfnDeletionPolicy.RETAIN
    return config


def update_policy(
    watched: Sequence[IAlarm], instances: Instances
) -> CfnEndpoint.DeploymentConfigProperty:
    """Return an update that one of `watched` takes back.

    A large fleet is replaced in batches, any other by a second one, blue/green.
    """
    rollback = CfnEndpoint.AutoRollbackConfigProperty(
        alarms=[CfnEndpoint.AlarmProperty(alarm_name=alarm.alarm_name) for alarm in watched]
    )
    if instances.rolling_batch:
        return CfnEndpoint.DeploymentConfigProperty(
            rolling_update_policy=CfnEndpoint.RollingUpdatePolicyProperty(
                maximum_batch_size=_instances(instances.rolling_batch),
                wait_interval_in_seconds=_BAKE_SECONDS,
                # A fleet has at most 20 batches; each starts for as long as the first one.
                maximum_execution_timeout_in_seconds=_ROLLING_SECONDS,
            ),
            auto_rollback_configuration=rollback,
        )
    return CfnEndpoint.DeploymentConfigProperty(
        blue_green_update_policy=_blue_green(with_canary=instances.minimum >= 2),
        auto_rollback_configuration=rollback,
    )


def _blue_green(*, with_canary: bool) -> CfnEndpoint.BlueGreenUpdatePolicyProperty:
    """Return an update that starts with one new instance, or moves a single one at once."""
    # AWS allows at most half of the fleet.
    routing = CfnEndpoint.TrafficRoutingConfigProperty(
        type="CANARY" if with_canary else "ALL_AT_ONCE",
        canary_size=_instances(1) if with_canary else None,
        wait_interval_in_seconds=_BAKE_SECONDS,
    )
    return CfnEndpoint.BlueGreenUpdatePolicyProperty(
        traffic_routing_configuration=routing,
        # With one instance there is no step to wait after, only the old fleet to keep.
        termination_wait_in_seconds=_BAKE_SECONDS,
        maximum_execution_timeout_in_seconds=_MAX_SECONDS,
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
        # The default is random, which lets a request wait behind another beside an idle instance.
        routing_config=CfnEndpointConfig.RoutingConfigProperty(
            routing_strategy="LEAST_OUTSTANDING_REQUESTS"
        ),
        container_startup_health_check_timeout_in_seconds=_START_TIMEOUT_SECONDS,
        model_data_download_timeout_in_seconds=_DOWNLOAD_TIMEOUT_SECONDS if downloads else None,
    )

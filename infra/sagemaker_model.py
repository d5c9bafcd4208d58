"""What an endpoint runs: the model, and the config of its one variant."""

from aws_cdk import Duration
from aws_cdk.aws_iam import IRole
from aws_cdk.aws_sagemaker import CfnEndpointConfig, CfnModel
from constructs import Construct

from infra import access
from infra.config import Config
from infra.explained import explain
from infra.image import Image
from infra.sagemaker_role import ATTACH_ACTIONS
from infra.sagemaker_rollout import keeps_its_size
from infra.sagemaker_storage import AsyncWork, CapturedTraffic

# A body of an asynchronous call comes from S3, where AWS's limit is 1 GB; it has to fit in memory.
_ASYNC_MAX_BODY_BYTES = 64 * 1024 * 1024

# With driver 580, for CUDA 13: the image's. The default AMI's driver is older.
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProductionVariant.html
_GPU_AMI = "al2023-ami-sagemaker-inference-gpu-4-1"
# What has the driver put into a container: the NVIDIA Container Toolkit reads them.
_GPU_ENVIRONMENT = {
    "NVIDIA_VISIBLE_DEVICES": "all",
    "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
}

_START_TIMEOUT = Duration.minutes(5)  # of the container, until its first healthy /ping
_DOWNLOAD_TIMEOUT = Duration.minutes(10)  # of model_data


def create_endpoint_config(
    scope: Construct,
    *,
    image: Image,
    config: Config,
    role: IRole,
    variant: str,
    work: AsyncWork | None,
) -> CfnEndpointConfig:
    """The endpoint config of a new model; `work` is given for an asynchronous endpoint."""
    needs = [
        *access.reads(scope, role, config),
        *access.network(scope, role, config, ATTACH_ACTIONS),
        *([work.policy] if work else []),
    ]
    if config.subnet_ids:
        reason = "SageMaker's own account may attach the network interfaces that it makes"
        explain(needs[-1], {"CKV_AWS_109": reason})
    capture = None
    if config.data_capture_percent and config.sagemaker_type == "realtime":
        store = CapturedTraffic(scope, "Capture", role=role)
        capture = store.config(config.data_capture_percent)
        needs.append(store.policy)
    max_body = {"MAX_BODY_BYTES": str(_ASYNC_MAX_BODY_BYTES)} if work else {}
    gpu = _GPU_ENVIRONMENT if config.on_gpu else {}
    model = create_model(scope, image, config, role, {**image.environment, **max_body, **gpu})
    # CreateModel pulls with the role at once, and naming the role does not wait for its policies.
    model.node.add_dependency(access.policy_of(role), *needs)
    return CfnEndpointConfig(
        scope,
        # UpdateEndpoint wants a new config, also where only this choice is new.
        "KeptSizeEndpointConfig" if keeps_its_size(config) else "EndpointConfig",
        production_variants=[_variant(variant, model, config)],
        async_inference_config=work.config() if work else None,
        data_capture_config=capture,
    )


def create_model(
    scope: Construct, image: Image, config: Config, role: IRole, environment: dict[str, str]
) -> CfnModel:
    """The image and what it is told, as SageMaker runs them."""
    model = CfnModel(
        scope,
        "Model",
        execution_role_arn=role.role_arn,
        primary_container=CfnModel.ContainerDefinitionProperty(
            image=image.uri, environment=environment, model_data_url=config.model_data
        ),
        enable_network_isolation=config.network_isolation,
        vpc_config=CfnModel.VpcConfigProperty(
            subnets=list(config.subnet_ids), security_group_ids=list(config.security_group_ids)
        )
        if config.subnet_ids
        else None,
    )
    if not config.network_isolation:
        reason = "the key network_isolation: without it the container fetches what a uri names"
        explain(model, {"CKV_AWS_370": reason})
    return model


def _variant(
    name: str, model: CfnModel, config: Config
) -> CfnEndpointConfig.ProductionVariantProperty:
    if config.sagemaker_type == "serverless":
        return CfnEndpointConfig.ProductionVariantProperty(
            variant_name=name,
            model_name=model.attr_model_name,
            initial_variant_weight=1,
            serverless_config=CfnEndpointConfig.ServerlessConfigProperty(
                memory_size_in_mb=config.serverless_memory_mb,
                max_concurrency=config.serverless_max_concurrency,
            ),
        )
    return CfnEndpointConfig.ProductionVariantProperty(
        variant_name=name,
        model_name=model.attr_model_name,
        initial_variant_weight=1,
        instance_type=config.instance_type,
        initial_instance_count=max(1, config.min_instances),
        inference_ami_version=_GPU_AMI if config.on_gpu else None,
        container_startup_health_check_timeout_in_seconds=_START_TIMEOUT.to_seconds(),
        model_data_download_timeout_in_seconds=_DOWNLOAD_TIMEOUT.to_seconds()
        if config.model_data
        else None,
    )

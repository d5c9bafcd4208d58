"""The function of the image, and its role."""

from aws_cdk import Duration, RemovalPolicy, Size
from aws_cdk.aws_iam import Role, ServicePrincipal
from aws_cdk.aws_lambda import (
    Architecture,
    CfnFunction,
    DockerImageCode,
    DockerImageFunction,
    LoggingFormat,
    VersionOptions,
)
from aws_cdk.aws_logs import ILogGroup
from constructs import Construct

from infra import access
from infra.config import Config
from infra.explained import explain
from infra.image import Image

# https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html, under execution role
_ATTACH_ACTIONS = (
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
)


def create_function(
    scope: Construct, *, image: Image, config: Config, logs: ILogGroup
) -> DockerImageFunction:
    """Versions of it outlive the deployment that replaces them."""
    # A role of our own, since CDK's would have AWS's managed policy: logs in the whole account.
    role = Role(scope, "Role", assumed_by=ServicePrincipal("lambda.amazonaws.com"))
    logs.grant_write(role)
    model_data = {"MODEL_DATA_URL": config.model_data} if config.model_data else {}
    function = DockerImageFunction(
        scope,
        "Function",
        # Not from_image_asset: that would declare a second asset. The entrypoint and its command
        # stay the image's own.
        code=DockerImageCode.from_ecr(image.repository, tag_or_digest=image.tag),
        architecture=Architecture.X86_64,
        memory_size=config.lambda_memory_mb,
        ephemeral_storage_size=Size.mebibytes(config.lambda_ephemeral_mb),
        timeout=Duration.seconds(config.lambda_timeout_seconds),
        reserved_concurrent_executions=config.lambda_reserved_concurrency,
        environment={**image.environment, **model_data},
        role=role,
        log_group=logs,
        logging_format=LoggingFormat.JSON,
        current_version_options=VersionOptions(
            removal_policy=RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE
        ),
    )
    resource = function.node.default_child
    assert isinstance(resource, CfnFunction)  # noqa: S101 - narrows the type
    if config.subnet_ids:
        # The L2 wants the whole VPC, which neither Lambda nor SageMaker does.
        resource.vpc_config = CfnFunction.VpcConfigProperty(
            subnet_ids=list(config.subnet_ids), security_group_ids=list(config.security_group_ids)
        )
    # Its next start needs them.
    function.node.add_dependency(
        *access.reads(scope, role, config), *access.network(scope, role, config, _ATTACH_ACTIONS)
    )
    _explain(function, config)
    return function


def _explain(function: DockerImageFunction, config: Config) -> None:
    explain(
        function,
        {
            "W3005": "CDK's own DependsOn of the role, beside the one of its policy that is needed",
            "CKV_AWS_116": "a caller waits for the answer, and hears of a failure instead",
            "CKV_AWS_173": "no secret is in it; Lambda encrypts it with AWS's own key",
        },
    )
    if config.lambda_reserved_concurrency is None:
        reason = "the key lambda_reserved_concurrency: what one function reserves, all others lose"
        explain(function, {"CKV_AWS_115": reason})
    if not config.subnet_ids:
        explain(function, {"CKV_AWS_117": "the key subnet_ids: it needs no private network"})

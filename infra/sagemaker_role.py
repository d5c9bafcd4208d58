"""The endpoint's execution role: exactly what SageMaker does in our name."""

from collections.abc import Sequence

from aws_cdk.aws_cloudwatch import IAlarm
from aws_cdk.aws_iam import PolicyStatement, Role, ServicePrincipal
from aws_cdk.aws_logs import ILogGroup
from constructs import Construct

from infra import access
from infra.config import Config
from infra.explained import explain
from infra.image import Image

# https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html, under CreateModel
_ATTACH_ACTIONS = [
    "ec2:CreateNetworkInterface",
    "ec2:CreateNetworkInterfacePermission",
    "ec2:DeleteNetworkInterface",
    "ec2:DeleteNetworkInterfacePermission",
    "ec2:DescribeDhcpOptions",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
]


def execution_role(
    scope: Construct,
    *,
    image: Image,
    config: Config,
    logs: ILogGroup,
    watched: Sequence[IAlarm],
) -> Role:
    """Pulls the image, reads the model, writes this endpoint's logs and metrics, sees alarms."""
    role = Role(scope, "Role", assumed_by=ServicePrincipal("sagemaker.amazonaws.com"))
    # Includes ecr:GetAuthorizationToken, which AWS grants on "*" only.
    image.repository.grant_pull(role)
    access.grant_reads(role, config)
    access.grant_network(role, config, _ATTACH_ACTIONS)
    logs.grant(
        role,
        "logs:CreateLogGroup",  # the stack makes it; SageMaker's agent asks all the same
        "logs:CreateLogStream",
        "logs:DescribeLogStreams",
        "logs:PutLogEvents",
    )
    role.add_to_policy(
        PolicyStatement(
            actions=["cloudwatch:PutMetricData"],  # the instances' CPU, memory and disk
            resources=["*"],  # AWS knows no resource for it; the namespace narrows it
            conditions={"StringEquals": {"cloudwatch:namespace": "/aws/sagemaker/Endpoints"}},
        )
    )
    role.add_to_policy(
        PolicyStatement(
            actions=["cloudwatch:DescribeAlarms"],  # those that stop an update
            resources=[alarm.alarm_arn for alarm in watched],
        )
    )
    reason = "AWS knows no resource for ECR's token and for metrics; these keep to one namespace"
    explain(access.policy_of(role), {"AwsSolutions-IAM5[Resource::*]": reason})
    if config.subnet_ids:
        reason = "SageMaker's own account may attach the network interfaces that it makes"
        explain(access.policy_of(role), {"CKV_AWS_109": reason})
    return role

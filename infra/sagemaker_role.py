"""The endpoint's execution role: exactly what SageMaker does in our name."""

from collections.abc import Sequence

from aws_cdk.aws_cloudwatch import IAlarm
from aws_cdk.aws_iam import IRole, Policy, PolicyStatement, Role, ServicePrincipal
from aws_cdk.aws_logs import ILogGroup
from constructs import Construct

from infra.access import policy_of
from infra.alarms import may_see
from infra.explained import explain
from infra.image import Image

# https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html, under CreateModel
ATTACH_ACTIONS = (
    "ec2:CreateNetworkInterface",
    "ec2:CreateNetworkInterfacePermission",
    "ec2:DeleteNetworkInterface",
    "ec2:DeleteNetworkInterfacePermission",
    "ec2:DescribeDhcpOptions",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
)


def execution_role(scope: Construct, *, image: Image, logs: ILogGroup) -> Role:
    """Pulls the image, writes this endpoint's logs and metrics."""
    role = Role(scope, "Role", assumed_by=ServicePrincipal("sagemaker.amazonaws.com"))
    # Includes ecr:GetAuthorizationToken, which AWS grants on "*" only.
    image.repository.grant_pull(role)
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
    reason = "AWS knows no resource for ECR's token and for metrics; these keep to one namespace"
    explain(policy_of(role), {"AwsSolutions-IAM5[Resource::*]": reason})
    return role


def sees(scope: Construct, role: IRole, watched: Sequence[IAlarm]) -> Policy:
    """Let `role` see the alarms that stop an update.

    Apart from the role's own policy: the alarms name the endpoint config, which waits for that one.
    """
    return Policy(scope, "Alarms", roles=[role], statements=[may_see(watched)])

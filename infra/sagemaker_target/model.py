"""A SageMaker model of the image and its role, for an endpoint or for transform jobs."""

from collections.abc import Mapping

from aws_cdk.aws_iam import IRole, PolicyStatement, Role
from aws_cdk.aws_sagemaker import CfnModel
from constructs import Construct

from infra.common import access
from infra.common.access import Network
from infra.common.findings import suppress_finding
from infra.image.asset import Image

# https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html, under CreateModel
_ATTACH_ACTIONS = (
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


def execution_role(scope: Construct, *, image: Image, namespace: str) -> Role:
    """Create a role that may pull the image and write metrics of `namespace`."""
    role = access.service_role(scope, "Role", "sagemaker.amazonaws.com")
    # This includes ecr:GetAuthorizationToken, which AWS grants on "*" only.
    image.asset.repository.grant_pull(role)
    role.add_to_policy(
        PolicyStatement(
            actions=["cloudwatch:PutMetricData"],  # the instances' CPU, memory and disk
            resources=["*"],  # the action has no resource type; the namespace limits it
            conditions={"StringEquals": {"cloudwatch:namespace": namespace}},
        )
    )
    reason = "AWS knows no resource for ECR's token and for metrics; these keep to one namespace"
    suppress_finding(access.policy_of(role), {"AwsSolutions-IAM5[Resource::*]": reason})
    return role


def create_model(
    scope: Construct, *, image: Image, network: Network, role: IRole, environment: Mapping[str, str]
) -> CfnModel:
    """Create the model, and let `role` read its artifact and attach to its network.

    The model waits for these grants, because CreateModel pulls the image with the role at once.
    """
    attached = []
    if network.subnet_ids:
        attached = [access.grant_attach(scope, role, _ATTACH_ACTIONS)]
        reason = "SageMaker's own account may attach the network interfaces that it makes"
        suppress_finding(attached[0], {"CKV_AWS_109": reason})
    vpc = CfnModel.VpcConfigProperty(
        subnets=list(network.subnet_ids), security_group_ids=list(network.security_group_ids)
    )
    model = CfnModel(
        scope,
        "Model",
        execution_role_arn=role.role_arn,
        primary_container=CfnModel.ContainerDefinitionProperty(
            image=image.asset.image_uri, environment=environment, model_data_url=image.model_data
        ),
        enable_network_isolation=network.isolated,
        vpc_config=vpc if network.subnet_ids else None,
    )
    read = image.grant_read(scope, role)
    model.node.add_dependency(access.policy_of(role), *read, *attached)
    if not network.isolated:
        reason = "the key network_isolation: without it the container fetches what a uri names"
        suppress_finding(model, {"CKV_AWS_370": reason})
    return model

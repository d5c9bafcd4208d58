"""A SageMaker model of the image and its role, for an endpoint or for transform jobs."""

from collections.abc import Mapping
from hashlib import sha256

from aws_cdk import Stack
from aws_cdk.aws_iam import IRole, Policy, PolicyStatement, Role
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

# The log group of all jobs of the account, and the namespace of their instances' metrics.
# https://docs.aws.amazon.com/sagemaker/latest/dg/logging-cloudwatch.html
_JOBS = "/aws/sagemaker/TransformJobs"


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


class BatchJobs(Construct):
    """A model for batch transform jobs that read below `data_in` and write below `data_out`.

    It exists in every mode and costs nothing while no job runs; `python -m ops batch` starts a job.
    Its role is not the endpoint's, so neither needs the other's permissions.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        image: Image,
        network: Network,
        data_in: str,
        data_out: str,
    ) -> None:
        super().__init__(scope, construct_id)
        self.data_in, self.data_out = data_in.rstrip("/"), data_out.rstrip("/")
        role = execution_role(self, image=image, namespace=_JOBS)
        # The first job creates the log group.
        group = Stack.of(self).format_arn(service="logs", resource=f"log-group:{_JOBS}")
        actions = ("CreateLogGroup", "CreateLogStream", "DescribeLogStreams", "PutLogEvents")
        logs, policy = [f"logs:{action}" for action in actions], access.policy_of(role)
        reason = "a log stream has its job's name, which nobody knows beforehand"
        access.allow(policy, logs, group)
        access.allow(policy, logs, f"{group}:*", wildcard=reason)
        self.model = create_model(
            self, image=image, network=network, role=role, environment=image.environment
        )
        digest = sha256(f"{self.data_in} {self.data_out}".encode()).hexdigest()
        policy = Policy(self, f"Data{digest[:8]}", roles=[role])
        bucket = access.s3_arn("/".join(self.data_in.split("/")[:3]))
        objects_in = access.s3_arn(f"{self.data_in}/*")
        objects_out = access.s3_arn(f"{self.data_out}/*")
        ours, reason = access.OF_THIS_ACCOUNT, "the keys name the folder; a job may use all of it"
        access.allow(policy, ["s3:ListBucket"], bucket, conditions=ours)
        access.allow(policy, ["s3:GetObject"], objects_in, conditions=ours, wildcard=reason)
        # SageMaker uploads answers in parts, and aborts the upload after an error.
        write = ["s3:PutObject", "s3:AbortMultipartUpload"]
        access.allow(policy, write, objects_out, conditions=ours, wildcard=reason)
        self.model.node.add_dependency(policy)

"""What both targets' roles may do beyond their own service: read the model and listed buckets."""

from aws_cdk import Aws, Stack
from aws_cdk.aws_iam import IRole, PolicyStatement
from constructs import IConstruct

from infra.config import Config
from infra.explained import explain


def grant_reads(role: IRole, config: Config) -> None:
    """Let `role` read the one object of `model_data` and the buckets of `uri_allowlist`."""
    partition = Stack.of(role).partition
    if config.model_data:
        role.add_to_principal_policy(
            PolicyStatement(
                actions=["s3:GetObject"],
                resources=[f"arn:{partition}:s3:::{config.model_data.removeprefix('s3://')}"],
                # A bucket's name that was given up can be taken by anybody.
                conditions={"StringEquals": {"s3:ResourceAccount": Aws.ACCOUNT_ID}},
            )
        )
    buckets = [item for item in config.uri_allowlist if item.startswith("s3://")]
    if buckets:
        role.add_to_principal_policy(
            PolicyStatement(
                actions=["s3:GetObject"],
                resources=[
                    f"arn:{partition}:s3:::{bucket.removeprefix('s3://')}/*" for bucket in buckets
                ],
            )
        )
        explain(
            policy_of(role),
            {
                f"AwsSolutions-IAM5[Resource::arn:<AWS::Partition>:s3:::{name}/*]": (
                    "uri_allowlist lists the bucket: a request may name any of its objects"
                )
                for name in (bucket.removeprefix("s3://") for bucket in buckets)
            },
        )


def grant_network(role: IRole, config: Config, actions: list[str]) -> None:
    """Let `role` attach to the subnets, where there are any; EC2 scopes none of these to a subnet
    that it could name beforehand."""
    if config.subnet_ids:
        role.add_to_principal_policy(PolicyStatement(actions=actions, resources=["*"]))
        reason = "the network interfaces of subnet_ids have no name before they are made"
        explain(policy_of(role), {"AwsSolutions-IAM5[Resource::*]": reason, "CKV_AWS_111": reason})


def policy_of(role: IRole) -> IConstruct:
    """The policy that holds what `role` has been granted so far; there has to be a grant."""
    return role.node.find_child("DefaultPolicy")

"""What both targets' roles may do beyond their own service: read the model and listed buckets.

What a deployment can change is a policy of its own, under an id that changes with it.
CloudFormation makes the new one first and removes the old one last: what still runs keeps its
permissions.
"""

from collections.abc import Sequence
from hashlib import sha256

from aws_cdk import Aws
from aws_cdk.aws_iam import IRole, Policy, PolicyStatement
from constructs import Construct, IConstruct

from infra.config import Config
from infra.explained import explain


def reads(scope: Construct, role: IRole, config: Config) -> list[Policy]:
    """Let `role` read the one object of `model_data` and the buckets of `uri_allowlist`."""
    buckets = [item for item in config.uri_allowlist if item.startswith("s3://")]
    statements = []
    if config.model_data:
        statements.append(
            PolicyStatement(
                actions=["s3:GetObject"],
                resources=[_arn(config.model_data)],
                # A bucket's name that was given up can be taken by anybody.
                conditions={"StringEquals": {"s3:ResourceAccount": Aws.ACCOUNT_ID}},
            )
        )
    if buckets:
        statements.append(
            PolicyStatement(
                actions=["s3:GetObject"], resources=[_arn(f"{bucket}/*") for bucket in buckets]
            )
        )
    if not statements:
        return []
    digest = sha256(f"{config.model_data} {buckets}".encode()).hexdigest()
    policy = Policy(scope, f"Reads{digest[:8]}", roles=[role], statements=statements)
    reason = "uri_allowlist lists the bucket: a request may name any of its objects"
    for bucket in buckets:
        resource = f"arn:<AWS::Partition>:s3:::{bucket.removeprefix('s3://')}/*"
        explain(policy, {f"AwsSolutions-IAM5[Resource::{resource}]": reason})
    return [policy]


def network(scope: Construct, role: IRole, config: Config, actions: Sequence[str]) -> list[Policy]:
    """Let `role` attach to the subnets, where there are any; EC2 scopes none of these to a subnet
    that it could name beforehand."""
    if not config.subnet_ids:
        return []
    statement = PolicyStatement(actions=list(actions), resources=["*"])
    policy = Policy(scope, "Network", roles=[role], statements=[statement])
    reason = "the network interfaces of subnet_ids have no name before they are made"
    explain(policy, {"AwsSolutions-IAM5[Resource::*]": reason, "CKV_AWS_111": reason})
    return [policy]


def policy_of(role: IRole) -> IConstruct:
    """The policy that holds what `role` was granted by itself; there has to be a grant."""
    return role.node.find_child("DefaultPolicy")


def _arn(url: str) -> str:
    return f"arn:{Aws.PARTITION}:s3:::{url.removeprefix('s3://')}"

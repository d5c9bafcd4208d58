"""Permissions of both targets outside their own service: the network and S3.

Each grant that a deployment can change is a separate policy, whose id changes with its content.
CloudFormation creates the new policy before it removes the old one, so running resources keep
their permissions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aws_cdk import Aws, Stack
from aws_cdk.aws_iam import IRole, Policy, PolicyStatement, Role, ServicePrincipal
from constructs import Construct

from infra.common.findings import suppress_finding

# Anybody may take the name of a deleted bucket.
OF_THIS_ACCOUNT = {"StringEquals": {"s3:ResourceAccount": Aws.ACCOUNT_ID}}


def service_role(scope: Construct, construct_id: str, service: str) -> Role:
    """Create a role that `service` may assume, for resources of this account only.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
    """
    of_this_account = {"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}}
    principal = ServicePrincipal(service, conditions=of_this_account)
    return Role(scope, construct_id, assumed_by=principal)


@dataclass(frozen=True, kw_only=True)
class Network:
    """The network of both targets' containers. By default, it is AWS's own."""

    subnet_ids: Sequence[str] = ()
    security_group_ids: Sequence[str] = ()
    isolated: bool = False  # True if SageMaker gives its containers no network at all


def grant_attach(scope: Construct, role: IRole, actions: Sequence[str]) -> Policy:
    """Let `role` attach to subnets. IAM cannot limit these actions to a subnet."""
    statement = PolicyStatement(actions=list(actions), resources=["*"])
    policy = Policy(scope, "Network", roles=[role], statements=[statement])
    reason = "the network interfaces of subnet_ids have no name before they are made"
    suppress_finding(policy, {"AwsSolutions-IAM5[Resource::*]": reason, "CKV_AWS_111": reason})
    return policy


def policy_of(role: IRole) -> Policy:
    """Return the policy that the CDK creates with the first grant to `role`."""
    policy = role.node.find_child("DefaultPolicy")
    assert isinstance(policy, Policy)  # noqa: S101 - narrows the type
    return policy


def s3_arn(url: str) -> str:
    """Return the ARN of s3://BUCKET or s3://BUCKET/KEY."""
    return f"arn:{Aws.PARTITION}:s3:::{url.removeprefix('s3://')}"


def allow(
    policy: Policy,
    actions: Sequence[str],
    arn: str,
    *,
    conditions: Mapping[str, Any] | None = None,
    wildcard: str = "",
) -> None:
    """Allow `actions` on `arn`; `wildcard` is the reason why it ends in a wildcard."""
    policy.add_statements(
        PolicyStatement(actions=list(actions), resources=[arn], conditions=conditions)
    )
    if not wildcard:
        return
    # cdk-nag writes a reference as <NAME> or <NAME.ATTRIBUTE>.
    parts = Stack.of(policy).resolve(arn)["Fn::Join"][1]
    named = "".join(
        part if isinstance(part, str) else f"<{part.get('Ref') or '.'.join(part['Fn::GetAtt'])}>"
        for part in parts
    )
    suppress_finding(policy, {f"AwsSolutions-IAM5[Resource::{named}]": wildcard})

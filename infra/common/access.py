"""Permissions of both targets outside their own service: the network and S3.

Each grant that a deployment can change is a separate policy, whose id changes with its content.
CloudFormation creates the new policy before it removes the old one, so running resources keep
their permissions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from aws_cdk import Aws
from aws_cdk.aws_iam import Effect, IRole, Policy, PolicyStatement, Role, ServicePrincipal
from aws_cdk.aws_lambda import Function
from constructs import Construct, IConstruct

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


def deny_attach(function: Function, actions: Sequence[str]) -> Policy:
    """Deny the code of `function` the actions that Lambda itself needs to attach it.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html, under best practices
    """
    statement = PolicyStatement(
        effect=Effect.DENY,
        actions=list(actions),
        resources=["*"],
        conditions={"ArnEquals": {"lambda:SourceFunctionArn": function.function_arn}},
    )
    assert function.role  # noqa: S101 - narrows the type
    return Policy(function, "CodeMayNotAttach", roles=[function.role], statements=[statement])


def policy_of(role: IRole) -> IConstruct:
    """Return the policy that the CDK creates with the first grant to `role`."""
    return role.node.find_child("DefaultPolicy")


def s3_arn(url: str) -> str:
    """Return the ARN of s3://BUCKET or s3://BUCKET/KEY."""
    return f"arn:{Aws.PARTITION}:s3:::{url.removeprefix('s3://')}"

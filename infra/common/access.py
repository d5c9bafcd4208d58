"""Permissions of both targets beyond their own service: the network, the model, listed buckets.

Each grant that a deployment can change is a policy of its own, whose id changes with its content.
CloudFormation creates the new policy first and removes the old one last, so what still runs keeps
its permissions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from aws_cdk import Aws
from aws_cdk.aws_iam import Effect, IRole, Policy, PolicyStatement, Role, ServicePrincipal
from aws_cdk.aws_lambda import Function
from constructs import Construct, IConstruct

from infra.common.findings import suppress_finding

# The name of a bucket that was given up can be taken by anybody.
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
    """The network of both targets' containers; by default AWS's own."""

    subnet_ids: Sequence[str] = ()
    security_group_ids: Sequence[str] = ()
    isolated: bool = False
    """True if SageMaker cuts its containers off from any network."""

    def grant_attach(self, scope: Construct, role: IRole, actions: Sequence[str]) -> list[Policy]:
        """Let `role` attach to the subnets, if any; EC2 scopes no action of it to a subnet."""
        if not self.subnet_ids:
            return []
        statement = PolicyStatement(actions=list(actions), resources=["*"])
        policy = Policy(scope, "Network", roles=[role], statements=[statement])
        reason = "the network interfaces of subnet_ids have no name before they are made"
        suppress_finding(policy, {"AwsSolutions-IAM5[Resource::*]": reason, "CKV_AWS_111": reason})
        return [policy]

    def deny_attach(self, function: Function, actions: Sequence[str]) -> list[Policy]:
        """Keep the code of `function` from the actions that Lambda itself needs to attach it.

        https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html, under best practices
        """
        if not self.subnet_ids:
            return []
        statement = PolicyStatement(
            effect=Effect.DENY,
            actions=list(actions),
            resources=["*"],
            conditions={"ArnEquals": {"lambda:SourceFunctionArn": function.function_arn}},
        )
        assert function.role  # noqa: S101 - narrows the type
        roles = [function.role]
        return [Policy(function, "CodeMayNotAttach", roles=roles, statements=[statement])]


def policy_of(role: IRole) -> IConstruct:
    """Return the policy that holds what `role` was granted by itself; there has to be a grant."""
    return role.node.find_child("DefaultPolicy")


def s3_arn(url: str) -> str:
    """Return the ARN of s3://BUCKET or s3://BUCKET/KEY."""
    return f"arn:{Aws.PARTITION}:s3:::{url.removeprefix('s3://')}"

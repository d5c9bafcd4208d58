"""Log groups that are kept for a while and go away with the stack."""

from aws_cdk import RemovalPolicy
from aws_cdk.aws_logs import CfnLogGroup, LogGroup
from constructs import Construct

from infra.explained import explain


def log_group(
    scope: Construct, construct_id: str, *, retention_days: int, name: str | None = None
) -> LogGroup:
    """A log group; `name` only where AWS prescribes it."""
    group = LogGroup(scope, construct_id, log_group_name=name, removal_policy=RemovalPolicy.DESTROY)
    resource = group.node.default_child
    assert isinstance(resource, CfnLogGroup)  # noqa: S101 - narrows the type
    # The L2's enum has no way from a number to its member.
    resource.retention_in_days = retention_days
    explain(
        group,
        {"CKV_AWS_158": "AWS encrypts it with its own key; one of ours is billed by the month"},
    )
    return group

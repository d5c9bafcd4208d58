"""Log groups, which are deleted with the stack, and metrics of their lines."""

from aws_cdk import RemovalPolicy, Stack
from aws_cdk.aws_cloudwatch import Metric
from aws_cdk.aws_logs import IFilterPattern, ILogGroup, LogGroup, MetricFilter
from constructs import Construct

from infra.common.alarms import PERIOD
from infra.common.findings import resource_of, suppress_finding


def log_group(
    scope: Construct, construct_id: str, *, retention_days: int, name: str | None = None
) -> LogGroup:
    """Create a log group; pass a `name` only where AWS prescribes it."""
    group = LogGroup(scope, construct_id, log_group_name=name, removal_policy=RemovalPolicy.DESTROY)
    # The L2 construct takes an enum, which cannot be made from a number.
    resource_of(group).add_property_override("RetentionInDays", retention_days)
    reason = "AWS encrypts it with its own key; one of ours is billed by the month"
    suppress_finding(group, {"CKV_AWS_158": reason})
    return group


def count_lines(
    scope: Construct,
    construct_id: str,
    *,
    logs: ILogGroup,
    pattern: IFilterPattern,
    name: str | None = None,
    value: str = "1",
    version: str | None = None,
) -> Metric:
    """Create a metric of the lines that match `pattern`; by default, its name is `construct_id`.

    With `version`, each version of the function has a metric; return the metric of this version.
    """
    lines = MetricFilter(
        scope,
        construct_id,
        log_group=logs,
        filter_pattern=pattern,
        metric_namespace=Stack.of(scope).stack_name,
        metric_name=name or construct_id,
        metric_value=value,
        dimensions={"version": "$.version"} if version else None,
    )
    return lines.metric(dimensions_map={"version": version} if version else None, period=PERIOD)

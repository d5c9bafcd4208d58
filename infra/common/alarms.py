"""Log groups, metrics of their lines, and alarms on a metric that is too high or without data."""

from collections.abc import Sequence

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk.aws_iam import PolicyStatement
from aws_cdk.aws_logs import IFilterPattern, ILogGroup, LogGroup, MetricFilter
from constructs import Construct

from infra.common.findings import resource_of, suppress_finding

PERIOD = Duration.minutes(1)

# A share of all calls. A rollout starts with at least a tenth of them, so a version that always
# fails is far above it. A single fault under traffic is below.
MAX_FAULT_PERCENT = 1
# A share of the calls that a version forwards. The endpoint may refuse some of them at a peak.
MAX_SPILL_PERCENT = 50


def log_group(scope: Construct, *, retention_days: int, name: str | None = None) -> LogGroup:
    """Create a log group that ends with the stack; pass a `name` only where AWS prescribes it."""
    group = LogGroup(scope, "Logs", log_group_name=name, removal_policy=RemovalPolicy.DESTROY)
    # The L2 construct takes an enum, which cannot be made from a number.
    resource_of(group).add_property_override("RetentionInDays", retention_days)
    reason = "AWS encrypts it with its own key; one of ours is billed by the month"
    suppress_finding(group, {"CKV_AWS_158": reason})
    return group


def count_lines(
    scope: Construct,
    name: str,
    logs: ILogGroup,
    pattern: IFilterPattern,
    value: str = "1",
    *,
    version: str | None = None,
    suffix: str = "",
) -> cloudwatch.Metric:
    """Create a metric of the lines that match `pattern`. Its construct's id is `name` + `suffix`.

    With `version`, each version of the function has a metric; return the metric of this version.
    """
    lines = MetricFilter(
        scope,
        name + suffix,
        log_group=logs,
        filter_pattern=pattern,
        metric_namespace=Stack.of(scope).stack_name,
        metric_name=name,
        metric_value=value,
        dimensions={"version": "$.version"} if version else None,
    )
    return lines.metric(dimensions_map={"version": version} if version else None, period=PERIOD)


def alarm(
    scope: Construct,
    construct_id: str,
    metric: cloudwatch.IMetric,
    above: float,
    description: str,
    *,
    at_once: bool = False,
) -> cloudwatch.Alarm:
    """Create an alarm that goes off when `metric` is too high in two of three periods, or in one.

    Two of three minutes are soon enough to stop a rollout. Periods without data do not count.
    """
    return cloudwatch.Alarm(
        scope,
        construct_id,
        metric=metric,
        threshold=above,
        comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
        evaluation_periods=1 if at_once else 3,
        datapoints_to_alarm=None if at_once else 2,
        treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        alarm_description=description,
    )


def alarm_of_none(
    scope: Construct, construct_id: str, metric: cloudwatch.IMetric, periods: int, description: str
) -> cloudwatch.Alarm:
    """Create an alarm that goes off when `metric` is below 1 or missing for `periods`."""
    return cloudwatch.Alarm(
        scope,
        construct_id,
        metric=metric,
        threshold=1,
        comparison_operator=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
        evaluation_periods=periods,
        treat_missing_data=cloudwatch.TreatMissingData.BREACHING,
        alarm_description=description,
    )


def may_see(watched: Sequence[cloudwatch.IAlarm]) -> PolicyStatement:
    """Return the permission to read the alarms, for the role that stops an update."""
    arns = [alarm.alarm_arn for alarm in watched]
    return PolicyStatement(actions=["cloudwatch:DescribeAlarms"], resources=arns)


def percent(faults: cloudwatch.IMetric, calls: cloudwatch.IMetric) -> cloudwatch.MathExpression:
    """Return the share of faults, 0 to 100; it has no value without calls."""
    return cloudwatch.MathExpression(
        expression="100 * faults / calls",
        using_metrics={"faults": faults, "calls": calls},
        label="faults, % of calls",
        period=PERIOD,
    )

"""Alarms on a metric that stays too high, or on one without data."""

from collections.abc import Sequence

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk.aws_iam import PolicyStatement
from constructs import Construct

PERIOD = Duration.minutes(1)

# A share of all calls. A rollout starts with at least a tenth of them, so a version that always
# fails is far above it. A single fault under traffic is below.
MAX_FAULT_PERCENT = 1
# A share of the calls that a version forwards. The endpoint may refuse some of them at a peak.
MAX_SPILL_PERCENT = 50


def alarm(
    scope: Construct,
    construct_id: str,
    metric: cloudwatch.IMetric,
    above: float,
    description: str,
    *,
    periods: int = 3,
    datapoints: int | None = 2,
) -> cloudwatch.Alarm:
    """Create an alarm that goes off when `metric` is too high in `datapoints` of `periods`.

    The default, two of three minutes, is soon enough to stop a rollout. Periods without data do
    not count.
    """
    return cloudwatch.Alarm(
        scope,
        construct_id,
        metric=metric,
        threshold=above,
        comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
        evaluation_periods=periods,
        datapoints_to_alarm=datapoints,
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

"""The one shape of our alarms: a rate or a time that stays too high for minutes."""

from collections.abc import Sequence

from aws_cdk import Duration
from aws_cdk.aws_cloudwatch import (
    Alarm,
    ComparisonOperator,
    IAlarm,
    IMetric,
    MathExpression,
    TreatMissingData,
)
from aws_cdk.aws_iam import PolicyStatement
from constructs import Construct

PERIOD = Duration.minutes(1)

# Of requests. A rollout hands a tenth of them or more to the new version at first, so one that
# always fails is far above it, and a stray fault under traffic is below.
MAX_FAULT_PERCENT = 1


def alarm(
    scope: Construct,
    construct_id: str,
    metric: IMetric,
    *,
    above: float,
    description: str,
) -> Alarm:
    """Rings when `metric` is above in two of three minutes: soon enough to stop a rollout.

    Minutes without a call are no reason to ring.
    """
    return Alarm(
        scope,
        construct_id,
        metric=metric,
        threshold=above,
        comparison_operator=ComparisonOperator.GREATER_THAN_THRESHOLD,
        evaluation_periods=3,
        datapoints_to_alarm=2,
        treat_missing_data=TreatMissingData.NOT_BREACHING,
        alarm_description=description,
    )


def may_see(watched: Sequence[IAlarm]) -> PolicyStatement:
    """For the role of whoever stops an update when one of them rings."""
    return PolicyStatement(
        actions=["cloudwatch:DescribeAlarms"], resources=[alarm.alarm_arn for alarm in watched]
    )


def percent(faults: IMetric, calls: IMetric) -> MathExpression:
    """The share of faults, 0 to 100; no value without calls."""
    return MathExpression(
        expression="100 * faults / calls",
        using_metrics={"faults": faults, "calls": calls},
        label="faults, % of calls",
        period=PERIOD,
    )

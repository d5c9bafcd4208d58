"""Examine every hour: a schedule, and alarms on metrics of the examiner's log."""

from collections.abc import Mapping

from aws_cdk import Duration, Stack
from aws_cdk.aws_cloudwatch import Alarm, ComparisonOperator, Metric, Stats, TreatMissingData
from aws_cdk.aws_iam import Policy, PolicyStatement
from aws_cdk.aws_lambda import IFunction
from aws_cdk.aws_logs import FilterPattern, ILogGroup, MetricFilter
from aws_cdk.aws_scheduler import CfnSchedule
from constructs import Construct

from infra.common.access import service_role

_HOUR = Duration.hours(1)


def create_alarms(scope: Construct, logs: ILogGroup) -> list[Alarm]:
    """Create an alarm on answers that differ, and one on three hours without an exam.

    The first one stays in alarm until an hourly exam finds no difference.
    """
    namespace = Stack.of(scope).stack_name
    for name, pattern, value in (
        ("Skew", FilterPattern.string_value("$.trigger", "=", "Schedule"), "$.skews"),
        ("Examined", FilterPattern.string_value("$.message", "=", "exam"), "$.endpointCalls"),
    ):
        MetricFilter(
            scope,
            f"{name}Filter",
            log_group=logs,
            filter_pattern=pattern,
            metric_namespace=namespace,
            metric_name=name,
            metric_value=value,
        )
    skew = Alarm(
        scope,
        "Skew",
        metric=_metric(scope, "Skew", Stats.MAXIMUM),
        threshold=0,
        comparison_operator=ComparisonOperator.GREATER_THAN_THRESHOLD,
        evaluation_periods=1,
        treat_missing_data=TreatMissingData.NOT_BREACHING,
        alarm_description="a target does not answer as its image does: see the examiner's log",
    )
    unexamined = Alarm(
        scope,
        "Unexamined",
        metric=metric_examined(scope),
        threshold=1,
        comparison_operator=ComparisonOperator.LESS_THAN_THRESHOLD,
        evaluation_periods=3,
        treat_missing_data=TreatMissingData.BREACHING,
        alarm_description="no exam for three hours, which looks like no skew: see its log",
    )
    return [skew, unexamined]


def metric_examined(scope: Construct) -> Metric:
    """Count the examiner's calls, which AWS includes in the endpoint's calls."""
    return _metric(scope, "Examined", Stats.SUM)


def _metric(scope: Construct, name: str, statistic: str) -> Metric:
    namespace = Stack.of(scope).stack_name
    return Metric(namespace=namespace, metric_name=name, statistic=statistic, period=_HOUR)


def create_schedule(scope: Construct, examiner: IFunction, wanted: Mapping[str, str]) -> None:
    """Let EventBridge Scheduler call `examiner` every hour with `wanted`."""
    role = service_role(scope, "ScheduleRole", "scheduler.amazonaws.com")
    call = PolicyStatement(actions=["lambda:InvokeFunction"], resources=[examiner.function_arn])
    policy = Policy(scope, "SchedulePolicy", roles=[role], statements=[call])
    schedule = CfnSchedule(
        scope,
        "EveryHour",
        schedule_expression="rate(1 hour)",
        flexible_time_window=CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
        target=CfnSchedule.TargetProperty(
            arn=examiner.function_arn,
            role_arn=role.role_arn,
            input=Stack.of(scope).to_json_string(dict(wanted)),
            retry_policy=CfnSchedule.RetryPolicyProperty(
                maximum_event_age_in_seconds=900, maximum_retry_attempts=2
            ),
        ),
    )
    schedule.node.add_dependency(policy)

"""Examine every hour: a schedule, and alarms on metrics of the examiner's log."""

from collections.abc import Mapping

from aws_cdk import Duration, Stack
from aws_cdk.aws_cloudwatch import Alarm, Metric, Stats
from aws_cdk.aws_iam import Policy, PolicyStatement
from aws_cdk.aws_lambda import IFunction
from aws_cdk.aws_logs import FilterPattern, ILogGroup, MetricFilter
from aws_cdk.aws_scheduler import CfnSchedule
from constructs import Construct

from infra.common.access import service_role
from infra.common.alarms import alarm, alarm_of_none


def create_alarms(scope: Construct, logs: ILogGroup) -> list[Alarm]:
    """Create an alarm on answers that differ, and one on three hours without an exam.

    The first one stays in alarm until an hourly exam finds no difference.
    """
    for name, pattern, value in (
        ("Skew", FilterPattern.string_value("$.trigger", "=", "Schedule"), "$.skews"),
        ("Examined", FilterPattern.string_value("$.message", "=", "exam"), "$.endpointCalls"),
    ):
        MetricFilter(
            scope,
            f"{name}Filter",
            log_group=logs,
            filter_pattern=pattern,
            metric_namespace=Stack.of(scope).stack_name,
            metric_name=name,
            metric_value=value,
        )
    skews, examined = _metric(scope, "Skew", Stats.MAXIMUM), metric_examined(scope)
    differs = "a target does not answer as its image does: see the examiner's log"
    missing = "no exam for three hours, which looks like no skew: see its log"
    return [
        alarm(scope, "Skew", skews, 0, differs, periods=1, datapoints=None),
        alarm_of_none(scope, "Unexamined", examined, 3, missing),
    ]


def metric_examined(scope: Construct) -> Metric:
    """Count the examiner's calls, which AWS includes in the endpoint's calls."""
    return _metric(scope, "Examined", Stats.SUM)


def _metric(scope: Construct, name: str, statistic: str) -> Metric:
    namespace, hour = Stack.of(scope).stack_name, Duration.hours(1)
    return Metric(namespace=namespace, metric_name=name, statistic=statistic, period=hour)


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

"""Alarms by email, and a dashboard with both targets side by side.

The dashboard estimates the current cost of 1,000 calls by metric maths over the list prices of
`python -m ops cost`. That leaves out Lambda's free tier, storage, transfer, and SageMaker's price
for data, because CloudWatch does not count bytes.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk.aws_cloudwatch import IWidget, MathExpression, Metric, Stats
from aws_cdk.aws_cloudwatch_actions import SnsAction
from aws_cdk.aws_iam import PolicyStatement, ServicePrincipal
from aws_cdk.aws_sns import Topic
from aws_cdk.aws_sns_subscriptions import EmailSubscription
from constructs import Construct

from infra.common.alarms import PERIOD
from infra.common.findings import suppress_finding
from infra.lambda_target.target import LambdaTarget
from infra.sagemaker_target.capacity import Serverless
from infra.sagemaker_target.target import SageMakerTarget

WIDTH, HEIGHT = 12, 6  # half of a dashboard's width
PRICES = Path(__file__).parents[1] / "ops" / "cost" / "prices.json"
_REGION = "us-east-1"
_LISTED: dict[str, dict[str, Any]] = json.loads(PRICES.read_text())["regions"][_REGION]
_COST_PERIOD = Duration.minutes(15)


class Monitoring(Construct):
    """Watch the given targets, which define their own metrics and alarms."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        on_lambda: LambdaTarget | None,
        on_sagemaker: SageMakerTarget | None,
        other_alarms: Sequence[cloudwatch.Alarm],
        alarm_email: str | None,
    ) -> None:
        super().__init__(scope, construct_id)
        if alarm_email:
            topic = Topic(self, "Alarms", enforce_ssl=True)
            reason = "AWS's own key is closed to alarms, and one of ours is billed by the month"
            suppress_finding(topic, {"CKV_AWS_26": reason})
            topic.add_subscription(EmailSubscription(alarm_email))
            targets = [target for target in (on_lambda, on_sagemaker) if target]
            alarms = [alarm for target in targets for alarm in target.alarms]
            alarms += other_alarms
            # The policy of enforce_ssl replaces AWS's default, which lets alarms publish.
            topic.add_to_resource_policy(
                PolicyStatement(
                    principals=[ServicePrincipal("cloudwatch.amazonaws.com")],
                    actions=["sns:Publish"],
                    resources=[topic.topic_arn],
                    conditions={"ArnEquals": {"aws:SourceArn": [a.alarm_arn for a in alarms]}},
                )
            )
            for alarm in alarms:
                alarm.add_alarm_action(SnsAction(topic))
                alarm.add_ok_action(SnsAction(topic))
        columns = [_lambda_column(on_lambda)] if on_lambda else []
        columns += [_sagemaker_column(on_sagemaker)] if on_sagemaker else []
        self.dashboard = cloudwatch.Dashboard(self, "Dashboard", default_interval=Duration.hours(3))
        if on_lambda and on_lambda.forwarded_ms and on_lambda.spilled:
            row = _forwarding_row(on_lambda, on_lambda.forwarded_ms, on_lambda.spilled)
            self.dashboard.add_widgets(*row)
        for widgets in zip(*columns):
            self.dashboard.add_widgets(*widgets)


def _lambda_column(target: LambdaTarget) -> list[IWidget]:
    faults = [target.metric("Errors"), target.metric("Throttles")]
    if target.url:
        faults.insert(1, target.url_metric("Url5xxCount"))
    executions = target.metric("ConcurrentExecutions", Stats.MAXIMUM)
    return [
        _graph("Lambda: calls a minute", target.metric_invocations()),
        _graph("Lambda: latency", target.metric_latency("p50"), target.metric_latency("p99")),
        _graph("Lambda: faults and throttles", *faults),
        _graph("Lambda: cold starts a minute", target.metric_cold_starts()),
        _graph("Lambda: executions at once", executions),
        _graph("Lambda: running cost", _lambda_cost(target)),
    ]


def _forwarding_row(target: LambdaTarget, forwarded_ms: Metric, spilled: Metric) -> list[IWidget]:
    """Return graphs of the answers' share by target, and of the endpoint's latency."""
    answered = {
        "calls": target.metric_invocations(),
        "forwarded": forwarded_ms.with_(statistic=Stats.SAMPLE_COUNT),
        "spilled": spilled.with_(statistic=Stats.SUM),
    }
    labels = {"forwarded": "the endpoint", "spilled": "the function, since the endpoint did not"}
    shares = [
        MathExpression(
            expression=f"100 * FILL({name}, 0) / calls",
            using_metrics=answered,
            label=label,
            period=PERIOD,
        )
        for name, label in labels.items()
    ]
    waited = [forwarded_ms.with_(statistic=statistic) for statistic in ("p50", "p99")]
    return [
        _graph("Lambda: answered by, % of calls", *shares),
        _graph("SageMaker: latency through the function, ms", *waited),
    ]


def _sagemaker_column(target: SageMakerTarget) -> list[IWidget]:
    """Return graphs of the same quantities as `_lambda_column`, in the same order."""
    starts: IWidget = _note("An instance starts before it is called: no cold starts.")
    capacity = _graph("SageMaker: instances", target.metric_instances())
    if isinstance(target.capacity, Serverless):
        setups = target.metric("ModelSetupTime", Stats.SAMPLE_COUNT)
        share = target.metric("ServerlessConcurrentExecutionsUtilization", Stats.MAXIMUM)
        starts = _graph("SageMaker: cold starts a minute", setups)
        capacity = _graph("SageMaker: share of serverless_max_concurrency", share)
    return [
        _graph("SageMaker: calls a minute", target.metric_invocations()),
        _graph("SageMaker: latency", target.metric_latency("p50"), target.metric_latency("p99")),
        _graph("SageMaker: faults", target.metric("Invocation5XXErrors")),
        starts,
        capacity,
        _sagemaker_cost(target),
    ]


def _lambda_cost(target: LambdaTarget) -> MathExpression:
    """Return the cost of duration, requests, cold starts and provisioned concurrency."""
    prices = _LISTED["lambda_arm64" if target.on_arm else "lambda"]
    memory_gb = target.memory_mb / 1024
    kept = target.provisioned_concurrency or 0
    prefix = "kept_duration_" if kept else ""
    per_second = memory_gb * prices[f"{prefix}usd_per_million_gb_seconds"] / 1e6
    used = f"ms / 1000 * {per_second:.12f} + {prices['usd_per_million_requests'] / 1e6:.12f}"
    # Since August 2025, AWS bills cold starts like calls.
    per_start_second = memory_gb * prices["usd_per_million_gb_seconds"] / 1e6
    starts = f"FILL(start_ms, 0) / 1000 * {per_start_second:.12f}"
    idle = kept * memory_gb * prices["kept_usd_per_million_gb_seconds"] / 1e6
    return _cost(
        prices,
        f"1000 * ({used} + ({starts} + {idle:.12f} * PERIOD(calls)) / calls)",
        ms=target.metric_latency(Stats.AVERAGE),
        calls=target.metric_invocations(),
        start_ms=target.metric_start_duration(),
    )


def _sagemaker_cost(target: SageMakerTarget) -> IWidget:
    """Return a graph of the endpoint's cost, or a note if its instance type has no price."""
    if isinstance(target.capacity, Serverless):
        prices = _LISTED["serverless"]
        per_second = target.capacity.memory_mb / 1024 * prices["usd_per_million_gb_seconds"] / 1e6
        us = target.metric_latency(Stats.AVERAGE)
        cost = _cost(prices, f"1000 * us / 1000000 * {per_second:.12f}", us=us)
    else:
        prices = _LISTED["instances"]
        per_hour = prices["usd_per_hour"].get(target.capacity.instance_type)
        if per_hour is None:
            return _note("ops/cost/prices.json has no price of this instance type.")
        cost = _cost(
            prices,
            f"1000 * instance_minutes * {per_hour / 60:.12f} / calls",
            instance_minutes=target.metric_instances(),
            calls=target.metric_invocations(_COST_PERIOD),
        )
    return _graph("SageMaker: running cost", cost)


def _cost(
    prices: dict[str, Any], expression: str, **metrics: Metric | MathExpression
) -> MathExpression:
    return MathExpression(
        expression=expression,
        using_metrics={name: metric.with_(period=_COST_PERIOD) for name, metric in metrics.items()},
        label=f"USD per 1,000 calls without data, list prices of {_REGION}, {prices['date']}",
        period=_COST_PERIOD,
    )


def _graph(title: str, *metrics: cloudwatch.IMetric) -> cloudwatch.GraphWidget:
    axis = cloudwatch.YAxisProps(min=0)
    return cloudwatch.GraphWidget(
        title=title, left=list(metrics), left_y_axis=axis, width=WIDTH, height=HEIGHT
    )


def _note(markdown: str) -> cloudwatch.TextWidget:
    return cloudwatch.TextWidget(markdown=markdown, width=WIDTH, height=HEIGHT)

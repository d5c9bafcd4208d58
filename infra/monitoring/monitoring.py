"""Alarms by email, and a dashboard with both targets side by side."""

from collections.abc import Sequence

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk.aws_cloudwatch_actions import SnsAction
from aws_cdk.aws_iam import PolicyStatement, ServicePrincipal
from aws_cdk.aws_sns import Topic
from aws_cdk.aws_sns_subscriptions import EmailSubscription
from constructs import Construct

from infra.common.alarms import PERIOD
from infra.common.findings import suppress_finding
from infra.lambda_target.target import LambdaTarget
from infra.monitoring import running_cost
from infra.sagemaker_target.capacity import Serverless
from infra.sagemaker_target.target import SageMakerTarget

WIDTH = 12  # half of a dashboard's 24
HEIGHT = 6


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
            first = _forwarding_row(on_lambda, on_lambda.forwarded_ms, on_lambda.spilled)
            self.dashboard.add_widgets(*first)
        for row in zip(*columns):
            self.dashboard.add_widgets(*row)


def _lambda_column(target: LambdaTarget) -> list[cloudwatch.IWidget]:
    faults = [target.metric("Errors"), target.metric("Throttles")]
    if target.url:
        faults.insert(1, target.url_metric("Url5xxCount"))
    executions = target.metric("ConcurrentExecutions", cloudwatch.Stats.MAXIMUM)
    return [
        _graph("Lambda: calls a minute", target.metric_invocations()),
        _graph("Lambda: latency", target.metric_latency("p50"), target.metric_latency("p99")),
        _graph("Lambda: faults and throttles", *faults),
        _graph("Lambda: cold starts a minute", target.metric_cold_starts()),
        _graph("Lambda: executions at once", executions),
        _graph("Lambda: running cost", running_cost.on_lambda(target)),
    ]


def _forwarding_row(
    target: LambdaTarget, forwarded_ms: cloudwatch.Metric, spilled: cloudwatch.Metric
) -> list[cloudwatch.IWidget]:
    """Return graphs of the answers' share by target, and of the endpoint's latency."""
    answered = {
        "calls": target.metric_invocations(),
        "forwarded": forwarded_ms.with_(statistic=cloudwatch.Stats.SAMPLE_COUNT),
        "spilled": spilled.with_(statistic=cloudwatch.Stats.SUM),
    }
    shares = {
        "the endpoint": "100 * FILL(forwarded, 0) / calls",
        "the function, since the endpoint did not": "100 * FILL(spilled, 0) / calls",
    }
    lines = [
        cloudwatch.MathExpression(
            expression=share, using_metrics=answered, label=who, period=PERIOD
        )
        for who, share in shares.items()
    ]
    waited = [forwarded_ms.with_(statistic=statistic) for statistic in ("p50", "p99")]
    return [
        _graph("Lambda: answered by, % of calls", *lines),
        _graph("SageMaker: latency through the function, ms", *waited),
    ]


def _sagemaker_column(target: SageMakerTarget) -> list[cloudwatch.IWidget]:
    """Return graphs of the same quantities as `_lambda_column`, in the same order."""
    starts: cloudwatch.IWidget = _note("An instance starts before it is called: no cold starts.")
    capacity = _graph("SageMaker: instances", target.metric_instances())
    if isinstance(target.capacity, Serverless):
        setups = target.metric("ModelSetupTime", cloudwatch.Stats.SAMPLE_COUNT)
        share = target.metric("ServerlessConcurrentExecutionsUtilization", cloudwatch.Stats.MAXIMUM)
        starts = _graph("SageMaker: cold starts a minute", setups)
        capacity = _graph("SageMaker: share of serverless_max_concurrency", share)
    cost = running_cost.on_sagemaker(target)
    return [
        _graph("SageMaker: calls a minute", target.metric_invocations()),
        _graph("SageMaker: latency", target.metric_latency("p50"), target.metric_latency("p99")),
        _graph("SageMaker: faults", target.metric("Invocation5XXErrors")),
        starts,
        capacity,
        _graph("SageMaker: running cost", cost)
        if cost
        else _note("ops/cost/prices.json has no price of this instance type."),
    ]


def _graph(title: str, *metrics: cloudwatch.IMetric) -> cloudwatch.GraphWidget:
    axis = cloudwatch.YAxisProps(min=0)
    return cloudwatch.GraphWidget(
        title=title, left=list(metrics), left_y_axis=axis, width=WIDTH, height=HEIGHT
    )


def _note(markdown: str) -> cloudwatch.TextWidget:
    return cloudwatch.TextWidget(markdown=markdown, width=WIDTH, height=HEIGHT)

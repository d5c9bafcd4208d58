"""The dashboard's columns: what a target has to show, in the same order for each."""

from aws_cdk.aws_cloudwatch import GraphWidget, IMetric, IWidget, TextWidget, YAxisProps

from infra import running_cost
from infra.config import Config
from infra.lambda_target import LambdaTarget
from infra.sagemaker_target import SageMakerTarget

WIDTH = 12  # half of a dashboard's 24
HEIGHT = 6


def lambda_column(target: LambdaTarget, config: Config) -> list[IWidget]:
    """Traffic, latency, faults, starts, capacity and cost of the function."""
    return [
        _graph("Lambda: calls a minute", target.metric_invocations()),
        _graph("Lambda: latency", target.metric_latency("p50"), target.metric_latency("p99")),
        _graph(
            "Lambda: faults and throttles",
            target.metric_errors(),
            target.metric_url_faults(),
            target.metric_throttles(),
        ),
        _graph("Lambda: cold starts a minute", target.metric_cold_starts()),
        _graph("Lambda: executions at once", target.metric_concurrency()),
        _graph("Lambda: running cost", running_cost.on_lambda(target, config)),
    ]


def sagemaker_column(target: SageMakerTarget, config: Config) -> list[IWidget]:
    """The same of the endpoint."""
    cost = running_cost.on_sagemaker(target, config)
    serverless = config.sagemaker_type == "serverless"
    return [
        _graph("SageMaker: calls a minute", target.metric_invocations()),
        _graph("SageMaker: latency", target.metric_latency("p50"), target.metric_latency("p99")),
        _graph("SageMaker: faults", target.metric_faults()),
        _graph("SageMaker: cold starts a minute", target.metric_cold_starts())
        if serverless
        else _note("An instance starts before it is called: no cold starts."),
        _graph("SageMaker: share of serverless_max_concurrency", target.metric_concurrency())
        if serverless
        else _graph("SageMaker: instances", target.metric_instances()),
        _graph("SageMaker: running cost", cost)
        if cost
        else _note(f"The price of {config.instance_type} is not in infra/prices.py."),
    ]


def _graph(title: str, *metrics: IMetric) -> GraphWidget:
    return GraphWidget(
        title=title,
        left=list(metrics),
        left_y_axis=YAxisProps(min=0),
        width=WIDTH,
        height=HEIGHT,
    )


def _note(markdown: str) -> TextWidget:
    return TextWidget(markdown=markdown, width=WIDTH, height=HEIGHT)

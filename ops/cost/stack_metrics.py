"""What the targets of a deployed stack have done, by the hour: the metrics of its dashboard."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ops.aws import AWS_ERRORS, Aws, explain
from ops.cost.stack_setup import ALIAS, Setup

VARIANT = "AllTraffic"
_HOUR_SECONDS = 3600
Hourly = Mapping[datetime, float]


@dataclass(frozen=True)
class Metrics:
    """By the hour. Durations are means, in ms; `starts` and `start_ms` are of cold starts."""

    function_calls: Hourly = field(default_factory=dict)
    function_ms: Hourly = field(default_factory=dict)
    starts: Hourly = field(default_factory=dict)
    start_ms: Hourly = field(default_factory=dict)
    endpoint_calls: Hourly = field(default_factory=dict)
    endpoint_us: Hourly = field(default_factory=dict)
    instance_reports: Hourly = field(default_factory=dict)


def read_metrics(
    aws: Aws, stack_name: str, setup: Setup, start: datetime, end: datetime
) -> Metrics:
    """Raises CannotAsk."""
    queries: dict[str, tuple[str, str, Mapping[str, str], str]] = {}
    if name := setup.function:
        alias = {"FunctionName": name, "Resource": f"{name}:{ALIAS}"}
        queries["function_calls"] = ("AWS/Lambda", "Invocations", alias, "Sum")
        queries["function_ms"] = ("AWS/Lambda", "Duration", alias, "Average")
        queries["starts"] = (stack_name, "ColdStarts", {}, "SampleCount")
        queries["start_ms"] = (stack_name, "ColdStarts", {}, "Average")
    if setup.endpoint:
        variant = {"EndpointName": setup.endpoint, "VariantName": VARIANT}
        calls = "InvocationsProcessed" if setup.is_async else "Invocations"
        queries["endpoint_calls"] = ("AWS/SageMaker", calls, variant, "Sum")
        queries["endpoint_us"] = ("AWS/SageMaker", "ModelLatency", variant, "Average")
        # There is no metric of instances: each reports its CPU once a minute.
        cpu = ("/aws/sagemaker/Endpoints", "CPUUtilization", variant, "SampleCount")
        queries["instance_reports"] = cpu
    asked = [_query(name, *query) for name, query in queries.items()]
    try:
        pages = aws.client("cloudwatch").get_paginator("get_metric_data")
        return Metrics(
            **_collected(pages.paginate(MetricDataQueries=asked, StartTime=start, EndTime=end))
        )
    except AWS_ERRORS as error:
        raise explain(error, "cloudwatch:GetMetricData") from error


def _query(
    name: str, namespace: str, metric: str, dimensions: Mapping[str, str], statistic: str
) -> dict[str, Any]:
    pairs = [{"Name": key, "Value": value} for key, value in dimensions.items()]
    return {
        "Id": name,
        "MetricStat": {
            "Metric": {"Namespace": namespace, "MetricName": metric, "Dimensions": pairs},
            "Period": _HOUR_SECONDS,
            "Stat": statistic,
        },
    }


def _collected(pages: Any) -> dict[str, dict[datetime, float]]:
    found: dict[str, dict[datetime, float]] = defaultdict(dict)
    for page in pages:
        results: Sequence[Mapping[str, Any]] = page["MetricDataResults"]
        for result in results:
            hours = [stamp.astimezone(UTC) for stamp in result["Timestamps"]]
            found[result["Id"]].update(zip(hours, result["Values"]))
    return dict(found)

"""The dashboard shows both targets side by side, and the cost of 1,000 calls at each."""

import json
from collections import defaultdict
from typing import Any

import pytest

from infra.monitoring import PRICES
from support.templates import canonical, evaluate

LISTED = json.loads(PRICES.read_text())["regions"]["us-east-1"]
CALL = LISTED["lambda"]["usd_per_million_requests"] / 1e6
SUBJECTS = ["traffic", "latency", "faults", "cold starts", "capacity", "cost"]


def widgets(stack: Any) -> list[dict[str, Any]]:
    body = canonical(stack.only("AWS::CloudWatch::Dashboard")[1]["DashboardBody"])
    return list(json.loads(body)["widgets"])


def rows(stack: Any) -> list[list[dict[str, Any]]]:
    """Return the rows from the top, each from the left."""
    found = defaultdict(list)
    for widget in sorted(widgets(stack), key=lambda widget: widget["x"]):
        found[widget["y"]].append(widget)
    return [found[y] for y in sorted(found)]


def shown(widget: dict[str, Any]) -> set[tuple[str, str, str]]:
    """Return namespace, metric and statistic of each line of a graph."""
    return {
        (metric[0], metric[1], metric[-1].get("stat", "Average"))
        for metric in widget["properties"].get("metrics", [])
        if isinstance(metric[0], str)
    }


def targets(stack: Any) -> list[str]:
    kinds = (("Lambda", "AWS::Lambda::Function"), ("SageMaker", "AWS::SageMaker::Endpoint"))
    return [title for title, kind in kinds if stack.resources(kind)]


def test_each_row_is_one_subject_of_each_target(every: Any) -> None:
    forwards = "$.forwardMilliseconds" in str(every.template)
    assert len(rows(every)) == len(SUBJECTS) + forwards
    width = 24 // 2
    for row in rows(every):
        assert [widget["x"] for widget in row] == [width * i for i in range(len(targets(every)))]
        assert all(widget["width"] == width for widget in row)
        for widget, target in zip(row, targets(every)):
            if widget["type"] == "metric":
                assert widget["properties"]["title"].startswith(f"{target}: ")
                assert widget["properties"]["region"] == "${AWS::Region}"
            else:
                assert widget["properties"]["markdown"]  # the reason for the missing graph


def test_who_answers_and_how_long_a_call_waits(configured: Any) -> None:
    """The first row, while calls are forwarded."""
    (answered, waited), *_ = rows(configured("shared"))
    namespace = "DualInferenceStack"
    assert shown(waited) == {(namespace, "Forwarded", p) for p in ("p50", "p99")}
    counted = {(namespace, "Forwarded", "SampleCount"), (namespace, "Spilled", "Sum")}
    assert shown(answered) == {("AWS/Lambda", "Invocations", "Sum"), *counted}
    lines = [line[0] for line in answered["properties"]["metrics"] if len(line) == 1]
    shares = [evaluate(line["expression"], calls=200, forwarded=20, spilled=3) for line in lines]
    assert shares == [10, 1.5]


def test_what_the_functions_column_shows(both: Any) -> None:
    traffic, latency, faults, starts, capacity, _ = (shown(row[0]) for row in rows(both))
    assert traffic == {("AWS/Lambda", "Invocations", "Sum")}
    assert latency == {("AWS/Lambda", "Duration", p) for p in ("p50", "p99")}
    counts = ("Errors", "Url5xxCount", "Throttles")
    assert faults == {("AWS/Lambda", name, "Sum") for name in counts}
    assert starts == {("DualInferenceStack", "ColdStarts", "SampleCount")}
    assert capacity == {("AWS/Lambda", "ConcurrentExecutions", "Maximum")}


@pytest.mark.parametrize(
    ("name", "calls"), [("both", "Invocations"), ("async", "InvocationsProcessed")]
)
def test_what_an_endpoints_column_shows(configured: Any, name: str, calls: str) -> None:
    """AWS does not publish Invocations of an asynchronous endpoint."""
    column = [row[1] for row in rows(configured(name))]
    traffic, latency, faults, starts, capacity, _ = (shown(widget) for widget in column)
    examined = {("DualInferenceStack", "Examined", "Sum")} if name == "both" else set()
    assert traffic == {("AWS/SageMaker", calls, "Sum"), *examined}
    if examined:
        expressions = [line[0] for line in column[0]["properties"]["metrics"] if len(line) == 1]
        assert [each["expression"] for each in expressions] == ["every - FILL(examined, 0)"]
    assert latency == {("AWS/SageMaker", "ModelLatency", p) for p in ("p50", "p99")}
    assert faults == {("AWS/SageMaker", "Invocation5XXErrors", "Sum")}
    assert not starts
    assert "no cold starts" in column[3]["properties"]["markdown"]
    assert capacity == {("/aws/sagemaker/Endpoints", "CPUUtilization", "SampleCount")}


def test_what_a_serverless_endpoints_column_shows(configured: Any) -> None:
    column = [shown(row[1]) for row in rows(configured("serverless"))]
    assert column[3] == {("AWS/SageMaker", "ModelSetupTime", "SampleCount")}
    assert column[4] == {("AWS/SageMaker", "ServerlessConcurrentExecutionsUtilization", "Maximum")}


def test_cold_starts_are_counted_in_the_log(synthesize: Any) -> None:
    """Lambda has no metric of them. Each stack has its own."""
    stack = synthesize(mode="lambda", stack_name="cats")
    _, function = stack.only("AWS::Lambda::Function")
    filters = stack.resources("AWS::Logs::MetricFilter").items()
    [counted] = [resource["Properties"] for name, resource in filters if "ColdStarts" in name]
    assert counted["LogGroupName"] == function["LoggingConfig"]["LogGroup"]
    # Only the report of a first invocation has this field.
    assert "$.record.metrics.initDurationMs" in counted["FilterPattern"]
    (transformation,) = counted["MetricTransformations"]
    assert transformation["MetricValue"] == "$.record.metrics.initDurationMs"
    assert transformation["MetricNamespace"] == "cats"
    assert ("cats", transformation["MetricName"], "SampleCount") in shown(rows(stack)[3][0])


def cost(stack: Any, target: str, date: str = "2026-09-27", **measured: float) -> float:
    """Evaluate the dashboard's expression: US dollars per 1,000 calls.

    `measured` are AWS's metrics of a quarter of an hour, as NAME_STATISTIC.
    """
    title = f"{target}: running cost"
    (widget,) = (w for w in widgets(stack) if w["properties"].get("title") == title)
    (expression,) = (metric[0] for metric in widget["properties"]["metrics"] if len(metric) == 1)
    assert "USD per 1,000 calls without data" in expression["label"]
    assert expression["label"].endswith(f"list prices of us-east-1, {date}")
    values = {"PERIOD": 900.0}
    for metric in widget["properties"]["metrics"]:
        if len(metric) > 1:
            assert metric[-1]["visible"] is False
            assert metric[-1]["period"] == expression["period"] == 900
            statistic = metric[-1].get("stat", "Average")
            values[metric[-1]["id"]] = measured[f"{metric[1]}_{statistic}"]
    return evaluate(expression["expression"], **values)


def test_the_cost_of_a_function(synthesize: Any) -> None:
    prices = LISTED["lambda"]
    stack = synthesize(mode="lambda", lambda_memory_mb="2048")
    # 2 GB for 0.1 s, and the request: $0.0035 per 1,000 calls at the prices of 2026. 5 calls have
    # 3 cold starts of 2 s, which AWS bills since August 2025.
    expected = 1000 * (2 * 0.1 * prices["usd_per_million_gb_seconds"] / 1e6 + CALL)
    expected += 1000 * 3 * 2 * 2 * prices["usd_per_million_gb_seconds"] / 1e6 / 5
    measured = {"Duration_Average": 100, "Invocations_Sum": 5, "ColdStarts_Sum": 3 * 2000}
    assert cost(stack, "Lambda", **measured) == pytest.approx(expected, rel=1e-4)
    warm = synthesize(mode="lambda", lambda_memory_mb="2048", lambda_provisioned_concurrency="3")
    # A call uses the same at another price. 300 calls share 3 executions of 2 GB for 900 s.
    kept = 3 * 2 * 900 * prices["kept_usd_per_million_gb_seconds"] / 1e6 / 300
    used = 2 * 0.1 * prices["kept_duration_usd_per_million_gb_seconds"] / 1e6 + CALL
    actual = cost(warm, "Lambda", Duration_Average=100, Invocations_Sum=300, ColdStarts_Sum=0)
    assert actual == pytest.approx(1000 * (kept + used), rel=1e-4)
    on_arm = synthesize(mode="lambda", architecture="arm64", lambda_memory_mb="2048")
    measured = {"Duration_Average": 100, "Invocations_Sum": 300, "ColdStarts_Sum": 0}
    actual = cost(on_arm, "Lambda", LISTED["lambda_arm64"]["date"], **measured)
    assert actual == pytest.approx(1000 * (2 * 0.1 * 13.3334 / 1e6 + CALL), rel=1e-4)


def test_the_cost_of_an_endpoint(configured: Any) -> None:
    # 600 calls share two instances for a quarter of an hour, each with 15 reports.
    expected = 1000 * 2 * LISTED["instances"]["usd_per_hour"]["ml.m5.large"] / 4 / 600
    measured = {"CPUUtilization_SampleCount": 30, "InvocationsProcessed_Sum": 600}
    actual = cost(configured("async"), "SageMaker", **measured)
    assert actual == pytest.approx(expected, rel=1e-4)
    # Serverless: 3 GB for 0.1 s.
    expected = 1000 * 3 * 0.1 * LISTED["serverless"]["usd_per_million_gb_seconds"] / 1e6
    actual = cost(configured("serverless"), "SageMaker", ModelLatency_Average=100_000)
    assert actual == pytest.approx(expected, rel=1e-4)


def test_an_instance_without_a_known_price_has_no_cost(synthesize: Any) -> None:
    stack = synthesize(mode="sagemaker", instance_type="ml.g6.2xlarge")
    (note,) = rows(stack)[-1]
    assert "has no price" in note["properties"]["markdown"]

"""The alarms that send emails: their metrics, and their recipients."""

from typing import Any

import pytest

from support.templates import canonical, evaluate, listed, metrics

ALARM = "AWS::CloudWatch::Alarm"
ENDPOINT = "AWS::SageMaker::Endpoint"


def watching(stack: Any, *names: str) -> dict[str, Any]:
    """Return the properties of the one alarm, not a gate, on exactly these metrics."""
    (found,) = (
        alarm["Properties"]
        for alarm in stack.resources(ALARM).values()
        if metrics(alarm["Properties"]).keys() == {*names} and not is_gate(alarm["Properties"])
    )
    return dict(found)


def is_gate(alarm: dict[str, Any]) -> bool:
    """Return True if the alarm watches only the new version or fleet of an update."""
    return any(
        metric["dimensions"].keys() & {"ExecutedVersion", "EndpointConfigName", "version"}
        for metric in metrics(alarm).values()
    )


@pytest.mark.parametrize(
    ("fault", "calls"), [("Errors", "Invocations"), ("Url5xxCount", "UrlRequestCount")]
)
def test_the_share_of_a_functions_calls_that_fail(both: Any, fault: str, calls: str) -> None:
    """Lambda's Errors do not include faults through the URL, which has its own count."""
    alarm = watching(both, fault, calls)
    function, _ = both.only("AWS::Lambda::Function")
    dimensions = {"FunctionName": f"${{{function}}}"}
    if fault == "Errors":  # callers use the alias; AWS publishes the URL's metrics by function
        dimensions["Resource"] = f"${{{function}}}:live"
    expected = {"namespace": "AWS/Lambda", "dimensions": dimensions, "statistic": "Sum"}
    assert all(metric == {**expected, "period": 60} for metric in metrics(alarm).values())
    (expression,) = (query for query in alarm["Metrics"] if "Expression" in query)
    assert [q["Id"] for q in alarm["Metrics"] if q["ReturnData"]] == [expression["Id"]]
    counts = {fault: 3, calls: 200}
    values = {
        query["Id"]: counts[query["MetricStat"]["Metric"]["MetricName"]]
        for query in alarm["Metrics"]
        if "MetricStat" in query
    }
    assert evaluate(expression["Expression"], **values) == pytest.approx(1.5)
    assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
    # A failing version with a tenth of the traffic triggers it; one fault in 100 calls does not.
    assert 1 <= alarm["Threshold"] < 10


def test_a_functions_throttles_and_latency(both: Any) -> None:
    function, _ = both.only("AWS::Lambda::Function")
    dimensions = {"FunctionName": f"${{{function}}}", "Resource": f"${{{function}}}:live"}
    throttles = watching(both, "Throttles")
    assert metrics(throttles)["Throttles"]["dimensions"] == dimensions
    assert metrics(throttles)["Throttles"]["statistic"] == "Sum"
    assert throttles["Threshold"] == 0
    slow = watching(both, "Duration")
    assert metrics(slow)["Duration"]["dimensions"] == dimensions
    assert metrics(slow)["Duration"]["statistic"] == "p99"
    assert 30 * 100 < slow["Threshold"] < 30 * 1000  # ms


@pytest.mark.parametrize(("name", "limit_seconds"), [("both", 60), ("async", 15 * 60)])
def test_an_endpoints_faults_and_latency(configured: Any, name: str, limit_seconds: int) -> None:
    stack = configured(name)
    endpoint = stack.only(ENDPOINT)[1]["EndpointName"]
    dimensions = {"EndpointName": endpoint, "VariantName": "AllTraffic"}
    faults = watching(stack, "Invocation5XXErrors")
    assert metrics(faults)["Invocation5XXErrors"] == {
        "namespace": "AWS/SageMaker",
        "dimensions": dimensions,
        "statistic": "Average",  # the metric is 1 for a failed call and 0 for others
        "period": 60,
    }
    assert 0.01 <= faults["Threshold"] < 0.1
    slow = watching(stack, "ModelLatency")
    assert metrics(slow)["ModelLatency"]["dimensions"] == dimensions
    assert metrics(slow)["ModelLatency"]["statistic"] == "p99"
    assert limit_seconds * 100_000 < slow["Threshold"] < limit_seconds * 1_000_000  # µs


LOST = ("RequestDownloadFailures", "ResponseUploadFailures", "ExpiredRequests")


def test_lost_requests_and_answers(configured: Any) -> None:
    """They cause no 5xx, because the container does not see them."""
    stack = configured("async")
    alarm = watching(stack, *LOST)
    endpoint = stack.only(ENDPOINT)[1]["EndpointName"]
    for metric in metrics(alarm).values():
        assert metric["dimensions"] == {"EndpointName": endpoint, "VariantName": "AllTraffic"}
        assert (metric["statistic"], metric["namespace"]) == ("Sum", "AWS/SageMaker")
    (expression,) = (query["Expression"] for query in alarm["Metrics"] if "Expression" in query)
    ids = [query["Id"] for query in alarm["Metrics"] if "MetricStat" in query]
    for lost in ids:
        values = dict.fromkeys(ids, 0.0)
        assert evaluate(expression, **values) <= alarm["Threshold"]
        assert evaluate(expression, **{**values, lost: 1}) > alarm["Threshold"]


@pytest.mark.parametrize("name", ["sagemaker", "async"])
def test_no_healthy_capacity(configured: Any, name: str) -> None:
    stack = configured(name)
    alarm = watching(stack, "CPUUtilization")
    metric = metrics(alarm)["CPUUtilization"]
    assert metric["namespace"] == "/aws/sagemaker/Endpoints"
    endpoint = stack.only(ENDPOINT)[1]["EndpointName"]
    assert metric["dimensions"] == {"EndpointName": endpoint, "VariantName": "AllTraffic"}
    assert metric["statistic"] == "SampleCount"  # each instance reports once a minute
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("LessThanThreshold", 1)
    assert alarm["TreatMissingData"] == "breaching"  # without instances there is no data
    (alarm_id,) = (i for i, a in stack.resources(ALARM).items() if a["Properties"] == alarm)
    assert ENDPOINT in stack.waits_for(alarm_id)  # otherwise it would go off until then


@pytest.mark.parametrize("name", ["serverless", "async_from_none"])
def test_without_min_instances_there_is_no_capacity_alarm(configured: Any, name: str) -> None:
    watched = configured(name).resources(ALARM).values()
    assert not [a for a in watched if "CPUUtilization" in metrics(a["Properties"])]


def test_descriptions_and_missing_data(every: Any) -> None:
    for alarm in every.resources(ALARM).values():
        assert alarm["Properties"]["AlarmDescription"]
        if "CPUUtilization" not in metrics(alarm["Properties"]):
            assert alarm["Properties"]["TreatMissingData"] in ("notBreaching", "missing")


def test_without_an_address_there_are_no_emails(both: Any) -> None:
    assert not both.resources("AWS::SNS::Subscription")
    for alarm in both.resources(ALARM).values():
        assert not alarm["Properties"].keys() & {"AlarmActions", "OKActions"}


@pytest.mark.parametrize("name", ["async_from_none", "shared"])
def test_alarm_email_gets_every_alarm_and_its_end(configured: Any, name: str) -> None:
    stack = configured(name)
    _, subscription = stack.only("AWS::SNS::Subscription")
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "team@example.com")
    topic = subscription["TopicArn"]
    for alarm in (alarm["Properties"] for alarm in stack.resources(ALARM).values()):
        if is_gate(alarm):  # another alarm on the same calls sends the email
            assert not alarm.keys() & {"AlarmActions", "OKActions"}
            of_the_log = metrics(alarm).keys() & {"Faults", "NewSpilled"}
            beside = ("Url5xxCount", "UrlRequestCount") if of_the_log else metrics(alarm)
            assert watching(stack, *beside)["AlarmActions"] == [topic]
        elif metrics(alarm).keys() != {"HasBacklogWithoutCapacity"}:
            assert alarm["AlarmActions"] == [topic]
            assert alarm["OKActions"] == [topic]
    # Our policy replaces AWS's default, which would let alarms publish.
    (policy,) = (
        policy["Properties"]["PolicyDocument"]["Statement"]
        for policy in stack.resources("AWS::SNS::TopicPolicy").values()
        if policy["Properties"]["Topics"] == [topic]
    )
    (allowed,) = (statement for statement in policy if statement["Effect"] == "Allow")
    assert allowed["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert allowed["Action"] == "sns:Publish"
    assert allowed["Resource"] == topic
    ((_, condition),) = allowed["Condition"].items()
    sources = {canonical(source) for source in listed(condition["aws:SourceArn"])}
    telling = {
        f"${{{name}.Arn}}"
        for name, alarm in stack.template["Resources"].items()
        if topic in alarm.get("Properties", {}).get("AlarmActions", [])
    }
    assert sources == telling

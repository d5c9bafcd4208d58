"""Gates are the alarms that stop an update. They watch only the new version or fleet.

So a fix can replace a failing one.
"""

from typing import Any

import pytest

from support.templates import canonical, listed, metrics

ALARM, ALIAS = "AWS::CloudWatch::Alarm", "AWS::Lambda::Alias"
ENDPOINT, CONFIG = "AWS::SageMaker::Endpoint", "AWS::SageMaker::EndpointConfig"
NEW = {ALIAS: "ExecutedVersion", ENDPOINT: "EndpointConfigName"}
OF_THE_LOG = {"Faults", "Invocations"}
cases = pytest.mark.parametrize(
    ("name", "kind"), [("both", ALIAS), ("both", ENDPOINT), ("async_from_none", ENDPOINT)]
)


def of_the_new(stack: Any, kind: str) -> dict[str, Any]:
    """Return the gates on AWS's metrics, for which there are alarms by email too."""
    gates = stack.gates(kind)
    return {name: gates[name] for name in gates if metrics(gates[name]).keys() != OF_THE_LOG}


def moved_to(stack: Any, kind: str) -> str:
    """Return the version or config that an update moves the alias or the endpoint to."""
    _, properties = stack.only(kind)
    key = "FunctionVersion" if kind == ALIAS else "EndpointConfigName"
    return canonical(properties[key])


def test_what_the_gates_watch(both: Any) -> None:
    """Without forwarding, the function's way back does not wait for an endpoint that fails."""
    watched = {
        kind: {metric for alarm in both.gates(kind).values() for metric in metrics(alarm)}
        for kind in (ALIAS, ENDPOINT)
    }
    assert watched == {
        ALIAS: {"Errors", "Invocations", "Duration", *OF_THE_LOG},
        ENDPOINT: {"Invocation5XXErrors", "ModelLatency"},
    }


@cases
def test_a_gate_watches_only_the_new_version_or_fleet(
    configured: Any, name: str, kind: str
) -> None:
    stack = configured(name)
    assert stack.gates(kind).keys() <= stack.before(stack.only(kind)[0])
    gates = of_the_new(stack, kind)
    assert len(gates) == 2
    for alarm in gates.values():
        for metric in metrics(alarm).values():
            assert metric["dimensions"][NEW[kind]] == moved_to(stack, kind)


@cases
def test_each_gate_has_an_alarm_on_old_and_new(configured: Any, name: str, kind: str) -> None:
    stack = configured(name)
    alarms = {n: resource["Properties"] for n, resource in stack.resources(ALARM).items()}
    telling = {n: alarms[n] for n in alarms if n not in stack.gates(kind)}
    for gate in of_the_new(stack, kind).values():
        wider = metrics(gate)
        for metric in wider.values():
            del metric["dimensions"][NEW[kind]]
        (beside,) = (alarm for alarm in telling.values() if metrics(alarm) == wider)
        for key in ("Threshold", "ComparisonOperator", "EvaluationPeriods", "TreatMissingData"):
            assert beside[key] == gate[key]
        assert gate["TreatMissingData"] == "notBreaching"  # there is data only during an update


@pytest.mark.parametrize("name", ["both", "shared"])
def test_the_5xx_of_a_version_are_counted_in_its_log(configured: Any, name: str) -> None:
    """AWS counts the 5xx of a URL for all versions, so an old one's would stop a fix."""
    stack = configured(name)
    [gate] = [alarm for alarm in stack.gates(ALIAS).values() if metrics(alarm).keys() == OF_THE_LOG]
    assert "Url" not in str(stack.gates(ALIAS))
    watched = metrics(gate)
    assert watched["Faults"]["dimensions"] == {"version": moved_to(stack, ALIAS)}
    assert watched["Invocations"]["dimensions"]["ExecutedVersion"] == moved_to(stack, ALIAS)
    assert counted(stack, "Faults") == {
        "pattern": "{ $.status >= 500 }",
        "value": "1",
        "dimensions": [{"Key": "version", "Value": "$.version"}],
    }


def counted(stack: Any, metric: str) -> dict[str, Any]:
    """Return pattern, value and dimensions of a metric of the function's log."""
    _, function = stack.only("AWS::Lambda::Function")
    [found] = [
        resource["Properties"]
        for resource in stack.resources("AWS::Logs::MetricFilter").values()
        if resource["Properties"]["MetricTransformations"][0]["MetricName"] == metric
    ]
    assert found["LogGroupName"] == function["LoggingConfig"]["LogGroup"]
    [transformation] = found["MetricTransformations"]
    assert transformation["MetricNamespace"] == "DualInferenceStack"
    return {
        "pattern": found["FilterPattern"],
        "value": transformation["MetricValue"],
        "dimensions": transformation.get("Dimensions"),
    }


def test_the_endpoints_alarms_stop_a_shift_to_forwarding(configured: Any) -> None:
    """Callers would not notice an endpoint that refuses most calls."""
    stack = configured("shared")
    gates = stack.gates(ALIAS)
    watched = [metrics(alarm).keys() for alarm in gates.values()]
    for metric in ("Invocation5XXErrors", "ModelLatency"):
        assert [metric] in [[*names] for names in watched]
    assert len(gates) == 6  # without NoCapacity, which may go off while an endpoint is new
    [spills] = [alarm for alarm in gates.values() if "NewSpilled" in metrics(alarm)]
    assert spills["Threshold"] == 50 * 0.1  # half of the tenth that is forwarded
    assert metrics(spills)["NewSpilled"]["dimensions"] == {"version": moved_to(stack, ALIAS)}
    assert counted(stack, "NewSpilled")["pattern"] == '{ $.target = "lambda-spill" }'
    seen = {
        canonical(resource)
        for statement in stack.statements("codedeploy")
        if statement["Action"] == "cloudwatch:DescribeAlarms"
        for resource in listed(statement["Resource"])
    }
    assert {f"${{{alarm}.Arn}}" for alarm in gates} <= seen


def test_a_serverless_endpoint_has_no_gates(configured: Any) -> None:
    """AWS does not support them, so there is no alarm on a config and no permission to see it."""
    stack = configured("serverless")
    assert not stack.only(ENDPOINT)[1].keys() & {"DeploymentConfig", "RetainAllVariantProperties"}
    for alarm in stack.resources(ALARM).values():
        for metric in metrics(alarm["Properties"]).values():
            assert "EndpointConfigName" not in metric["dimensions"]
    assert "DescribeAlarms" not in str(stack.statements("sagemaker"))

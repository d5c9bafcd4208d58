"""The alarms that stop an update: they hear of what is new alone, so that a fix can replace what
fails."""

from typing import Any

import pytest

from support.templates import canonical, listed, metrics

ALARM, ALIAS = "AWS::CloudWatch::Alarm", "AWS::Lambda::Alias"
ENDPOINT, CONFIG = "AWS::SageMaker::Endpoint", "AWS::SageMaker::EndpointConfig"
NEW = {ALIAS: "ExecutedVersion", ENDPOINT: "EndpointConfigName"}
OF_THE_LOG = {"Faults", "Invocations"}
WITH_INSTANCES = ["sagemaker", "async", "async_from_none", "fleet", "fixed", "everything"]
cases = pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, ALIAS) for name in ("lambda", "both", "serverless", "async", "everything")),
        *((name, ENDPOINT) for name in WITH_INSTANCES),
    ],
)


def of_the_new(stack: Any, kind: str) -> dict[str, Any]:
    """The gates on AWS's own metrics, which people hear of, too."""
    gates = stack.gates(kind)
    return {name: gates[name] for name in gates if metrics(gates[name]).keys() != OF_THE_LOG}


def moved_to(stack: Any, kind: str) -> str:
    """What an update moves the alias or the endpoint to."""
    _, properties = stack.only(kind)
    key = "FunctionVersion" if kind == ALIAS else "EndpointConfigName"
    return canonical(properties[key])


def test_what_the_gates_watch(both: Any) -> None:
    watched = {
        kind: {metric for alarm in both.gates(kind).values() for metric in metrics(alarm)}
        for kind in (ALIAS, ENDPOINT)
    }
    assert watched == {
        ALIAS: {"Errors", "Invocations", "Duration", *OF_THE_LOG},
        ENDPOINT: {"Invocation5XXErrors", "ModelLatency"},
    }


@cases
def test_a_gate_hears_of_the_new_alone_and_is_there_before_anything_moves(
    configured: Any, name: str, kind: str
) -> None:
    """CloudWatch keeps a metric for each set of dimensions: none of the old one's is read."""
    stack = configured(name)
    assert stack.gates(kind).keys() <= stack.before(stack.only(kind)[0])
    gates = of_the_new(stack, kind)
    assert len(gates) == 2
    for alarm in gates.values():
        for metric in metrics(alarm).values():
            assert metric["dimensions"][NEW[kind]] == moved_to(stack, kind)


@cases
def test_beside_a_gate_people_hear_of_the_same_of_old_and_new(
    configured: Any, name: str, kind: str
) -> None:
    """That one rings on while a fix is on its way, and stops nothing."""
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
        assert gate["TreatMissingData"] == "notBreaching"  # nothing is heard but in an update


@pytest.mark.parametrize("name", ["lambda", "both", "async", "shared", "doorman"])
def test_the_5xx_of_a_version_are_counted_in_its_log(configured: Any, name: str) -> None:
    """Lambda counts answers of a URL for the function: a fix would have to wait for the old one."""
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
    """Return what a metric of the function's log counts."""
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


@pytest.mark.parametrize(("name", "share"), [("shared", 0.1), ("doorman", 1)])
def test_a_shift_to_a_version_that_forwards_stops_on_the_endpoints_alarms(
    configured: Any, name: str, share: float
) -> None:
    """And where the endpoint refuses most of what is forwarded: callers would not notice."""
    stack = configured(name)
    gates = stack.gates(ALIAS)
    watched = [metrics(alarm).keys() for alarm in gates.values()]
    for metric in ("Invocation5XXErrors", "ModelLatency"):
        assert [metric] in [[*names] for names in watched]
    assert len(gates) == 6  # and not the one of no capacity, which may ring beside a new endpoint
    [spills] = [alarm for alarm in gates.values() if "NewSpilled" in metrics(alarm)]
    assert spills["Threshold"] == 50 * share
    assert metrics(spills)["NewSpilled"]["dimensions"] == {"version": moved_to(stack, ALIAS)}
    assert counted(stack, "NewSpilled")["pattern"] == '{ $.target = "lambda-spill" }'
    seen = {
        canonical(resource)
        for statement in stack.statements("codedeploy")
        if statement["Action"] == "cloudwatch:DescribeAlarms"
        for resource in listed(statement["Resource"])
    }
    assert {f"${{{alarm}.Arn}}" for alarm in gates} <= seen


def test_the_way_back_does_not_wait_for_an_endpoint_that_fails(both: Any) -> None:
    """No alarm of the endpoint stops a shift to a version that answers itself."""
    assert not both.gates(ENDPOINT).keys() & both.gates(ALIAS).keys()
    namespaces = {m["namespace"] for a in both.gates(ALIAS).values() for m in metrics(a).values()}
    assert "AWS/SageMaker" not in namespaces


def test_a_serverless_endpoint_has_no_gates(configured: Any) -> None:
    """AWS takes none; so nobody is let see them, and no alarm of a config is left over."""
    stack = configured("serverless")
    assert stack.gates(ENDPOINT) == {}
    for alarm in stack.resources(ALARM).values():
        for metric in metrics(alarm["Properties"]).values():
            assert "EndpointConfigName" not in metric["dimensions"]
    assert "DescribeAlarms" not in str(stack.statements("sagemaker"))

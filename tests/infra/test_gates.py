"""The alarms that stop an update: they hear of what is new alone, so that a fix can replace what
fails."""

from typing import Any

import pytest

from templates import canonical, metrics

ALARM, ALIAS = "AWS::CloudWatch::Alarm", "AWS::Lambda::Alias"
ENDPOINT, CONFIG = "AWS::SageMaker::Endpoint", "AWS::SageMaker::EndpointConfig"
NEW = {ALIAS: "ExecutedVersion", ENDPOINT: "EndpointConfigName"}
OF_THE_URL = {"Url5xxCount", "UrlRequestCount"}
WITH_INSTANCES = ["sagemaker", "async", "async_from_none", "fleet", "fixed", "everything"]
cases = pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, ALIAS) for name in ("lambda", "both", "serverless", "async", "everything")),
        *((name, ENDPOINT) for name in WITH_INSTANCES),
    ],
)


def of_the_new(stack: Any, kind: str) -> dict[str, Any]:
    """The gates that tell old from new: all but the URL's."""
    gates = stack.gates(kind)
    return {name: gates[name] for name in gates if metrics(gates[name]).keys() != OF_THE_URL}


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
        ALIAS: {"Errors", "Invocations", "Duration", *OF_THE_URL},
        ENDPOINT: {"Invocation5XXErrors", "ModelLatency"},
    }


@cases
def test_a_gate_hears_of_the_new_alone(configured: Any, name: str, kind: str) -> None:
    """CloudWatch keeps a metric for each set of dimensions: none of the old one's is read."""
    stack = configured(name)
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


def test_a_fix_is_another_version_and_its_gates_are_its_own(synthesize: Any, both: Any) -> None:
    fixed = synthesize(mode="both", lambda_memory_mb="3008")
    old, new = (stack.only("AWS::Lambda::Version")[0] for stack in (both, fixed))
    assert old != new
    assert old in str(both.gates(ALIAS))
    assert old not in str(fixed.gates(ALIAS))
    assert new in str(fixed.gates(ALIAS))


def test_the_urls_alarm_tells_no_versions_apart_and_is_a_gate_all_the_same(both: Any) -> None:
    """Lambda counts answers of a URL for the function: while it rings, a fix has to wait."""
    gates = both.gates(ALIAS)
    assert len(gates.keys() - of_the_new(both, ALIAS).keys()) == 1
    assert not both.gates(ENDPOINT).keys() & gates.keys()


@cases
def test_the_gates_are_there_before_anything_moves(configured: Any, name: str, kind: str) -> None:
    stack = configured(name)
    moved, _ = stack.only(kind)
    assert stack.gates(kind).keys() <= stack.before(moved)


def test_a_serverless_endpoint_has_no_gates(configured: Any) -> None:
    """AWS takes none; so nobody is let see them, and no alarm of a config is left over."""
    stack = configured("serverless")
    assert stack.gates(ENDPOINT) == {}
    for alarm in stack.resources(ALARM).values():
        for metric in metrics(alarm["Properties"]).values():
            assert "EndpointConfigName" not in metric["dimensions"]
    assert "DescribeAlarms" not in str(stack.statements("sagemaker"))

"""A function that forwards: its variables, its permissions and its order of creation."""

from typing import Any

import pytest

from support.templates import allows

FUNCTION, ENDPOINT = "AWS::Lambda::Function", "AWS::SageMaker::Endpoint"
ALIAS, URL = "AWS::Lambda::Alias", "AWS::Lambda::Url"
VARIABLES = ("FORWARD_ENDPOINT", "FORWARD_PERCENT", "FORWARD_SPILL")
MOVE: list[dict[str, str]] = [
    {"mode": "lambda"},
    {"mode": "both"},
    {"mode": "both", "sagemaker_percent": "10"},
    {"mode": "both", "sagemaker_percent": "100"},
    {"mode": "both", "sagemaker_percent": "100", "spill": "true"},
    {"mode": "sagemaker", "keep_url": "true"},
    {"mode": "sagemaker", "keep_url": "true", "spill": "true"},
    {"mode": "sagemaker", "keep_url": "true", "sagemaker_type": "serverless"},
]


def told(stack: Any) -> dict[str, str]:
    variables = stack.only(FUNCTION)[1]["Environment"]["Variables"]
    return {name: variables[name] for name in VARIABLES if name in variables}


@pytest.mark.parametrize(
    ("keys", "percent", "spill", "memory_mb"),
    [
        ({"sagemaker_percent": "10"}, "10", None, 1769),
        ({"sagemaker_percent": "100", "lambda_memory_mb": "3008"}, "100", None, 512),
        ({"mode": "sagemaker", "keep_url": "true", "sagemaker_percent": "1"}, "100", None, 512),
        ({"mode": "sagemaker", "keep_url": "true", "spill": "true"}, "100", "1", 1769),
    ],
)
def test_what_the_function_is_told(
    synthesize: Any, keys: dict[str, str], percent: str, spill: str | None, memory_mb: int
) -> None:
    stack = synthesize(**{"mode": "both", **keys})
    name = stack.only(ENDPOINT)[1]["EndpointName"]
    expected = {"FORWARD_ENDPOINT": name, "FORWARD_PERCENT": percent}
    assert told(stack) == (expected | {"FORWARD_SPILL": spill} if spill else expected)
    assert stack.only(FUNCTION)[1]["MemorySize"] == memory_mb
    assert not {*VARIABLES} & stack.environments()["AWS::SageMaker::Model"].keys()


@pytest.mark.parametrize(
    "keys",
    [
        {"mode": "lambda", "sagemaker_percent": "10", "keep_url": "true", "spill": "true"},
        {"mode": "both", "keep_url": "true", "spill": "true"},
    ],
)
def test_what_a_mode_leaves_out_forwards_nothing(synthesize: Any, keys: dict[str, str]) -> None:
    stack = synthesize(**keys)
    assert told(stack) == {}
    assert "sagemaker:InvokeEndpoint" not in str(stack.statements("lambda"))


def test_the_function_outlasts_the_endpoint(synthesize: Any) -> None:
    """A realtime call ends after 60 s, which is also the maximum of lambda_timeout_seconds."""
    stack = synthesize(mode="both", lambda_timeout_seconds="60", sagemaker_percent="10")
    assert stack.only(FUNCTION)[1]["Timeout"] == 60 + 60
    (slow,) = (a for a in stack.gates(ALIAS).values() if a.get("MetricName") == "Duration")
    assert slow["Threshold"] == 60_000  # ms
    # The examiner waits up to 120 s for one call.
    (examiner,) = stack.resources(FUNCTION, of_examiner=True).values()
    assert examiner["Properties"]["Timeout"] > 120


@pytest.mark.parametrize("keys", [MOVE[2], MOVE[5], MOVE[7]], ids=str)
def test_it_may_invoke_only_this_endpoint(synthesize: Any, keys: dict[str, str]) -> None:
    stack = synthesize(**keys)
    granted = stack.statements("lambda")
    arn = "arn:${AWS::Partition}:sagemaker:${AWS::Region}:${AWS::AccountId}:endpoint/"
    assert allows(granted, "sagemaker:InvokeEndpoint", arn + told(stack)["FORWARD_ENDPOINT"])
    assert not allows(granted, "sagemaker:InvokeEndpoint", arn + "another")
    assert {s["Action"] for s in granted if "sagemaker" in str(s)} == {"sagemaker:InvokeEndpoint"}
    [endpoint] = stack.resources(ENDPOINT)
    policies = stack.resources("AWS::IAM::Policy").items()
    [policy] = [n for n, p in policies if "Forwards" in n and "InvokeEndpoint" in str(p)]
    # A rollback and `cdk destroy` delete dependent resources first.
    for kind in (FUNCTION, "AWS::Lambda::Version", ALIAS, URL):
        assert {endpoint, policy} <= stack.before(stack.only(kind)[0])


def test_function_alias_and_url_stay_from_the_first_call_to_the_last(synthesize: Any) -> None:
    """A resource with another logical id would be created again under another name."""
    stacks = [synthesize(**keys) for keys in MOVE]
    for kind in (FUNCTION, ALIAS, URL, "AWS::Logs::LogGroup"):
        kept = [{*stack.resources(kind)} for stack in stacks]
        assert kept[0]
        assert all(kept[0] <= each for each in kept)
    for kind in (ALIAS, URL):
        kept = [dict(stack.only(kind)[1], FunctionVersion=None) for stack in stacks]
        assert all(each == kept[0] for each in kept)


def test_the_last_step_of_the_move_changes_no_call(synthesize: Any) -> None:
    """From both with sagemaker_percent=100 to keep_url, the function stays the same."""
    before, after = synthesize(**MOVE[3]), synthesize(**MOVE[5])
    for kind in (FUNCTION, "AWS::Lambda::Version", ALIAS, URL, ENDPOINT):
        assert before.only(kind) == after.only(kind)


def test_another_endpoint_is_there_before_the_function_forwards_to_it(synthesize: Any) -> None:
    """CloudFormation deletes the old endpoint and its permission last."""
    one, other = synthesize(**MOVE[5]), synthesize(**MOVE[7])
    names = [stack.only(ENDPOINT)[1]["EndpointName"] for stack in (one, other)]
    assert [told(stack)["FORWARD_ENDPOINT"] for stack in (one, other)] == names
    assert names[0] != names[1]
    before, after = (
        {name for name in stack.resources("AWS::IAM::Policy") if "Forwards" in name}
        for stack in (one, other)
    )
    assert len(before) == len(after) == 2  # to invoke it, and to see its alarms
    assert not before & after

"""The endpoint moves to a new config beside the old fleet, and back on alarm."""

from typing import Any

import pytest

ENDPOINT = "AWS::SageMaker::Endpoint"
WITH_INSTANCES = ["sagemaker", "async", "async_from_none", "fleet", "fixed", "everything"]


def policy(stack: Any) -> dict[str, Any]:
    deployment = stack.only(ENDPOINT)[1]["DeploymentConfig"]
    return dict(deployment["BlueGreenUpdatePolicy"])


@pytest.mark.parametrize("name", ["sagemaker", "async", "async_from_none", "everything"])
def test_one_instance_is_replaced_at_once_and_watched(configured: Any, name: str) -> None:
    routing = policy(configured(name))["TrafficRoutingConfiguration"]
    assert routing["Type"] == "ALL_AT_ONCE"
    assert "CanarySize" not in routing


@pytest.mark.parametrize("name", ["fleet", "fixed"])
def test_from_two_instances_on_one_goes_first(configured: Any, name: str) -> None:
    routing = policy(configured(name))["TrafficRoutingConfiguration"]
    assert routing["Type"] == "CANARY"
    # AWS takes at most half of the fleet.
    assert routing["CanarySize"] == {"Type": "INSTANCE_COUNT", "Value": 1}


@pytest.mark.parametrize("name", WITH_INSTANCES)
def test_the_new_fleet_is_watched_for_longer_than_an_alarm_needs(
    configured: Any, name: str
) -> None:
    stack = configured(name)
    bake = policy(stack)["TrafficRoutingConfiguration"]["WaitIntervalInSeconds"]
    # Where all traffic moves at once, this is the wait that the old fleet is there to go back to.
    kept = policy(stack)["TerminationWaitInSeconds"]
    alarms = stack.gates(ENDPOINT).values()
    assert alarms
    for alarm in alarms:
        assert alarm["Period"] * alarm["EvaluationPeriods"] < min(bake, kept)
    assert kept <= 3600
    # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_BlueGreenUpdatePolicy.html
    assert 600 <= policy(stack)["MaximumExecutionTimeoutInSeconds"] <= 28800


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("sagemaker", True),
        ("fleet", True),
        ("async", True),
        ("async_from_none", False),  # of none there would be no new instance to watch
        ("fixed", False),
    ],
)
def test_only_a_fleet_that_scales_keeps_its_size(configured: Any, name: str, kept: bool) -> None:
    """Of one that is fixed, min_instances could not be changed."""
    assert configured(name).only(ENDPOINT)[1]["RetainAllVariantProperties"] is kept


def test_sagemaker_updates_a_serverless_endpoint_by_its_own_means(configured: Any) -> None:
    """AWS takes no deployment config for it."""
    _, endpoint = configured("serverless").only(ENDPOINT)
    assert not endpoint.keys() & {"DeploymentConfig", "RetainAllVariantProperties"}


@pytest.mark.parametrize("name", WITH_INSTANCES)
def test_the_role_sees_the_alarms_that_stop_an_update(configured: Any, name: str) -> None:
    stack = configured(name)
    (statement,) = (
        statement
        for statement in stack.statements("sagemaker")
        if statement["Action"] == "cloudwatch:DescribeAlarms"
    )
    seen = {resource["Fn::GetAtt"][0] for resource in statement["Resource"]}
    assert seen == stack.gates(ENDPOINT).keys()

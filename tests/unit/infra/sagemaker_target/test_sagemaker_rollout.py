"""An update of the endpoint starts a new fleet, and rolls back after an alarm."""

from typing import Any

import pytest

ENDPOINT = "AWS::SageMaker::Endpoint"
SMALL, GPU = "ml.m5.large", "ml.g5.xlarge"


def policy(stack: Any) -> dict[str, Any]:
    deployment = stack.only(ENDPOINT)[1]["DeploymentConfig"]
    return dict(deployment["BlueGreenUpdatePolicy"])


@pytest.mark.parametrize("name", ["sagemaker", "fleet"])
def test_the_new_fleet_is_watched_long_enough(configured: Any, name: str) -> None:
    """From two instances on, one goes first. AWS allows a canary of at most half of the fleet."""
    stack = configured(name)
    routing = policy(stack)["TrafficRoutingConfiguration"]
    canary = {"Type": "INSTANCE_COUNT", "Value": 1} if name == "fleet" else None
    assert routing["Type"] == ("CANARY" if canary else "ALL_AT_ONCE")
    assert routing.get("CanarySize") == canary
    bake = routing["WaitIntervalInSeconds"]
    # If all traffic moves at once, the old fleet is kept for this time.
    kept = policy(stack)["TerminationWaitInSeconds"]
    alarms = stack.gates(ENDPOINT).values()
    assert alarms
    for alarm in alarms:
        assert alarm["Period"] * alarm["EvaluationPeriods"] < min(bake, kept)
    assert kept <= 3600
    # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_BlueGreenUpdatePolicy.html
    assert 600 <= policy(stack)["MaximumExecutionTimeoutInSeconds"] <= 28800
    # The role may read the alarms, which stop an update.
    granted = stack.statements("sagemaker")
    (statement,) = (s for s in granted if s["Action"] == "cloudwatch:DescribeAlarms")
    seen = {resource["Fn::GetAtt"][0] for resource in statement["Resource"]}
    assert seen == stack.gates(ENDPOINT).keys()


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("sagemaker", True),
        ("async_from_none", False),  # a fleet of none would start no new instance
        ("fixed", False),
    ],
)
def test_only_a_fleet_that_scales_keeps_its_size(configured: Any, name: str, kept: bool) -> None:
    """Otherwise a change of min_instances would have no effect on a fixed fleet."""
    assert configured(name).only(ENDPOINT)[1]["RetainAllVariantProperties"] is kept


@pytest.mark.parametrize(
    ("instance_type", "fewest", "most", "batch"),
    [
        (SMALL, 2, 2, None),
        (SMALL, 3, 20, 1),
        (SMALL, 3, 21, None),  # one instance of 21 is less than 5 %, and two of 3 more than 50 %
        (SMALL, 4, 21, 2),
        (GPU, 1, 2, None),  # one instance of 1 is more than 50 %
        (GPU, 2, 2, 1),
    ],
)
def test_a_large_fleet_and_gpus_are_replaced_in_batches(
    synthesize: Any, instance_type: str, fewest: int, most: int, batch: int | None
) -> None:
    """Blue/green would need twice the instances."""
    keys = {"instance_type": instance_type, "min_instances": fewest, "max_instances": most}
    stack = synthesize(mode="sagemaker", **{key: str(value) for key, value in keys.items()})
    deployment = stack.only(ENDPOINT)[1]["DeploymentConfig"]
    assert ("BlueGreenUpdatePolicy" in deployment) == (batch is None)
    assert deployment["AutoRollbackConfiguration"]["Alarms"]
    if batch:
        rolling = deployment["RollingUpdatePolicy"]
        assert rolling["MaximumBatchSize"] == {"Type": "INSTANCE_COUNT", "Value": batch}
        for fleet in (fewest, most):
            assert 0.05 <= batch / fleet <= 0.5  # AWS's limits
        assert rolling["WaitIntervalInSeconds"] >= 300  # longer than an alarm needs
        steps = most / batch
        assert steps * rolling["WaitIntervalInSeconds"] < 8 * 3600
        assert rolling["MaximumExecutionTimeoutInSeconds"] == 8 * 3600  # AWS's maximum

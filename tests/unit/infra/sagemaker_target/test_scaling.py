"""Scaling of an endpoint's instances and of a function's provisioned concurrency."""

from typing import Any

import pytest

from support.templates import canonical

TARGET = "AWS::ApplicationAutoScaling::ScalableTarget"
POLICY = "AWS::ApplicationAutoScaling::ScalingPolicy"
ENDPOINT = "AWS::SageMaker::Endpoint"


def tracking(stack: Any, target: str) -> dict[str, Any]:
    """Return the configuration of a target's one target-tracking policy."""
    kind, policies = "TargetTrackingScaling", stack.resources(POLICY).values()
    of_target = [p["Properties"] for p in policies if {"Ref": target} in p["Properties"].values()]
    (found,) = (policy for policy in of_target if policy["PolicyType"] == kind)
    return dict(found[f"{kind}PolicyConfiguration"])


def assert_of_the_endpoint(stack: Any, metric: dict[str, Any]) -> None:
    """AWS publishes metrics of waiting requests by endpoint, not by variant."""
    assert metric["Namespace"] == "AWS/SageMaker"
    (dimension,) = metric["Dimensions"]
    assert dimension["Name"] == "EndpointName"
    assert canonical(dimension["Value"]) == f"${{{stack.only(ENDPOINT)[0]}.EndpointName}}"


@pytest.mark.parametrize(
    ("name", "fewest", "most"),
    [("sagemaker", 1, 2), ("fleet", 2, 8), ("async_from_none", 0, 2)],
)
def test_the_endpoint_is_scaled(configured: Any, name: str, fewest: int, most: int) -> None:
    stack = configured(name)
    endpoint, _ = stack.only(ENDPOINT)
    target, properties = stack.only(TARGET)
    assert properties["ServiceNamespace"] == "sagemaker"
    assert properties["ScalableDimension"] == "sagemaker:variant:DesiredInstanceCount"
    (variant,) = stack.only("AWS::SageMaker::EndpointConfig")[1]["ProductionVariants"]
    # A reference, because the endpoint has to exist before it is registered.
    assert canonical(properties["ResourceId"]) == (
        f"endpoint/${{{endpoint}.EndpointName}}/variant/{variant['VariantName']}"
    )
    assert ENDPOINT in stack.waits_for(target)
    assert (properties["MinCapacity"], properties["MaxCapacity"]) == (fewest, most)
    assert variant["InitialInstanceCount"] == max(1, fewest)
    policy = tracking(stack, target)
    assert 0 < policy["ScaleOutCooldown"] < policy["ScaleInCooldown"] <= 600


@pytest.mark.parametrize("name", ["fixed", "serverless"])
def test_what_has_no_room_to_scale_is_not_registered(configured: Any, name: str) -> None:
    assert not configured(name).resources(TARGET)
    assert not configured(name).resources(POLICY)


def test_a_realtime_endpoint_follows_its_calls(both: Any, synthesize: Any) -> None:
    busier = synthesize(mode="sagemaker", invocations_per_instance_per_minute="120")
    for stack, calls in ((both, 3000), (busier, 120)):
        policy = tracking(stack, stack.only(TARGET)[0])
        assert policy["TargetValue"] == calls
        assert policy["PredefinedMetricSpecification"] == {
            "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
        }


def test_an_asynchronous_endpoint_follows_the_work_that_waits(configured: Any) -> None:
    stack = configured("async")
    metric = tracking(stack, stack.only(TARGET)[0])["CustomizedMetricSpecification"]
    assert metric["MetricName"] == "ApproximateBacklogSizePerInstance"
    assert metric["Statistic"] == "Average"
    assert_of_the_endpoint(stack, metric)


def test_the_first_instance_is_started_by_an_alarm(configured: Any) -> None:
    """Without instances, the backlog per instance has no value."""
    assert "HasBacklogWithoutCapacity" not in str(configured("async").template)
    stack = configured("async_from_none")
    policies = {name: policy["Properties"] for name, policy in stack.resources(POLICY).items()}
    (step_id,) = (n for n, policy in policies.items() if policy["PolicyType"] == "StepScaling")
    step = policies[step_id]
    assert step["ScalingTargetId"] == {"Ref": stack.only(TARGET)[0]}
    configuration = step["StepScalingPolicyConfiguration"]
    assert configuration["AdjustmentType"] == "ChangeInCapacity"
    adjustment = {"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}
    assert configuration["StepAdjustments"] == [adjustment]
    alarms = [a["Properties"] for a in stack.resources("AWS::CloudWatch::Alarm").values()]
    (alarm,) = (a for a in alarms if a.get("MetricName") == "HasBacklogWithoutCapacity")
    assert alarm["AlarmActions"] == [{"Ref": step_id}]
    assert_of_the_endpoint(stack, alarm)
    # The metric is 1 while work waits, and missing while none does.
    assert alarm["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"
    assert alarm["Threshold"] == 1
    assert alarm["TreatMissingData"] != "breaching"


def test_warm_executions_are_scaled_up_to_the_cap(configured: Any) -> None:
    stack = configured("everything")
    alias_id, alias = stack.only("AWS::Lambda::Alias")
    assert alias["ProvisionedConcurrencyConfig"] == {"ProvisionedConcurrentExecutions": 2}
    targets = {name: target["Properties"] for name, target in stack.resources(TARGET).items()}
    (target_id,) = (n for n in targets if targets[n]["ServiceNamespace"] == "lambda")
    target = targets[target_id]
    assert target["ScalableDimension"] == "lambda:function:ProvisionedConcurrency"
    assert (target["MinCapacity"], target["MaxCapacity"]) == (2, 18)  # an update runs two versions
    start, function, end = target["ResourceId"]["Fn::Join"][1]
    assert (start, end) == ("function:", f":{alias['Name']}")
    # The function's name is the seventh part of the alias' ARN.
    assert function == {"Fn::Select": [6, {"Fn::Split": [":", {"Ref": alias_id}]}]}
    policy = tracking(stack, target_id)
    # AWS's predefined metric has no data without calls, so it never scales in.
    assert "PredefinedMetricSpecification" not in policy
    used, filled = policy["CustomizedMetricSpecification"]["Metrics"]
    assert (filled["Expression"], filled["ReturnData"]) == ("FILL(used, 0)", True)
    assert (used["Id"], used["ReturnData"]) == ("used", False)
    assert used["MetricStat"]["Stat"] == "Maximum"
    metric = used["MetricStat"]["Metric"]
    name, _ = stack.only("AWS::Lambda::Function")
    dimensions = {d["Name"]: canonical(d["Value"]) for d in metric["Dimensions"]}
    assert dimensions == {"FunctionName": f"${{{name}}}", "Resource": f"${{{name}}}:live"}
    kind = metric["Namespace"], metric["MetricName"]
    assert kind == ("AWS/Lambda", "ProvisionedConcurrencyUtilization")
    assert 0.1 <= policy["TargetValue"] <= 0.9  # Lambda's limits

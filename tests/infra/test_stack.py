"""What a mode creates, in an order that CloudFormation can follow, under which names."""

from collections import Counter
from typing import Any

import pytest

from templates import CONFIGURATIONS

ON_LAMBDA = {
    "AWS::CloudWatch::Alarm": 6,
    "AWS::CodeDeploy::Application": 1,
    "AWS::CodeDeploy::DeploymentGroup": 1,
    "AWS::IAM::Policy": 2,
    "AWS::IAM::Role": 2,
    "AWS::Lambda::Alias": 1,
    "AWS::Lambda::Function": 1,
    "AWS::Lambda::Url": 1,
    "AWS::Lambda::Version": 1,
    "AWS::Logs::LogGroup": 1,
    "AWS::Logs::MetricFilter": 1,
}
ON_SAGEMAKER = {
    "AWS::ApplicationAutoScaling::ScalableTarget": 1,
    "AWS::ApplicationAutoScaling::ScalingPolicy": 1,
    "AWS::CloudWatch::Alarm": 5,
    "AWS::IAM::Policy": 2,
    "AWS::IAM::Role": 1,
    "AWS::Logs::LogGroup": 1,
    "AWS::SageMaker::Endpoint": 1,
    "AWS::SageMaker::EndpointConfig": 1,
    "AWS::SageMaker::Model": 1,
}
ALWAYS = {"AWS::CloudWatch::Dashboard": 1}
RESOURCES = {
    "lambda": Counter(ON_LAMBDA) + Counter(ALWAYS),
    "sagemaker": Counter(ON_SAGEMAKER) + Counter(ALWAYS),
    "both": Counter(ON_LAMBDA) + Counter(ON_SAGEMAKER) + Counter(ALWAYS),
}


@pytest.mark.parametrize("mode", RESOURCES)
def test_a_mode_creates_its_targets_and_nothing_else(configured: Any, mode: str) -> None:
    resources = configured(mode).template["Resources"].values()
    assert Counter(resource["Type"] for resource in resources) == RESOURCES[mode]


def test_a_target_that_the_mode_leaves_out_leaves_no_trace(synthesize: Any) -> None:
    """Its keys have no effect either."""
    everything = CONFIGURATIONS["everything"]
    on_lambda = synthesize(**{**everything, "mode": "lambda"})
    types = {resource["Type"] for resource in on_lambda.template["Resources"].values()}
    assert not [kind for kind in types if "SageMaker" in kind or "S3" in kind]
    on_sagemaker = synthesize(**{**everything, "mode": "sagemaker"})
    types = {resource["Type"] for resource in on_sagemaker.template["Resources"].values()}
    assert not [kind for kind in types if "Lambda" in kind or "CodeDeploy" in kind]
    assert not on_sagemaker.warnings


def test_the_resources_can_be_made_in_some_order(every: Any) -> None:
    assert {*every.order()} == every.template["Resources"].keys()


@pytest.mark.parametrize("name", ["both", "serverless", "async", "isolated", "everything"])
def test_the_function_is_left_alone_until_the_endpoint_is_healthy(
    configured: Any, name: str
) -> None:
    stack = configured(name)
    function, _ = stack.only("AWS::Lambda::Function")
    version, _ = stack.only("AWS::Lambda::Version")
    alias, _ = stack.only("AWS::Lambda::Alias")
    for resource in (function, version, alias):
        assert "AWS::SageMaker::Endpoint" in stack.waits_for(resource)


def test_who_takes_a_role_waits_for_its_policies(every: Any) -> None:
    """Naming a role does not wait for them, and what it takes the role for may be at once."""
    taking = {
        "AWS::Lambda::Function": "Role",
        "AWS::CodeDeploy::DeploymentGroup": "ServiceRoleArn",
        "AWS::SageMaker::Model": "ExecutionRoleArn",
    }
    for kind, key in taking.items():
        for name, resource in every.resources(kind).items():
            policies = every.policies_of(resource["Properties"][key]["Fn::GetAtt"][0])
            assert policies
            # The endpoint's alarms name its config, and so wait for the model themselves.
            later = {
                policy
                for policy, written in policies.items()
                if "cloudwatch:DescribeAlarms" in str(written) and "Model" in kind
            }
            assert policies.keys() - every.before(name) == later
            for endpoint in every.resources("AWS::SageMaker::Endpoint") if later else ():
                assert policies.keys() <= every.before(endpoint)


def test_on_its_own_the_function_waits_for_nothing_of_sagemaker(configured: Any) -> None:
    stack = configured("lambda")
    for resource in stack.template["Resources"]:
        assert not [kind for kind in stack.waits_for(resource) if "SageMaker" in kind]


def test_no_physical_name_but_the_endpoints_and_of_its_log_group(every: Any) -> None:
    named = {}
    for resource in every.template["Resources"].values():
        properties = resource.get("Properties", {})
        # What a resource is called has its type's name: `AWS::IAM::Role` -> RoleName.
        kind = resource["Type"]
        keys = {f"{kind.split('::')[2]}Name", "Name", "FilterName"}
        if kind == "AWS::CodeDeploy::DeploymentGroup":
            keys = {"DeploymentGroupName"}
        for key in keys & properties.keys():
            named[kind] = properties[key]
    # An inline policy has no name of its own outside its role, and CloudFormation demands one; an
    # alias' Name is unique within its function.
    assert named.pop("AWS::IAM::Policy")
    named.pop("AWS::Lambda::Alias", None)
    endpoint = named.pop("AWS::SageMaker::Endpoint", None)
    # SageMaker writes to the group of this name.
    expected = {"AWS::Logs::LogGroup": f"/aws/sagemaker/Endpoints/{endpoint}"} if endpoint else {}
    assert named == expected


def test_nothing_but_what_holds_data_or_a_version_outlives_the_stack(every: Any) -> None:
    kept = {
        resource["Type"]
        for resource in every.template["Resources"].values()
        if {"DeletionPolicy", "UpdateReplacePolicy"} & resource.keys()
        and {resource["DeletionPolicy"], resource["UpdateReplacePolicy"]} != {"Delete"}
    }
    existing = {resource["Type"] for resource in every.template["Resources"].values()}
    assert kept == {"AWS::Lambda::Version", "AWS::S3::Bucket"} & existing


def test_logs_are_kept_as_long_as_asked_and_go_with_the_stack(both: Any, configured: Any) -> None:
    for stack, days in ((both, 30), (configured("everything"), 90)):
        groups = stack.resources("AWS::Logs::LogGroup").values()
        assert len(groups) == 2
        for group in groups:
            assert group["Properties"]["RetentionInDays"] == days
            assert group["DeletionPolicy"] == "Delete"


def test_only_a_public_url_is_warned_of(every: Any) -> None:
    public = any(
        url["Properties"]["AuthType"] == "NONE"
        for url in every.resources("AWS::Lambda::Url").values()
    )
    assert len(every.warnings) == public
    assert all("everybody can call" in warning for warning in every.warnings)

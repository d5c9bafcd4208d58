"""The resources of each mode, their order and their names."""

from collections import Counter
from typing import Any

import pytest

from support.templates import CONFIGURATIONS

ALWAYS = {"CloudWatch::Dashboard": 1}
ON_LAMBDA = {
    **{"Lambda::Function": 1, "Lambda::Version": 1, "Lambda::Alias": 1, "Lambda::Url": 1},
    **{"CodeDeploy::Application": 1, "CodeDeploy::DeploymentGroup": 1},
    **{"IAM::Policy": 2, "IAM::Role": 2, "CloudWatch::Alarm": 7},
    **{"Logs::LogGroup": 1, "Logs::MetricFilter": 2},
}
ON_SAGEMAKER = {
    **{"SageMaker::Endpoint": 1, "SageMaker::EndpointConfig": 1, "SageMaker::Model": 1},
    "ApplicationAutoScaling::ScalableTarget": 1,
    "ApplicationAutoScaling::ScalingPolicy": 1,
    **{"IAM::Policy": 2, "IAM::Role": 1, "CloudWatch::Alarm": 5, "Logs::LogGroup": 1},
}
RESOURCES = {
    "lambda": Counter(ALWAYS) + Counter(ON_LAMBDA),
    "sagemaker": Counter(ALWAYS) + Counter(ON_SAGEMAKER),
    "both": Counter(ALWAYS) + Counter(ON_LAMBDA) + Counter(ON_SAGEMAKER),
}


@pytest.mark.parametrize("mode", RESOURCES)
def test_a_mode_creates_its_targets_and_nothing_else(synthesize: Any, mode: str) -> None:
    resources = synthesize(mode=mode, examiner="false").template["Resources"].values()
    found = Counter(resource["Type"].removeprefix("AWS::") for resource in resources)
    assert found == RESOURCES[mode]


def test_a_target_that_the_mode_leaves_out_leaves_no_trace(synthesize: Any) -> None:
    everything = {**CONFIGURATIONS["everything"], "examiner": "false"}
    for mode, others in (("lambda", ("SageMaker", "S3")), ("sagemaker", ("Lambda", "CodeDeploy"))):
        resources = synthesize(**{**everything, "mode": mode}).template["Resources"].values()
        services = {resource["Type"].split("::")[1] for resource in resources}
        assert not services & {*others}


@pytest.mark.parametrize(
    "name", ["both", "serverless", "async", "isolated", "shared", "doorman", "everything"]
)
def test_the_function_changes_after_the_endpoint(configured: Any, name: str) -> None:
    stack = configured(name)
    for kind in ("Function", "Version", "Alias"):
        resource, _ = stack.only(f"AWS::Lambda::{kind}")
        assert "AWS::SageMaker::Endpoint" in stack.waits_for(resource)


def test_users_of_a_role_wait_for_its_policies(every: Any) -> None:
    """A reference to a role does not wait for its policies."""
    taking = {
        "AWS::Lambda::Function": "Role",
        "AWS::CodeDeploy::DeploymentGroup": "ServiceRoleArn",
        "AWS::SageMaker::Model": "ExecutionRoleArn",
    }
    for kind, key in taking.items():
        for name, resource in every.resources(kind).items():
            policies = every.policies_of(resource["Properties"][key]["Fn::GetAtt"][0])
            assert policies
            # These policies name the endpoint's config or the function, and so wait for them.
            later_of = {"Model": "cloudwatch:DescribeAlarms", "Function": "SourceFunctionArn"}
            named = later_of.get(kind.rpartition(":")[2], "nothing")
            later = {policy for policy, written in policies.items() if named in str(written)}
            assert policies.keys() - every.before(name) == later
            user = "AWS::SageMaker::Endpoint" if "Model" in kind else "AWS::Lambda::Version"
            for used in every.resources(user) if later else ():
                assert policies.keys() <= every.before(used)


def test_no_physical_name_but_the_endpoints_and_of_its_log_group(every: Any) -> None:
    named = {}
    for resource in every.template["Resources"].values():
        properties = resource.get("Properties", {})
        # The name property contains the type, as in `AWS::IAM::Role`: RoleName.
        kind = resource["Type"]
        keys = {f"{kind.split('::')[-1]}Name", "Name", "FilterName"}
        if kind == "AWS::CodeDeploy::DeploymentGroup":
            keys = {"DeploymentGroupName"}
        for key in keys & properties.keys():
            named[kind] = properties[key]
    # CloudFormation requires a name for inline policies, which is unique within the role. An alias'
    # name is unique within its function.
    assert named.pop("AWS::IAM::Policy")
    named.pop("AWS::Lambda::Alias", None)
    endpoint = named.pop("AWS::SageMaker::Endpoint", None)
    # SageMaker writes to the group of this name.
    expected = {"AWS::Logs::LogGroup": f"/aws/sagemaker/Endpoints/{endpoint}"} if endpoint else {}
    assert named == expected


def of_policy(stack: Any, policy: str, value: str) -> set[str]:
    """Return the types of the resources with this value of a deletion policy."""
    resources = stack.template["Resources"].values()
    return {r["Type"] for r in resources if r.get(policy, "Delete").startswith(value)}


def test_only_data_and_versions_outlive_the_stack(every: Any) -> None:
    existing = {resource["Type"] for resource in every.template["Resources"].values()}
    kept = {"AWS::Lambda::Version", "AWS::S3::Bucket"} & existing
    assert of_policy(every, "DeletionPolicy", "Retain") == kept


def test_what_an_endpoint_may_still_run_outlives_its_update(every: Any) -> None:
    """After a rollback by SageMaker, the endpoint still runs the old resources."""
    needed = {"AWS::SageMaker::Model", "AWS::SageMaker::EndpointConfig"}
    kept = of_policy(every, "UpdateReplacePolicy", "Retain")
    assert needed <= kept or not every.resources("AWS::SageMaker::Endpoint")


def test_logs_are_kept_as_long_as_asked_and_go_with_the_stack(both: Any, configured: Any) -> None:
    for stack, days in ((both, 30), (configured("everything"), 90)):
        groups = stack.resources("AWS::Logs::LogGroup").values()
        assert len(groups) == 2
        for group in groups:
            assert group["Properties"]["RetentionInDays"] == days
            assert group["DeletionPolicy"] == "Delete"


def test_only_a_public_url_is_warned_of_with_its_cap(every: Any) -> None:
    urls = every.resources("AWS::Lambda::Url").values()
    public = any(url["Properties"]["AuthType"] == "NONE" for url in urls)
    assert len(every.warnings) == public
    for warning in every.warnings:
        _, function = every.only("AWS::Lambda::Function")
        assert warning.startswith("url_auth=none: everybody can call the function's URL")
        assert f"{function['ReservedConcurrentExecutions']} at once" in warning

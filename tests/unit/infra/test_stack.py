"""The resources of each mode, their order and their names."""

from typing import Any

from support.templates import CONFIGURATIONS


def test_a_target_that_the_mode_leaves_out_leaves_no_trace(synthesize: Any) -> None:
    everything = {**CONFIGURATIONS["everything"], "examiner": "false"}
    for mode, others in (("lambda", ("SageMaker", "S3")), ("sagemaker", ("Lambda", "CodeDeploy"))):
        resources = synthesize(**{**everything, "mode": mode}).template["Resources"].values()
        services = {resource["Type"].split("::")[1] for resource in resources}
        assert not services & {*others}


def test_without_the_examiner_the_function_changes_after_the_endpoint(synthesize: Any) -> None:
    """The examiner's tests check the other stacks."""
    stack = synthesize(mode="both", examiner="false")
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


def test_what_outlives_the_stack_or_an_update(every: Any) -> None:
    """Data and versions stay; after a rollback by SageMaker, the endpoint runs the old resources.

    A failed deployment deletes the bucket or version that it created.
    """
    data = {"AWS::Lambda::Version", "AWS::S3::Bucket"}
    of_an_endpoint = {"AWS::SageMaker::Model", "AWS::SageMaker::EndpointConfig"}
    for name, resource in every.template["Resources"].items():
        kind = resource["Type"]
        expected = "RetainExceptOnCreate" if kind in data else "Delete"
        assert resource.get("DeletionPolicy", "Delete") == expected, name
        if kind in data | of_an_endpoint and not name.startswith("Batch"):
            assert resource["UpdateReplacePolicy"] == "Retain", name


def test_logs_are_kept_as_long_as_asked(both: Any, configured: Any) -> None:
    for stack, days in ((both, 30), (configured("everything"), 90)):
        groups = stack.resources("AWS::Logs::LogGroup").values()
        assert [group["Properties"]["RetentionInDays"] for group in groups] == [days] * 2


def test_only_a_public_url_is_warned_of_with_its_cap(every: Any) -> None:
    urls = every.resources("AWS::Lambda::Url").values()
    public = any(url["Properties"]["AuthType"] == "NONE" for url in urls)
    assert len(every.warnings) == public
    for warning in every.warnings:
        _, function = every.only("AWS::Lambda::Function")
        assert warning.startswith("url_auth=none: everybody can call the function's URL")
        assert f"{function['ReservedConcurrentExecutions']} at once" in warning

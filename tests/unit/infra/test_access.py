"""Each role has exactly the permissions that are used."""

from typing import Any

import pytest

from support.templates import MODEL_DATA, allows, canonical, listed, trust

# AWS defines no resource for these.
# https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
ENDPOINT_UNSCOPED = {"ecr:GetAuthorizationToken", "cloudwatch:PutMetricData"}
# The network interfaces of a VPC have no name before they are made.
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html
IN_VPC = {
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
}
FUNCTION_IN_VPC = IN_VPC | {"ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses"}
# https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html
ENDPOINT_IN_VPC = IN_VPC | {
    "ec2:CreateNetworkInterfacePermission",
    "ec2:DeleteNetworkInterfacePermission",
    "ec2:DescribeDhcpOptions",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeVpcs",
}


def unscoped(stack: Any, service: str) -> set[str]:
    """Return the actions that the service's roles may do on every resource."""
    return {
        action
        for statement in stack.statements(service)
        if "*" in listed(statement["Resource"])
        for action in listed(statement["Action"])
    }


def test_no_action_has_a_wildcard_and_only_what_aws_does_not_scope_is_unscoped(every: Any) -> None:
    for statement in every.statements():
        assert not [action for action in listed(statement["Action"]) if "*" in action]
    in_vpc = "VpcConfig" in str(every.resources("AWS::Lambda::Function"))
    on_sagemaker = every.resources("AWS::SageMaker::Model")
    assert unscoped(every, "lambda") == (FUNCTION_IN_VPC if in_vpc else set())
    assert unscoped(every, "codedeploy") == set()
    expected = ENDPOINT_UNSCOPED if on_sagemaker else set()
    assert unscoped(every, "sagemaker") == expected | (ENDPOINT_IN_VPC if in_vpc else set())


def test_a_functions_code_may_not_attach_though_lambda_may(configured: Any) -> None:
    stack = configured("everything")
    function, _ = stack.only("AWS::Lambda::Function")
    (denied,) = (s for s in stack.statements("lambda") if "SourceFunctionArn" in str(s))
    assert (denied["Effect"], denied["Resource"]) == ("Deny", "*")
    assert {*denied["Action"]} == FUNCTION_IN_VPC
    own = {"Fn::GetAtt": [function, "Arn"]}
    assert denied["Condition"] == {"ArnEquals": {"lambda:SourceFunctionArn": own}}


def test_roles_have_no_managed_policy_and_trust_one_service(every: Any) -> None:
    trusted = set()
    examiner = every.resources("AWS::IAM::Role", of_examiner=True).values()
    source = {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    for role in (*every.resources("AWS::IAM::Role").values(), *examiner):
        assert trust(role)["Condition"] == source
    for role in every.resources("AWS::IAM::Role").values():
        assert "ManagedPolicyArns" not in role["Properties"]
        assert trust(role)["Action"] == "sts:AssumeRole"
        trusted.add(trust(role)["Principal"]["Service"])
    expected = set()
    if every.resources("AWS::Lambda::Function"):
        expected |= {"lambda.amazonaws.com", "codedeploy.amazonaws.com"}
    if every.resources("AWS::SageMaker::Model"):
        expected |= {"sagemaker.amazonaws.com"}
    assert trusted == expected


def test_the_function_writes_its_own_logs_only(configured: Any) -> None:
    stack = configured("lambda")
    (statement,) = stack.statements("lambda")
    log_group, _ = stack.only("AWS::Logs::LogGroup")
    assert set(statement["Action"]) == {"logs:CreateLogStream", "logs:PutLogEvents"}
    assert canonical(statement["Resource"]) == f"${{{log_group}.Arn}}"


def test_the_endpoint_pulls_one_repository_and_writes_its_own_logs(configured: Any) -> None:
    stack = configured("sagemaker")
    log_group, _ = stack.only("AWS::Logs::LogGroup")
    image = canonical(stack.outputs["ImageUri"]["Value"])
    repository = image.partition("/")[2].rpartition(":")[0]
    seen = set()
    for statement in stack.statements("sagemaker"):
        actions = listed(statement["Action"])
        seen |= {action.partition(":")[0] for action in actions}
        if actions == ["cloudwatch:PutMetricData"]:
            namespace = statement["Condition"]["StringEquals"]["cloudwatch:namespace"]
            assert namespace == "/aws/sagemaker/Endpoints"
        elif actions[0].startswith("logs:"):
            assert canonical(statement["Resource"]) == f"${{{log_group}.Arn}}"
        elif actions[0].startswith("ecr:") and actions != ["ecr:GetAuthorizationToken"]:
            assert canonical(statement["Resource"]).endswith(f":repository/{repository}")
    assert seen == {"cloudwatch", "ecr", "logs"}


@pytest.mark.parametrize("service", ["lambda", "sagemaker"])
def test_both_roles_read_only_the_artifact_and_listed_buckets(
    configured: Any, service: str
) -> None:
    prefix = "arn:${AWS::Partition}:s3:::"
    arn = prefix + MODEL_DATA.removeprefix("s3://")
    granted = configured("everything").statements(service)
    (statement,) = (s for s in granted if allows([s], "s3:GetObject", arn))
    assert canonical(statement["Resource"]) == arn
    assert statement["Action"] == "s3:GetObject"
    # Anybody may take the name of a deleted bucket.
    account = {"s3:ResourceAccount": {"Ref": "AWS::AccountId"}}
    assert statement["Condition"] == {"StringEquals": account}
    for bucket in ("pictures-of-ours", "more-pictures"):
        assert allows(granted, "s3:GetObject", f"{prefix}{bucket}/cat.jpg")
        assert not allows(granted, "s3:PutObject", f"{prefix}{bucket}/cat.jpg")
    assert not allows(granted, "s3:GetObject", f"{prefix}pictures/cat.jpg")
    assert not allows(granted, "s3:ListBucket", f"{prefix}pictures-of-ours")


def test_hosts_of_uri_allowlist_grant_no_bucket(synthesize: Any) -> None:
    stack = synthesize(mode="both", uri_allowlist="*,example.com")
    assert "s3:" not in str([statement["Action"] for statement in stack.statements()])

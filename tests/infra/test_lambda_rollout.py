"""The alias moves to a new version gradually, and back on alarm."""

from typing import Any

from templates import canonical, listed, trust

GROUP = "AWS::CodeDeploy::DeploymentGroup"


def test_codedeploy_moves_the_alias(both: Any) -> None:
    application, properties = both.only("AWS::CodeDeploy::Application")
    assert properties["ComputePlatform"] == "Lambda"
    group, _ = both.only(GROUP)
    (alias,) = both.resources("AWS::Lambda::Alias").values()
    update = alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
    assert canonical(update["ApplicationName"]) == f"${{{application}}}"
    assert canonical(update["DeploymentGroupName"]) == f"${{{group}}}"


def test_a_tenth_goes_first_for_long_enough_to_ring(both: Any) -> None:
    _, group = both.only(GROUP)
    assert group["DeploymentConfigName"] == "CodeDeployDefault.LambdaCanary10Percent5Minutes"
    assert len(group["AlarmConfiguration"]["Alarms"]) == 3
    for alarm in group["AlarmConfiguration"]["Alarms"]:
        properties = both.template["Resources"][alarm["Name"]["Ref"]]["Properties"]
        assert 60 * properties["EvaluationPeriods"] < 5 * 60


def test_a_ringing_alarm_moves_it_back(both: Any) -> None:
    _, group = both.only(GROUP)
    assert group["AlarmConfiguration"]["Enabled"] is True
    assert group["AutoRollbackConfiguration"]["Enabled"] is True
    events = {*group["AutoRollbackConfiguration"]["Events"]}
    assert {"DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM"} <= events


def test_codedeploy_may_move_this_alias_and_see_its_alarms_only(both: Any) -> None:
    group_id, group = both.only(GROUP)
    function, _ = both.only("AWS::Lambda::Function")
    role_id = group["ServiceRoleArn"]["Fn::GetAtt"][0]
    role = both.template["Resources"][role_id]
    assert "ManagedPolicyArns" not in role["Properties"]
    assert trust(role)["Principal"] == {"Service": "codedeploy.amazonaws.com"}
    granted = {
        action: {canonical(resource) for resource in listed(statement["Resource"])}
        for statement in both.statements("codedeploy")
        for action in listed(statement["Action"])
    }
    alarms = {f"${{{a['Name']['Ref']}.Arn}}" for a in group["AlarmConfiguration"]["Alarms"]}
    assert granted.pop("cloudwatch:DescribeAlarms") == alarms
    assert granted.keys() == {
        "lambda:GetAlias",
        "lambda:GetProvisionedConcurrencyConfig",
        "lambda:UpdateAlias",
    }
    for resources in granted.values():
        assert resources == {f"${{{function}.Arn}}", f"${{{function}.Arn}}:live"}
    # Before it is asked to.
    assert both.policies_of(role_id).keys() <= both.before(group_id)

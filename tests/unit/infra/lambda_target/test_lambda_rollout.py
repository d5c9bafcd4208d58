"""The alias moves to a new version gradually, and back after an alarm."""

from typing import Any

from support.templates import canonical, listed

GROUP = "AWS::CodeDeploy::DeploymentGroup"


def test_codedeploy_moves_the_alias_and_back_on_alarm(both: Any) -> None:
    group_id, group = both.only(GROUP)
    (alias,) = both.resources("AWS::Lambda::Alias").values()
    update = alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
    assert canonical(update["DeploymentGroupName"]) == f"${{{group_id}}}"
    # A tenth of the traffic moves first, for longer than an alarm needs.
    assert group["DeploymentConfigName"] == "CodeDeployDefault.LambdaCanary10Percent5Minutes"
    gates = both.gates("AWS::Lambda::Alias")
    assert len(gates) == 3
    for properties in gates.values():
        assert 60 * properties["EvaluationPeriods"] < 5 * 60
    assert group["AlarmConfiguration"]["Enabled"] is True
    assert group["AutoRollbackConfiguration"]["Enabled"] is True
    events = {*group["AutoRollbackConfiguration"]["Events"]}
    assert {"DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM"} <= events


def test_codedeploy_may_move_this_alias_and_see_its_alarms_only(both: Any) -> None:
    _, group = both.only(GROUP)
    function, _ = both.only("AWS::Lambda::Function")
    [examiner] = both.resources("AWS::Lambda::Function", of_examiner=True)
    granted: dict[str, set[str]] = {}
    for statement in both.statements("codedeploy"):
        for action in listed(statement["Action"]):
            named = {canonical(resource) for resource in listed(statement["Resource"])}
            granted.setdefault(action, set()).update(named)
    alarms = {f"${{{a['Name']['Ref']}.Arn}}" for a in group["AlarmConfiguration"]["Alarms"]}
    assert granted.pop("cloudwatch:DescribeAlarms") == alarms
    assert granted.pop("lambda:InvokeFunction") == {f"${{{examiner}.Arn}}"}
    actions = {"GetAlias", "GetProvisionedConcurrencyConfig", "UpdateAlias"}
    assert granted.keys() == {f"lambda:{action}" for action in actions}
    for resources in granted.values():
        assert resources == {f"${{{function}.Arn}}", f"${{{function}.Arn}}:live"}

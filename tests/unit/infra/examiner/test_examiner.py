"""The examiner in the template: its callers, its permissions and the resources that wait for it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ops.local_servers import ROOT
from support.templates import CONFIGURATIONS, EXAMINER, allows, canonical, listed, trust

FUNCTION, EXAM = "AWS::Lambda::Function", "Custom::Exam"
ENDPOINT, ALIAS = "AWS::SageMaker::Endpoint", "AWS::Lambda::Alias"
SYNCHRONOUS = ("both", "serverless", "everything", "isolated", "shared", "doorman")


def function(stack: Any) -> tuple[str, dict[str, Any]]:
    """Return the logical id and the properties of the examiner's function."""
    [(name, resource)] = stack.resources(FUNCTION, of_examiner=True).items()
    return name, resource["Properties"]


def exams(stack: Any) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return logical id and properties of the custom resources, by their target."""
    return {
        resource["Properties"]["Target"]: (name, resource["Properties"])
        for name, resource in stack.resources(EXAM, of_examiner=True).items()
    }


def granted(stack: Any) -> list[dict[str, Any]]:
    """Return the statements of the role of the examiner's function."""
    role = function(stack)[1]["Role"]["Fn::GetAtt"][0]
    return [
        statement
        for policy in stack.resources("AWS::IAM::Policy", of_examiner=True).values()
        if policy["Properties"]["Roles"] == [{"Ref": role}]
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    ]


def test_it_is_the_same_image_with_another_handler(every: Any) -> None:
    _, examiner = function(every)
    assert examiner["ImageConfig"] == {"Command": ["serving.examiner.handler.handler"]}
    assert not every.resources("AWS::Lambda::Url", of_examiner=True)
    for name, resource in every.resources(FUNCTION).items():
        target = resource["Properties"]
        assert examiner["Code"] == target["Code"]
        is_doorman = target["Environment"]["Variables"].get("FORWARD_PERCENT") == "100"
        assert target["MemorySize"] == (512 if is_doorman else examiner["MemorySize"])
        # The examiner compares the variables with its own, except for these.
        own = dict(examiner["Environment"]["Variables"])
        assert own.pop("EXAMINER_STACK") == {"Ref": "AWS::StackId"}
        [version] = every.resources("AWS::Lambda::Version")
        assert own.pop("EXAMINER_VERSION") == version
        forwards = "FORWARD_ENDPOINT" in own
        assert own.pop("EXAMINER_COMPARE", "") == ("answers" if forwards else "")
        assert own == target["Environment"]["Variables"], name


def test_the_endpoint_is_examined_before_the_function_is_touched(every: Any) -> None:
    for endpoint in every.resources(ENDPOINT):
        name, asked = exams(every)["endpoint"]
        assert function(every)[1]["Timeout"] < int(asked["ServiceTimeout"]) <= 3600
        assert endpoint in every.before(name)
        [config] = every.resources("AWS::SageMaker::EndpointConfig")
        assert canonical(asked["EndpointConfig"]) == f"${{{config}.EndpointConfigName}}"
        for target in every.resources(FUNCTION):
            assert name in every.before(target)


def test_every_change_of_image_or_model_examines_again(synthesize: Any) -> None:
    models = ({}, {"model_name": "mobilenetv3_large"}, {"model_id": "0" * 64})
    asked = [exams(synthesize(mode="both", **model))["endpoint"][1] for model in models]
    assert len({json.dumps([each["Image"], each["Model"]]) for each in asked}) == len(models)


def test_the_first_version_is_examined_before_the_alias_leads_to_it(every: Any) -> None:
    for alias in every.resources(ALIAS):
        name, asked = exams(every)["version"]
        assert asked.keys() == {"ServiceToken", "ServiceTimeout", "Target"}  # it never changes
        assert name in every.before(alias)
        assert every.resources("AWS::Lambda::Version").keys() <= every.before(name)


def test_codedeploy_asks_the_examiner_first(every: Any) -> None:
    examiner, _ = function(every)
    for name, alias in every.resources(ALIAS).items():
        update = alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
        assert canonical(update["BeforeAllowTrafficHook"]) == f"${{{examiner}}}"
        needed = {
            policy
            for policy, resource in every.resources("AWS::IAM::Policy", of_examiner=True).items()
            if "PutLifecycleEventHookExecutionStatus" in str(resource)
        }
        assert needed
        assert {examiner, *needed} <= every.before(name)
        [group] = every.resources("AWS::CodeDeploy::DeploymentGroup")
        arn = "deploymentgroup:${" + update["ApplicationName"]["Ref"] + "}/${" + group + "}"
        statements = [s for s in granted(every) if "codedeploy" in str(s["Action"])]
        assert [canonical(s["Resource"]).endswith(arn) for s in statements] == [True]


def test_a_schedule_where_two_targets_answer_at_once(configured: Any) -> None:
    for name in CONFIGURATIONS:
        stack = configured(name)
        schedules = stack.resources("AWS::Scheduler::Schedule", of_examiner=True)
        assert len(schedules) == (name in SYNCHRONOUS), name
        alarms = stack.resources("AWS::CloudWatch::Alarm", of_examiner=True)
        assert len(alarms) == 2 * (name in SYNCHRONOUS), name


def test_every_hour_the_alias_and_the_endpoint(both: Any) -> None:
    examiner, _ = function(both)
    [(name, schedule)] = both.resources("AWS::Scheduler::Schedule", of_examiner=True).items()
    properties = schedule["Properties"]
    assert properties["ScheduleExpression"] == "rate(1 hour)"
    target = properties["Target"]
    assert canonical(target["Arn"]) == f"${{{examiner}.Arn}}"
    asked = json.loads(canonical(target["Input"]))
    [alias] = both.resources(ALIAS)
    assert asked.pop("Alias") == f"${{{alias}}}"
    _, endpoint = exams(both)["endpoint"]
    assert asked == {key: canonical(endpoint[key]) for key in asked}
    role = both.template["Resources"][target["RoleArn"]["Fn::GetAtt"][0]]
    assert trust(role)["Principal"] == {"Service": "scheduler.amazonaws.com"}
    policies = both.resources("AWS::IAM::Policy", of_examiner=True)
    assert {n for n, p in policies.items() if "ScheduleRole" in str(p)} <= both.before(name)


def test_the_alarms_read_what_the_examiner_logs(both: Any) -> None:
    """`test_handler` checks that the log has these names."""
    _, examiner = function(both)
    read = {}
    for resource in both.resources("AWS::Logs::MetricFilter", of_examiner=True).values():
        assert resource["Properties"]["LogGroupName"] == examiner["LoggingConfig"]["LogGroup"]
        [metric] = resource["Properties"]["MetricTransformations"]
        assert metric["MetricNamespace"] == "DualInferenceStack"
        read[metric["MetricName"]] = resource["Properties"]["FilterPattern"], metric["MetricValue"]
    assert read == {
        "Skew": ('{ $.trigger = "Schedule" }', "$.skews"),
        "Examined": ('{ $.message = "exam" }', "$.endpointCalls"),
    }
    alarms = {
        alarm["Properties"]["MetricName"]: alarm["Properties"]
        for alarm in both.resources("AWS::CloudWatch::Alarm", of_examiner=True).values()
    }
    skew, examined = alarms["Skew"], alarms["Examined"]
    assert (skew["ComparisonOperator"], skew["Threshold"]) == ("GreaterThanThreshold", 0)
    assert (skew["EvaluationPeriods"], skew["TreatMissingData"]) == (1, "notBreaching")
    assert (examined["ComparisonOperator"], examined["Threshold"]) == ("LessThanThreshold", 1)
    assert examined["EvaluationPeriods"] * examined["Period"] == 3 * 3600
    assert examined["TreatMissingData"] == "breaching"


def test_a_skew_stops_rollouts_of_the_function(both: Any) -> None:
    [group] = both.resources("AWS::CodeDeploy::DeploymentGroup").values()
    named = [a["Name"]["Ref"] for a in group["Properties"]["AlarmConfiguration"]["Alarms"]]
    [skew] = [name for name in named if name.startswith(EXAMINER)]
    assert both.template["Resources"][skew]["Properties"]["MetricName"] == "Skew"
    assert allows(both.statements("codedeploy"), "cloudwatch:DescribeAlarms", f"${{{skew}.Arn}}")


def test_what_it_may_do(every: Any) -> None:
    examiner, _ = function(every)
    serving = "".join(every.resources(FUNCTION))
    actions = {
        action: {canonical(resource) for resource in listed(statement["Resource"])}
        for statement in granted(every)
        for action in listed(statement["Action"])
        if not action.startswith(("logs:", "s3:", "codedeploy:"))
    }
    expected = {
        "cloudformation:DescribeStacks": {"${AWS::StackId}"},
        "cloudformation:DescribeStackResource": {"${AWS::StackId}"},
    }
    versions = f"${{{serving}.Arn}}:*"
    if serving:
        expected["lambda:InvokeFunction"] = {versions}
        expected["lambda:GetFunction"] = {versions, f"${{{examiner}.Arn}}"}
        expected["lambda:GetAlias"] = {versions, f"${{{serving}.Arn}}"}
    for resource in every.resources(ENDPOINT).values():
        name = resource["Properties"]["EndpointName"]
        prefix = "arn:${AWS::Partition}:sagemaker:${AWS::Region}:${AWS::AccountId}:endpoint/"
        expected["sagemaker:DescribeEndpoint"] = {prefix + name}
        if not every.template["Outputs"].get("AsyncInput"):
            expected["sagemaker:InvokeEndpoint"] = {prefix + name}
    assert actions == expected
    # It reads the same buckets as the function, because it answers the same requests.
    read = [s for s in granted(every) if "s3:GetObject" in str(s["Action"])]
    if serving:
        assert read == [s for s in every.statements("lambda") if "s3:GetObject" in str(s["Action"])]


@pytest.mark.parametrize(
    ("keys", "compare"),
    [
        ({}, "answers"),
        ({"sagemaker_type": "async"}, "nothing"),
        ({"instance_type": "ml.g5.xlarge"}, "identity"),
    ],
)
def test_what_is_compared(synthesize: Any, keys: dict[str, str], compare: str) -> None:
    assert exams(synthesize(mode="sagemaker", **keys))["endpoint"][1]["Compare"] == compare


def test_a_model_folder_without_an_exam_is_not_examined(synthesize: Any, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(ROOT / "examples" / "iris", tmp_path / "iris"))
    assert exams(synthesize(mode="lambda", model_folder=str(folder)))
    (folder / "artifact" / "golden.json").unlink()
    stack = synthesize(mode="both", model_folder=str(folder))
    assert not exams(stack)
    [warning] = stack.warnings
    assert warning.startswith(f"there is no exam in {folder}/artifact/golden.json (`python -m ops")


def test_without_it_there_is_a_warning(synthesize: Any) -> None:
    stack = synthesize(mode="both", examiner="false")
    assert not [name for name in stack.template["Resources"] if name.startswith(EXAMINER)]
    assert "BeforeAllowTrafficHook" not in str(stack.template)
    [warning] = stack.warnings
    assert "examiner=false" in warning

"""What the templates mean. No generated id, no hash and no snapshot is pinned here."""

import json
import re
import shlex
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from infra.image import DOCKER_MANIFEST
from infra.sagemaker_target import endpoint_name
from ops.faces import ROOT
from serving.fetch import Fetcher
from serving.images import decode

CONTAINER = Path(__file__).parent.parent.parent / "container"

ON_LAMBDA = {
    "AWS::IAM::Policy": 1,
    "AWS::IAM::Role": 1,
    "AWS::Lambda::Alias": 1,
    "AWS::Lambda::Function": 1,
    "AWS::Lambda::Url": 1,
    "AWS::Lambda::Version": 1,
    "AWS::Logs::LogGroup": 1,
}
ON_SAGEMAKER = {
    "AWS::IAM::Policy": 1,
    "AWS::IAM::Role": 1,
    "AWS::SageMaker::Endpoint": 1,
    "AWS::SageMaker::EndpointConfig": 1,
    "AWS::SageMaker::Model": 1,
}
RESOURCES = {
    "lambda": Counter(ON_LAMBDA),
    "sagemaker": Counter(ON_SAGEMAKER),
    "both": Counter(ON_LAMBDA) + Counter(ON_SAGEMAKER),
}
LAMBDA_OUTPUTS = {"FunctionUrl", "FunctionName", "InvokeUrl", "InvokeLambda"}
SAGEMAKER_OUTPUTS = {"EndpointName", "InvokeEndpoint"}
OUTPUTS = {
    "lambda": {"ImageUri"} | LAMBDA_OUTPUTS,
    "sagemaker": {"ImageUri"} | SAGEMAKER_OUTPUTS,
    "both": {"ImageUri"} | LAMBDA_OUTPUTS | SAGEMAKER_OUTPUTS,
}
# AWS defines no resource for these.
# https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
UNSCOPED = {"ecr:GetAuthorizationToken", "cloudwatch:PutMetricData"}

every_mode = pytest.mark.parametrize("mode", RESOURCES)


def canonical(value: Any) -> str:
    """A template's string with its functions rendered the way Fn::Sub writes them."""
    if isinstance(value, str):
        return value
    ((function, argument),) = value.items()
    if function == "Ref":
        return f"${{{argument}}}"
    if function == "Fn::Sub":
        return str(argument)
    if function == "Fn::GetAtt":
        return f"${{{'.'.join(argument)}}}"
    assert function == "Fn::Join", value
    separator, parts = argument
    return str(separator).join(map(canonical, parts))


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(synthesized: Any) -> list[dict[str, Any]]:
    """Every statement of every policy that grants something to a role."""
    policies = synthesized.resources("AWS::IAM::Policy").values()
    return [
        statement
        for policy in policies
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    ]


def test_canonical() -> None:
    join = {"Fn::Join": ["", [{"Ref": "AWS::Region"}, ".", {"Fn::Sub": "x-${AWS::Region}"}]]}
    assert canonical(join) == canonical({"Fn::Sub": "${AWS::Region}.x-${AWS::Region}"})


@every_mode
def test_a_mode_creates_its_targets_and_nothing_else(modes: Any, mode: str) -> None:
    template = modes[mode].template
    types = Counter(resource["Type"] for resource in template["Resources"].values())
    assert types == RESOURCES[mode]
    assert set(modes[mode].outputs) == OUTPUTS[mode]


# The image


@every_mode
def test_one_image_is_built_for_every_target(modes: Any, mode: str) -> None:
    ((tag, image),) = modes[mode].images.items()
    assert image["source"]["platform"] == "linux/amd64"
    assert image["source"]["dockerBuildArgs"] == {"MODEL_NAME": "efficientnet_lite0"}
    assert image["source"]["dockerOutputs"] == [DOCKER_MANIFEST]
    assert canonical(modes[mode].outputs["ImageUri"]["Value"]).endswith(f":{tag}")


def test_both_targets_run_the_same_reference(both: Any) -> None:
    on_lambda = canonical(both.only("AWS::Lambda::Function")[1]["Code"]["ImageUri"])
    on_sagemaker = canonical(both.only("AWS::SageMaker::Model")[1]["PrimaryContainer"]["Image"])
    assert on_lambda == on_sagemaker == canonical(both.outputs["ImageUri"]["Value"])
    assert re.fullmatch(r".+\.dkr\.ecr\..+/.+:[0-9a-f]{64}", on_lambda)


def test_moving_between_modes_keeps_the_image(modes: Any) -> None:
    (tags,) = {tuple(synthesized.images) for synthesized in modes.values()}
    assert len(tags) == 1


def test_what_a_test_run_leaves_behind_is_no_new_image(
    synthesize: Any, both: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(CONTAINER, tmp_path / "container", dirs_exist_ok=True)
    (copy / "serving" / "__pycache__").mkdir(exist_ok=True)
    (copy / "serving" / "__pycache__" / "left.cpython-311.pyc").touch()
    monkeypatch.setattr("infra.image.CONTAINER", copy)
    assert synthesize(mode="both").images.keys() == both.images.keys()
    (copy / "serving" / "new.py").touch()
    assert synthesize(mode="both").images.keys() != both.images.keys()


def test_the_legacy_builder_is_given_no_output_and_makes_the_same_image(
    synthesize: Any, both: Any
) -> None:
    legacy = synthesize({"DOCKER_BUILDKIT": "0"}, mode="both")
    assert legacy.images.keys() == both.images.keys()
    assert "dockerOutputs" not in next(iter(legacy.images.values()))["source"]


def test_another_model_is_another_image(synthesize: Any, both: Any) -> None:
    other = synthesize(mode="both", model_name="mobilenetv3_large")
    ((tag, image),) = other.images.items()
    assert tag not in both.images
    assert image["source"]["dockerBuildArgs"] == {"MODEL_NAME": "mobilenetv3_large"}
    _, function = other.only("AWS::Lambda::Function")
    assert function["Environment"]["Variables"] == {
        "MODEL_NAME": "mobilenetv3_large",
        "IMAGE_ID": tag,
    }


def test_both_targets_start_the_image_alike(both: Any) -> None:
    _, function = both.only("AWS::Lambda::Function")
    _, model = both.only("AWS::SageMaker::Model")
    assert function["Environment"]["Variables"] == model["PrimaryContainer"]["Environment"]
    # The entrypoint and its command stay the image's own.
    assert function["PackageType"] == "Image"
    assert "ImageConfig" not in function


def test_the_image_reads_what_the_stack_sets(both: Any) -> None:
    from serving.settings import Settings

    class Recorder(dict[str, str]):
        read: set[str] = set()  # noqa: RUF012 - one instance is made

        def get(self, name: str, default: Any = None) -> Any:
            self.read.add(name)
            return default

    recorder = Recorder()
    Settings.from_environment(recorder)
    _, model = both.only("AWS::SageMaker::Model")
    assert set(model["PrimaryContainer"]["Environment"]) <= recorder.read
    ((_, image),) = both.images.items()
    dockerfile = (CONTAINER / "Dockerfile").read_text()
    for argument in image["source"]["dockerBuildArgs"]:
        assert re.search(rf"^ARG {argument}\b", dockerfile, re.MULTILINE)


# The Lambda target


def test_the_function(both: Any) -> None:
    _, function = both.only("AWS::Lambda::Function")
    assert function["Architectures"] == ["x86_64"]
    assert function["MemorySize"] == 1769
    assert function["Timeout"] == 30
    log_group, properties = both.only("AWS::Logs::LogGroup")
    assert function["LoggingConfig"] == {"LogFormat": "JSON", "LogGroup": {"Ref": log_group}}
    assert properties["RetentionInDays"] == 30
    assert both.template["Resources"][log_group]["DeletionPolicy"] == "Delete"


def test_the_functions_keys(synthesize: Any) -> None:
    lambda_ = synthesize(mode="lambda", lambda_memory_mb="3008", lambda_timeout_seconds="60")
    _, function = lambda_.only("AWS::Lambda::Function")
    assert (function["MemorySize"], function["Timeout"]) == (3008, 60)


def test_the_url_is_the_live_alias_and_signed(both: Any) -> None:
    function, _ = both.only("AWS::Lambda::Function")
    version, _ = both.only("AWS::Lambda::Version")
    alias_id, alias = both.only("AWS::Lambda::Alias")
    url_id, url = both.only("AWS::Lambda::Url")
    assert alias["Name"] == url["Qualifier"] == "live"
    assert canonical(alias["FunctionName"]) == f"${{{function}}}"
    assert canonical(alias["FunctionVersion"]) == f"${{{version}.Version}}"
    assert canonical(url["TargetFunctionArn"]) == f"${{{function}.Arn}}"
    assert url["AuthType"] == "AWS_IAM"
    assert not both.resources("AWS::Lambda::Permission")
    assert canonical(both.outputs["FunctionName"]["Value"]) == f"${{{alias_id}}}"
    assert canonical(both.outputs["FunctionUrl"]["Value"]) == f"${{{url_id}.FunctionUrl}}"


# The SageMaker target


def test_the_endpoint(both: Any) -> None:
    model_id, _ = both.only("AWS::SageMaker::Model")
    config_id, config = both.only("AWS::SageMaker::EndpointConfig")
    endpoint_id, endpoint = both.only("AWS::SageMaker::Endpoint")
    (variant,) = config["ProductionVariants"]
    assert canonical(variant["ModelName"]) == f"${{{model_id}.ModelName}}"
    assert variant["InstanceType"] == "ml.m5.large"
    assert variant["InitialInstanceCount"] == 1
    assert canonical(endpoint["EndpointConfigName"]) == f"${{{config_id}.EndpointConfigName}}"
    assert canonical(both.outputs["EndpointName"]["Value"]) == f"${{{endpoint_id}.EndpointName}}"


def test_the_model_waits_for_its_roles_policy(both: Any) -> None:
    (model,) = both.resources("AWS::SageMaker::Model").values()
    role = model["Properties"]["ExecutionRoleArn"]["Fn::GetAtt"][0]
    (policy,) = (
        name
        for name, policy in both.resources("AWS::IAM::Policy").items()
        if policy["Properties"]["Roles"] == [{"Ref": role}]
    )
    assert policy in model["DependsOn"]


def test_the_endpoints_name_changes_with_what_cannot_change_in_place(
    synthesize: Any, both: Any
) -> None:
    name = both.only("AWS::SageMaker::Endpoint")[1]["EndpointName"]
    assert name.startswith("DualInferenceStack-")
    larger = synthesize(mode="both", instance_type="ml.m5.xlarge", lambda_memory_mb="2048")
    assert larger.only("AWS::SageMaker::Endpoint")[1]["EndpointName"] != name
    (variant,) = larger.only("AWS::SageMaker::EndpointConfig")[1]["ProductionVariants"]
    assert variant["InstanceType"] == "ml.m5.xlarge"
    same = synthesize(mode="sagemaker", lambda_memory_mb="2048", model_name="mobilenetv3_large")
    assert same.only("AWS::SageMaker::Endpoint")[1]["EndpointName"] == name


@pytest.mark.parametrize("stack_name", ["a", "a-", "a" * 53 + "--b", "a" * 128])
def test_the_endpoints_name_is_one_that_sagemaker_takes(stack_name: str) -> None:
    name = endpoint_name(stack_name, "ml.m5.large")
    assert re.fullmatch("[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", name)
    assert name != endpoint_name(f"{stack_name}x", "ml.m5.large")


# Names and permissions


def test_no_physical_name_but_the_endpoints(both: Any) -> None:
    named = {
        resource["Type"]
        for resource in both.template["Resources"].values()
        # What a resource is called has its type's name or this: `AWS::IAM::Role` -> RoleName.
        if f"{resource['Type'].split('::')[2]}Name" in resource["Properties"]
    }
    # An inline policy has no name of its own outside its role, and CloudFormation demands one; an
    # alias' Name is unique within its function.
    assert named - {"AWS::IAM::Policy"} == {"AWS::SageMaker::Endpoint"}


@every_mode
def test_no_wildcard_but_where_aws_requires_it(modes: Any, mode: str) -> None:
    unscoped = set()
    for statement in statements(modes[mode]):
        actions = listed(statement["Action"])
        assert not [action for action in actions if "*" in action]
        if "*" in listed(statement["Resource"]):
            unscoped |= set(actions)
    assert unscoped == (set() if mode == "lambda" else UNSCOPED)


@every_mode
def test_roles_have_no_managed_policy_and_trust_one_service(modes: Any, mode: str) -> None:
    services = {"lambda": "lambda.amazonaws.com", "sagemaker": "sagemaker.amazonaws.com"}
    trusted = set()
    for role in modes[mode].resources("AWS::IAM::Role").values():
        assert "ManagedPolicyArns" not in role["Properties"]
        (statement,) = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        trusted.add(statement["Principal"]["Service"])
    assert trusted == {services[target] for target in services if mode in (target, "both")}


def test_the_function_writes_its_own_logs_only(modes: Any) -> None:
    (statement,) = statements(modes["lambda"])
    log_group, _ = modes["lambda"].only("AWS::Logs::LogGroup")
    assert set(statement["Action"]) == {"logs:CreateLogStream", "logs:PutLogEvents"}
    assert canonical(statement["Resource"]) == f"${{{log_group}.Arn}}"


def test_the_endpoint_pulls_one_repository_and_writes_its_own_logs(modes: Any) -> None:
    endpoint = modes["sagemaker"].only("AWS::SageMaker::Endpoint")[1]["EndpointName"]
    repository = canonical(modes["sagemaker"].outputs["ImageUri"]["Value"])
    repository = repository.partition("/")[2].rpartition(":")[0]
    for statement in statements(modes["sagemaker"]):
        (resource,) = listed(statement["Resource"])
        services = {action.partition(":")[0] for action in listed(statement["Action"])}
        if services == {"cloudwatch"}:
            namespace = statement["Condition"]["StringEquals"]["cloudwatch:namespace"]
            assert namespace == "/aws/sagemaker/Endpoints"
        elif services == {"logs"}:
            assert canonical(resource).endswith(f":log-group:/aws/sagemaker/Endpoints/{endpoint}:*")
        elif statement["Action"] != "ecr:GetAuthorizationToken":
            assert canonical(resource).endswith(f":repository/{repository}")


def test_grants_name_the_one_target(tmp_path: Path) -> None:
    from aws_cdk import App, Duration, Stack
    from aws_cdk.assertions import Template
    from aws_cdk.aws_iam import AccountRootPrincipal, Role

    from infra.image import Image
    from infra.lambda_target import LambdaTarget
    from infra.sagemaker_target import SageMakerTarget

    stack = Stack(App(outdir=str(tmp_path)), "Grants")
    image = Image(stack, "Image", model_name="efficientnet_lite0", docker_outputs=None)
    caller = Role(stack, "Caller", assumed_by=AccountRootPrincipal())
    on_lambda = LambdaTarget(
        stack, "Lambda", image=image, memory_mb=1769, timeout=Duration.seconds(30)
    )
    on_lambda.grant_invoke(caller).assert_success()
    on_sagemaker = SageMakerTarget(stack, "SageMaker", image=image, instance_type="ml.m5.large")
    on_sagemaker.grant_invoke(caller).assert_success()

    template = Template.from_stack(stack).to_json()
    (alias,) = (
        name
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Lambda::Alias"
    )
    (policy,) = (
        resource["Properties"]["PolicyDocument"]["Statement"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::IAM::Policy" and name.startswith("Caller")
    )
    granted: dict[str, set[str]] = {}
    for statement in policy:
        resources = {canonical(resource) for resource in listed(statement["Resource"])}
        granted.setdefault(statement["Action"], set()).update(resources)
    endpoint = f":endpoint/{on_sagemaker.endpoint_name}"
    (endpoint_arn,) = granted.pop("sagemaker:InvokeEndpoint")
    assert endpoint_arn.endswith(endpoint)
    assert granted == {
        "lambda:InvokeFunctionUrl": {f"${{{alias}}}"},
        "lambda:InvokeFunction": {f"${{{alias}}}"},
    }
    # Direct invocation is among them: one that is not bound to the URL.
    assert [s for s in policy if s["Action"] == "lambda:InvokeFunction" and "Condition" not in s]


# The outputs


@pytest.mark.parametrize(
    ("output", "program", "body", "target"),
    [
        ("InvokeLambda", ["aws", "lambda", "invoke"], "--payload", "FunctionName"),
        (
            "InvokeEndpoint",
            ["aws", "sagemaker-runtime", "invoke-endpoint"],
            "--body",
            "EndpointName",
        ),
    ],
)
def test_the_invocations_paste_into_a_shell(
    both: Any, output: str, program: list[str], body: str, target: str
) -> None:
    words = shlex.split(canonical(both.outputs[output]["Value"]))
    assert words[:3] == program
    assert canonical(both.outputs[target]["Value"]) in words
    assert words[words.index("--region") + 1] == "${AWS::Region}"
    assert words[-1] == "/dev/stdout"
    sent = words[words.index(body) + 1]
    if output == "InvokeLambda":
        assert words[words.index("--cli-binary-format") + 1] == "raw-in-base64-out"
        assert decode(Fetcher(1000, 1)(json.loads(sent)["uri"])).shape == (8, 8, 3)
    else:
        assert words[words.index("--content-type") + 1] == "image/jpeg"
        assert (ROOT / sent.removeprefix("fileb://")).is_file()


@pytest.mark.parametrize("token", ["", "IQoJb3JpZ2luX2VjE/+="])
def test_the_urls_invocation_is_signed(both: Any, tmp_path: Path, token: str) -> None:
    credentials = "export AWS_ACCESS_KEY_ID=AK AWS_SECRET_ACCESS_KEY=SK"
    if token:
        credentials += f" AWS_SESSION_TOKEN={token}"
    for program, script in (("aws", f"echo {credentials}"), ("curl", "printf '%s\\n' \"$@\"")):
        (tmp_path / program).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / program).chmod(0o755)
    command = canonical(both.outputs["InvokeUrl"]["Value"])
    command = command.replace(canonical(both.outputs["FunctionUrl"]["Value"]), "https://url/")
    command = command.replace("${AWS::Region}", "eu-west-1")
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    words = done.stdout.splitlines()
    assert "https://url/invocations" in words  # a function URL ends in a slash
    assert words[words.index("--aws-sigv4") + 1] == "aws:amz:eu-west-1:lambda"
    assert words[words.index("--user") + 1] == "AK:SK"
    assert [word for word in words if "token" in word] == (
        [f"-Hx-amz-security-token:{token}"] if token else []
    )
    assert "content-type: image/jpeg" in words
    assert (ROOT / words[words.index("--data-binary") + 1].removeprefix("@")).is_file()

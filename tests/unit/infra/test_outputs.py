"""The outputs, and their commands, which users paste into a shell."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from infra.config.context import read_config
from ops.local_servers import ROOT
from serving.fetch.client import Fetcher
from serving.model.images import decode
from support.programs import run
from support.templates import CONFIGURATIONS, canonical

PACKAGE = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/cats/1"
ALWAYS = {"ContextKeys", "ImageUri", "Dashboard"}
ON_LAMBDA = {"FunctionUrl", "FunctionName", "InvokeUrl", "InvokeLambda"}
ON_SAGEMAKER = {"EndpointName", "InvokeEndpoint"}
ON_ASYNC = ON_SAGEMAKER | {"AsyncInput", "AsyncAnswered", "AsyncFailed"}
OUTPUTS = {
    "lambda": ALWAYS | ON_LAMBDA,
    "sagemaker": ALWAYS | ON_SAGEMAKER,
    "both": ALWAYS | ON_LAMBDA | ON_SAGEMAKER,
    "doorman": ALWAYS | ON_LAMBDA | ON_SAGEMAKER,
    "async": ALWAYS | ON_LAMBDA | ON_ASYNC,
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_outputs_are_those_of_the_targets(configured: Any, name: str) -> None:
    outputs = configured(name).outputs
    assert set(outputs) == OUTPUTS[name]
    for output in outputs.values():
        assert output["Description"]
        assert "Export" not in output  # an export that another stack imports cannot change


def test_the_keys_of_a_deployment_are_kept(configured: Any, synthesize: Any) -> None:
    for name, keys in CONFIGURATIONS.items():
        kept = json.loads(configured(name).outputs["ContextKeys"]["Value"])
        assert kept.items() <= keys.items()
        assert read_config(kept) == read_config(keys)
    looked_up = synthesize(mode="lambda", model_package_arn=PACKAGE)
    kept = json.loads(looked_up.outputs["ContextKeys"]["Value"])
    assert kept == {"mode": "lambda", "model_package_arn": PACKAGE}  # without model_data


def test_one_output_links_to_the_dashboard(both: Any) -> None:
    dashboard, _ = both.only("AWS::CloudWatch::Dashboard")
    found = both.outputs["Dashboard"]["Value"]["Fn::Join"][1]
    # The console's domain depends on the partition.
    (domain,) = (part["Fn::FindInMap"] for part in found if "Fn::FindInMap" in part)
    assert domain == ["Console", {"Ref": "AWS::Partition"}, "Domain"]
    domains = both.template["Mappings"]["Console"]
    assert domains["aws"]["Domain"] == "console.aws.amazon.com"
    assert domains["aws-cn"]["Domain"] == "console.amazonaws.cn"
    link = ["DOMAIN" if "Fn::FindInMap" in part else part for part in found]
    assert canonical({"Fn::Join": ["", link]}) == (
        "https://${AWS::Region}.DOMAIN/cloudwatch/home?region=${AWS::Region}"
        f"#dashboards/dashboard/${{{dashboard}}}"
    )


def pasted(stack: Any, output: str, folder: Path, **scripts: str) -> list[list[str]]:
    """Run an output in a shell and return the words of each call of `aws` and `curl`.

    The fake programs then run `scripts`. A reference to NAME is written @NAME.
    """
    for program in ("aws", "curl"):
        script = f'#!/bin/sh\nprintf "%s\\n" {program} "$@" "" >>{folder}/calls\n'
        (folder / program).write_text(script + scripts.get(program, ""))
        (folder / program).chmod(0o755)
    command = canonical(stack.outputs[output]["Value"])
    for name in (*stack.template["Resources"], "AWS::Region"):
        for reference in (name, f"{name}.FunctionUrl", f"{name}.EndpointName"):
            command = command.replace(f"${{{reference}}}", f"@{name}")
    done = run(["/bin/sh", "-c", command], env={"PATH": f"{folder}:/usr/bin:/bin"})
    assert done.returncode == 0, done.stderr
    calls = (folder / "calls").read_text().rstrip("\n").split("\n\n")
    return [call.split("\n") for call in calls]


def after(words: list[str], option: str) -> str:
    return words[words.index(option) + 1]


def test_the_functions_invocation(both: Any, tmp_path: Path) -> None:
    (words,) = pasted(both, "InvokeLambda", tmp_path)
    assert words[:3] == ["aws", "lambda", "invoke"]
    assert after(words, "--function-name") == f"@{both.only('AWS::Lambda::Alias')[0]}"
    assert after(words, "--region") == "@AWS::Region"
    assert after(words, "--cli-binary-format") == "raw-in-base64-out"
    event = json.loads(after(words, "--payload"))
    assert decode(Fetcher(1000, 1)(event["uri"])).shape == (8, 8, 3)
    assert words[-1] == "/dev/stdout"


def test_the_endpoints_invocation(both: Any, tmp_path: Path) -> None:
    (words,) = pasted(both, "InvokeEndpoint", tmp_path)
    assert words[:2] == ["aws", "sagemaker-runtime"]
    assert "invoke-endpoint" in words
    endpoint, _ = both.only("AWS::SageMaker::Endpoint")
    assert after(words, "--endpoint-name") == f"@{endpoint}"
    assert after(words, "--region") == "@AWS::Region"
    assert after(words, "--content-type") == "image/jpeg"
    assert (ROOT / after(words, "--body").removeprefix("fileb://")).is_file()
    assert words[-1] == "/dev/stdout"


def test_the_asynchronous_endpoints_invocation(configured: Any, tmp_path: Path) -> None:
    stack = configured("async")
    bucket, _ = stack.only("AWS::S3::Bucket")
    _, config = stack.only("AWS::SageMaker::EndpointConfig")
    told = config["AsyncInferenceConfig"]["OutputConfig"]["NotificationConfig"]
    assert canonical(stack.outputs["AsyncInput"]["Value"]) == f"s3://${{{bucket}}}/input/"
    assert stack.outputs["AsyncAnswered"]["Value"] == told["SuccessTopic"]
    assert stack.outputs["AsyncFailed"]["Value"] == told["ErrorTopic"]
    copy, invoke = pasted(stack, "InvokeEndpoint", tmp_path)
    assert copy[:3] == ["aws", "s3", "cp"]
    source, destination = copy[-2:]
    assert (ROOT / source).is_file()
    assert destination.startswith(f"s3://@{bucket}/input/")
    assert "invoke-endpoint-async" in invoke
    assert after(invoke, "--input-location") == destination
    endpoint, _ = stack.only("AWS::SageMaker::Endpoint")
    assert after(invoke, "--endpoint-name") == f"@{endpoint}"
    assert after(invoke, "--content-type") == "image/jpeg"
    assert after(copy, "--region") == after(invoke, "--region") == "@AWS::Region"


@pytest.mark.parametrize("token", ["", "IQoJb3JpZ2luX2VjE/+="])
def test_the_urls_invocation_is_signed(both: Any, tmp_path: Path, token: str) -> None:
    credentials = "export AWS_ACCESS_KEY_ID=AK AWS_SECRET_ACCESS_KEY=SK"
    if token:
        credentials += f" AWS_SESSION_TOKEN={token}"
    exported, words = pasted(both, "InvokeUrl", tmp_path, aws=f"echo {shlex.quote(credentials)}")
    assert exported[:3] == ["aws", "configure", "export-credentials"]
    url, _ = both.only("AWS::Lambda::Url")
    assert f"@{url}invocations" in words  # a function URL ends in a slash
    assert after(words, "--aws-sigv4") == "aws:amz:@AWS::Region:lambda"
    assert after(words, "--user") == "AK:SK"
    tokens = [f"-Hx-amz-security-token:{token}"] if token else []
    assert [word for word in words if "token" in word] == tokens
    assert "content-type: image/jpeg" in words
    assert (ROOT / after(words, "--data-binary").removeprefix("@")).is_file()

"""`python -m ops doctor`, check by check, in accounts where each is well and where it is not."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from infra.config import Config
from infra.image import docker_outputs
from ops import doctor, findings, manifests, probes, targets
from ops.aws import STACK_NAME
from ops.faces import ROOT
from ops.findings import State
from ops.manifests import INDEXES, MANIFEST, OCI_MANIFEST

ENDPOINT_USAGE = {"QuotaName": "ml.m5.large for endpoint usage", "QuotaCode": "L-1", "Value": 4.0}
REPOSITORY = "cdk-hnb659fds-container-assets-123456789012-eu-central-1"
TAG = "3e1f4894ea69" + "0" * 52
ALL = (
    "credentials",
    "region",
    "CDK bootstrap",
    "image builder",
    "image manifest",
    "Lambda concurrency",
    "endpoint instances",
    "endpoint",
)


def install(folder: Path, program: str, *works: str) -> None:
    """A `program` on the PATH whose subcommands fail, but for those of `works`."""
    cases = "".join(f'[ "$1" = {name} ] && exit 0\n' for name in works)
    path = folder / program
    path.write_text(f"#!/bin/sh\n{cases}exit 1\n")
    path.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one folder of the PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def push(account: Any, media_type: str) -> None:
    """An image of that kind in the repository of the CDK's bootstrap."""
    ecr = account.client("ecr")
    ecr.create_repository(repositoryName=REPOSITORY)
    layer = {"mediaType": "a-layer", "size": 1, "digest": f"sha256:{'1' * 64}"}
    manifest = {"schemaVersion": 2, "mediaType": media_type, "config": layer, "layers": [layer]}
    ecr.put_image(
        repositoryName=REPOSITORY,
        imageManifest=json.dumps({**manifest, "manifests": [{**layer, "platform": {}}]}),
        imageManifestMediaType=media_type,
        imageTag=TAG,
    )


def deploy(account: Any) -> None:
    registry = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
    account.deploy({"ImageUri": f"{registry}/{REPOSITORY}:{TAG}"})


@pytest.fixture
def healthy(account: Any, script: Any, programs: Path) -> Any:
    """Nothing stands in the way of a deployment, and one was done."""
    parameter = {"Name": probes.BOOTSTRAP_PARAMETER, "Value": "30", "Type": "String"}
    account.client("ssm").put_parameter(**parameter)
    install(programs, "docker", "info", "buildx")
    push(account, MANIFEST)
    deploy(account)
    script.json("ListServiceQuotas", {"Quotas": [ENDPOINT_USAGE]})
    limit = {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 900}
    script.json("/2016-08-19/account-settings", {"AccountLimit": limit, "AccountUsage": {}})
    return account


@pytest.fixture
def report(account: Any, ops: Callable[..., Any]) -> Callable[..., Any]:
    """The exit status, and each check's mark and text with its fix."""

    def run(*arguments: str) -> tuple[int, Mapping[str, tuple[str, str]]]:
        done = ops("doctor", "--json", "--stack", account.stack_name, *arguments)
        said = json.loads(done.out)
        assert said["ok"] == (done.status == 0)
        found = {
            check["check"]: (check["state"], f"{check['says']} -> {check['fix']}")
            for check in said["checks"]
        }
        return done.status, found

    return run


def test_all_is_well(healthy: Any, ops: Callable[..., Any]) -> None:
    done = ops("doctor", "--stack", healthy.stack_name)
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert [line[:20].rstrip() for line in lines] == [f"✓ {name}" for name in ALL]
    assert "account 123456789012, arn:aws:sts::" in lines[0]


def test_without_credentials_the_rest_is_still_checked(
    healthy: Any, ops: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.delenv(name)
    done = ops("doctor", "--stack", healthy.stack_name)
    assert done.status == 1
    marks = {line[2:20].rstrip(): line[0] for line in done.out.splitlines() if line[0] != " "}
    assert list(marks.values()) == ["✗", "!", "?", "✓", "?", "?", "?", "?"]
    assert done.out.count("fix: run `aws configure`") == 1
    assert "the CDK deploys to us-east-1 then" in done.out


def test_a_check_that_may_not_ask_names_the_action_and_hides_no_other(
    healthy: Any, script: Any, report: Callable[..., Any]
) -> None:
    script.deny("ListServiceQuotas", "/2016-08-19/account-settings")
    status, found = report()
    assert status == 2
    assert [state for state, _ in found.values()] == ["ok"] * 5 + ["unknown"] * 2 + ["ok"]
    assert "may not lambda:GetAccountSettings -> ask" in found["Lambda concurrency"][1]
    assert "may not servicequotas:ListServiceQuotas and " in found["endpoint instances"][1]


def test_expired_credentials_are_a_failure_and_a_refusal_is_none(
    healthy: Any, script: Any, report: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for service in ("STS", "SSM", "ECR"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", script.url)
    script.deny("GetParameter", "BatchGetImage")
    expired = b"<ErrorResponse><Error><Code>ExpiredToken</Code></Error></ErrorResponse>"
    script.replies["/"] = (403, {}, expired)  # STS
    status, found = report()
    assert status == 1
    assert found["credentials"][0] == "fails"
    assert "have expired -> log in again" in found["credentials"][1]
    for check, action in (
        ("CDK bootstrap", "ssm:GetParameter"),
        ("image manifest", "ecr:BatchGetImage"),
    ):
        assert (found[check][0], f"may not {action}" in found[check][1]) == ("unknown", True)
    assert found["Lambda concurrency"][0] == "ok"


def test_no_network_is_no_failure(
    healthy: Any, script: Any, report: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is a proxy that answers everything with a page."""
    script.replies["/"] = (502, {}, b"<!doctype html><title>Log in</title>")
    for nowhere in ("http://127.0.0.1:9", script.url):
        monkeypatch.setenv("AWS_ENDPOINT_URL", nowhere)
        status, found = report()
        assert (status, found["credentials"][0]) == (2, "unknown")
        assert "cannot be reached" in found["credentials"][1]


def test_an_account_that_is_not_bootstrapped(healthy: Any, report: Callable[..., Any]) -> None:
    ssm = healthy.client("ssm")
    for value, state in (("5", "fails"), ("6", "ok")):
        ssm.put_parameter(Name=probes.BOOTSTRAP_PARAMETER, Value=value, Overwrite=True)
        status, found = report()
        assert found["CDK bootstrap"][0] == state
        assert status == (1 if state == "fails" else 0)
    ssm.delete_parameter(Name=probes.BOOTSTRAP_PARAMETER)
    state, text = report()[1]["CDK bootstrap"]
    assert state == "fails"
    assert text.endswith("-> AWS_REGION=eu-central-1 cdk bootstrap")


@pytest.mark.parametrize(
    ("environment", "works", "expected"),
    [
        ({}, {"docker": ["info", "buildx"]}, ("ok", "BuildKit")),
        ({}, {"docker": ["info"]}, ("fails", "export DOCKER_BUILDKIT=0")),
        ({"DOCKER_BUILDKIT": "0"}, {"docker": ["info"]}, ("ok", "legacy builder")),
        ({}, {"docker": []}, ("fails", "its engine does not answer `docker info`")),
        ({}, {}, ("fails", "CDK_DOCKER")),
        ({"CDK_DOCKER": "podman"}, {"podman": ["info"]}, ("fails", "BUILDAH_FORMAT=docker")),
        (
            {"CDK_DOCKER": "podman", "BUILDAH_FORMAT": "docker"},
            {"podman": ["info"]},
            ("fails", "DOCKER_BUILDKIT=0"),
        ),
        (
            {"CDK_DOCKER": "podman", "DOCKER_BUILDKIT": "0", "BUILDAH_FORMAT": "docker"},
            {"podman": ["info"]},
            ("ok", "podman"),
        ),
        ({"CDK_DOCKER": "finch"}, {"finch": ["info"]}, ("warning", "cdk publish-assets")),
    ],
)
def test_the_builder(
    programs: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: Mapping[str, str],
    works: Mapping[str, list[str]],
    expected: tuple[str, str],
) -> None:
    for name in ("CDK_DOCKER", "DOCKER_BUILDKIT", "BUILDAH_FORMAT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for program, subcommands in works.items():
        install(programs, program, *subcommands)
    nobody: Any = None  # asks no AWS
    found = probes.Probes(nobody, "Traffic", programs, on_sagemaker=True).builder()
    assert found.state is State[expected[0].upper()]
    assert expected[1] in f"{found.says} {found.fix}"


@pytest.mark.parametrize(
    ("media_type", "mode", "state"),
    [
        (OCI_MANIFEST, "both", "fails"),
        (OCI_MANIFEST, "lambda", "warning"),
        (INDEXES[0], "lambda", "fails"),
        (INDEXES[1], "sagemaker", "fails"),
    ],
)
def test_a_manifest_that_a_target_refuses(
    account: Any, report: Callable[..., Any], media_type: str, mode: str, state: str
) -> None:
    push(account, media_type)
    deploy(account)
    found = report("--mode", mode)[1]["image manifest"]
    assert found[0] == state
    assert "the deployed image 3e1f4894ea69 " in found[1]
    assert "cdk publish-assets --unstable=publish-assets" in found[1]


def test_the_manifest_is_found_before_the_first_deployment(
    account: Any,
    report: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Once the image is published: its name is in the CDK's cloud assembly."""
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    assembly = tmp_path / "cdk.out"
    assembly.mkdir()
    names = "cdk-hnb659fds-container-assets-${AWS::AccountId}-${AWS::Region}"
    image = {"destinations": {"any": {"repositoryName": names, "imageTag": TAG}}}
    assets = {"dockerImages": {TAG: image}}
    (assembly / f"{account.stack_name}.assets.json").write_text(json.dumps(assets))
    state, text = report()[1]["image manifest"]
    assert (state, "cdk publish-assets --unstable=publish-assets" in text) == ("warning", True)
    push(account, OCI_MANIFEST)
    state, text = report()[1]["image manifest"]
    assert (state, "the synthesized image 3e1f4894ea69 has an OCI" in text) == ("fails", True)


def test_a_deployed_image_that_is_gone(account: Any, report: Callable[..., Any]) -> None:
    deploy(account)
    state, text = report()[1]["image manifest"]
    assert (state, "no longer in its repository" in text) == ("fails", True)


def test_the_instances_of_an_endpoint(
    healthy: Any, script: Any, report: Callable[..., Any]
) -> None:
    """The quota may be on a later page, or only among the defaults."""

    def pages(request: Any) -> tuple[int, dict[str, str], bytes]:
        if "NextToken" in json.loads(request.body):
            return 200, {}, json.dumps({"Quotas": [{**ENDPOINT_USAGE, "Value": 1.0}]}).encode()
        other = {**ENDPOINT_USAGE, "QuotaName": "ml.m5.large for training job usage"}
        return 200, {}, json.dumps({"Quotas": [other], "NextToken": "2"}).encode()

    script.replies["ListServiceQuotas"] = pages
    status, found = report()
    assert (status, found["endpoint instances"][0]) == (1, "fails")
    assert "the endpoint may have 2" in found["endpoint instances"][1]
    status, found = report("--instances", "1")
    assert (status, found["endpoint instances"][0]) == (0, "warning")
    assert (
        "an update needs 1 beside the old 1"
        in report("--instances", "1")[1]["endpoint instances"][1]
    )
    script.json("ListServiceQuotas", {"Quotas": []})
    script.json("ListAWSDefaultServiceQuotas", {"Quotas": [{**ENDPOINT_USAGE, "Value": 0.0}]})
    status, found = report()
    assert (status, found["endpoint instances"][0]) == (1, "fails")
    assert "--quota-code L-1 --desired-value 4 --region eu-cen" in found["endpoint instances"][1]
    status, found = report("--mode", "lambda")
    assert (status, "endpoint instances" in found) == (0, False)
    status, found = report("--instance-type", "ml.m5.lrage")
    assert (status, found["endpoint instances"][0]) == (2, "unknown")


def test_an_endpoint_that_went_back_by_itself(account: Any, report: Callable[..., Any]) -> None:
    """CloudFormation may count such an update as done."""
    variant = {"VariantName": "AllTraffic", "ModelName": "cats", "InitialVariantWeight": 1}
    size = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    config = {"ProductionVariants": [{**variant, **size}]}
    sagemaker = account.client("sagemaker")
    role = "arn:aws:iam::123456789012:role/any"
    image = {"Image": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/cats:1"}
    sagemaker.create_model(ModelName="cats", PrimaryContainer=image, ExecutionRoleArn=role)
    sagemaker.create_endpoint_config(EndpointConfigName="before", **config)

    def configs() -> list[Any]:
        return list(sagemaker.list_endpoint_configs()["EndpointConfigs"])

    [before] = configs()
    resources = {"Config": {"Type": "AWS::SageMaker::EndpointConfig", "Properties": config}}
    account.deploy({"EndpointName": "cats"}, resources)
    [deployed] = (found["EndpointConfigName"] for found in configs() if found != before)
    sagemaker.create_endpoint(EndpointName="cats", EndpointConfigName=deployed)
    assert report()[1]["endpoint"][0] == "ok"
    sagemaker.delete_endpoint(EndpointName="cats")  # moto has no UpdateEndpoint
    sagemaker.create_endpoint(EndpointName="cats", EndpointConfigName="before")
    status, found = report()
    assert (status, found["endpoint"][0]) == (1, "fails")
    assert f"cats runs before, and the stack deployed {deployed}" in found["endpoint"][1]


def test_a_new_accounts_concurrency(healthy: Any, script: Any, report: Callable[..., Any]) -> None:
    limit = {"ConcurrentExecutions": 10, "UnreservedConcurrentExecutions": 10}
    script.json("/2016-08-19/account-settings", {"AccountLimit": limit, "AccountUsage": {}})
    status, found = report()
    assert (status, found["Lambda concurrency"][0]) == (0, "warning")
    assert "none can be reserved" in found["Lambda concurrency"][1]
    assert "3,008 MB" in found["Lambda concurrency"][1]
    assert "Lambda concurrency" not in report("--mode", "sagemaker")[1]


def upload(account: Any, region: str = "eu-central-1", **encryption: str) -> str:
    s3 = account.client("s3", region)
    bucket = f"models-{region}"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})
    s3.put_object(Bucket=bucket, Key="a/model.tar.gz", Body=b"model", **encryption)
    return f"s3://{bucket}/a/model.tar.gz"


def test_model_data(healthy: Any, report: Callable[..., Any]) -> None:
    here, far = upload(healthy), upload(healthy, "us-west-2")
    for uri, state, says in (
        (here, "ok", "in this account"),
        (far, "fails", f"{far} is in us-west-2"),
        (here.replace("a/", "b/"), "fails", "aws s3 cp model.tar.gz s3://models-eu-central-1/b/"),
        ("s3://no-such-bucket/model.tar.gz", "fails", "there is no s3://no-such-bucket"),
        ("model.tar.gz", "fails", "s3://BUCKET/KEY.tar.gz"),
    ):
        status, found = report("--model-data", uri)
        assert (status, found["model data"][0]) == (0 if state == "ok" else 1, state)
        assert says in found["model data"][1]
    # Lambda reads from any region.
    assert report("--mode", "lambda", "--model-data", far)[0] == 0


def test_model_data_under_a_customers_key(healthy: Any, report: Callable[..., Any]) -> None:
    key = healthy.client("kms").create_key()["KeyMetadata"]["Arn"]
    uri = upload(healthy, ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    status, found = report("--model-data", uri)
    assert (status, found["model data"][0]) == (0, "warning")
    assert f"customer key {key}" in found["model data"][1]
    assert "kms:Decrypt" in found["model data"][1]


def test_model_data_of_another_account(
    healthy: Any, script: Any, report: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 answers a stranger's bucket that may be read, and one that may not, with one 403."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", script.url)
    public = "/public/model.tar.gz"

    def strangers(request: Any) -> tuple[int, dict[str, str], bytes]:
        owner = request.headers.get("x-amz-expected-bucket-owner")
        return (403 if owner == healthy.number else 200), {}, b""

    script.replies[public] = strangers
    script.replies["/private/model.tar.gz"] = (403, {}, b"")
    status, found = report("--model-data", "s3:/" + public)
    assert (status, found["model data"][0]) == (1, "fails")
    assert "another account" in found["model data"][1]
    status, found = report("--model-data", "s3://private/model.tar.gz")
    assert (status, found["model data"][0]) == (2, "unknown")
    assert "s3:GetObject on s3://private/model.tar.gz and s3:ListBucket" in found["model data"][1]


def test_a_package_of_the_registry(
    healthy: Any, report: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its approval as it is today, and then its artifact."""
    sagemaker, s3 = healthy.client("sagemaker"), healthy.client("s3")
    s3.create_bucket(
        Bucket="models",
        CreateBucketConfiguration={"LocationConstraint": sagemaker.meta.region_name},
    )
    s3.put_object(Bucket="models", Key="cats.tar.gz", Body=b"")
    sagemaker.create_model_package_group(
        ModelPackageGroupName="cats", ModelPackageGroupDescription="cats"
    )

    def registered(*uris: str) -> str:
        containers = [{"Image": "an-image", "ModelDataUrl": uri} for uri in uris]
        arn: str = sagemaker.create_model_package(
            ModelPackageGroupName="cats",
            ModelApprovalStatus="PendingManualApproval",
            InferenceSpecification={"Containers": containers, "SupportedContentTypes": ["*/*"]},
        )["ModelPackageArn"]
        return arn

    def approve(arn: str) -> None:
        sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")

    arn = registered("s3://models/cats.tar.gz")
    status, found = report("--model-package-arn", arn)
    assert (status, found["model package"][0]) == (1, "fails")
    assert f"{arn} is PendingManualApproval, not Approved" in found["model package"][1]
    assert "--model-approval-status Approved" in found["model package"][1]
    approve(arn)
    assert report("--model-package-arn", arn)[1]["model package"][0] == "ok"

    for uris, says in (
        (["s3://models/gone.tar.gz"], "there is no s3://models/gone.tar.gz"),
        (["s3://models/cats.tar.gz"] * 2, "has 2 containers"),
    ):
        arn = registered(*uris)
        approve(arn)
        status, found = report("--model-package-arn", arn)
        assert (status, found["model package"][0]) == (1, "fails")
        assert says in found["model package"][1]
    for absent, says in (
        (f"{arn}9", "there is no "),
        (arn.replace("eu-central-1", "us-east-1"), "is a package of us-east-1"),
        ("cats", "is a package of no region"),
    ):
        status, found = report("--model-package-arn", absent)
        assert (status, found["model package"][0]) == (1, "fails")
        assert says in found["model package"][1]


def test_the_tools_and_the_app_agree(tmp_path: Path) -> None:
    """They import nothing of each other, so what both know is compared here."""
    defaults = {key.name: key.default for key in fields(Config)}
    assert defaults["stack_name"] == STACK_NAME
    parser = argparse.ArgumentParser()
    doctor.add_arguments(parser)
    assert parser.get_default("instance_type") == defaults["instance_type"]
    for value in ("", "0", "f", "False", "1", "true"):
        environment = {"DOCKER_BUILDKIT": value}
        found = manifests.of_builder("docker", environment, runs=True, has_buildx=True)
        assert ("legacy" in found.says) == (docker_outputs(environment) is None), value
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["cdk", "synth", "--quiet", "--no-notices", "--output", tmp_path]
    subprocess.run(
        [*command, "-c", "mode=both", "-c", "sagemaker_type=async"],
        cwd=ROOT,
        env={**os.environ, "PATH": path, "CDK_DISABLE_CLI_TELEMETRY": "true"},
        check=True,
        capture_output=True,
    )
    template = json.loads((tmp_path / f"{STACK_NAME}.template.json").read_text())
    read = {*targets.OUTPUTS.values(), targets.ASYNC_OUTPUT, "ImageUri"}
    assert read <= template["Outputs"].keys()
    parameter = template["Parameters"]["BootstrapVersion"]["Default"]
    assert parameter == probes.BOOTSTRAP_PARAMETER
    (rule,) = template["Rules"]["CheckBootstrapVersion"]["Assertions"]
    wanted = f"version {findings.BOOTSTRAP_VERSION} required"
    assert wanted in rule["AssertDescription"]
    assert (tmp_path / f"{STACK_NAME}.assets.json").is_file()

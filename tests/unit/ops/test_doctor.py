"""`python -m ops doctor`: each check passes and fails."""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from infra.config.keys import Config
from infra.image.asset import uses_legacy_builder
from integration.ops.operator_tools import REGISTRY, REPOSITORY, install
from ops import cli
from ops.aws import STACK_NAME
from ops.commands.doctor import command as doctor
from ops.commands.doctor.image import builder
from ops.findings import State
from ops.manifests import INDEXES, OCI_MANIFEST, PUBLISH

ENDPOINT_USAGE = {"QuotaName": "ml.m5.large for endpoint usage", "QuotaCode": "L-1", "Value": 4.0}
BOOTSTRAPPED = "/cdk-bootstrap/hnb659fds/version"
TAG = "3e1f4894ea69" + "0" * 52
DEPLOYED = {"ImageUri": f"{REGISTRY}/{REPOSITORY}:{TAG}"}
ALL = ("credentials", "region", "CDK bootstrap", "image builder", "image manifest")
ALL += ("Lambda concurrency", "function URL", "alias", "endpoint instances", "endpoint")
ALL += ("endpoint logs", "next deployment")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the only folder on the PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


@pytest.fixture
def healthy(account: Any, script: Any, programs: Path) -> Any:
    """Return an account with a deployed stack, in which all checks pass."""
    account.client("ssm").put_parameter(Name=BOOTSTRAPPED, Value="30", Type="String")
    install(programs, "docker", "info", "buildx")
    account.push(TAG)
    account.deploy(DEPLOYED)
    script.json("ListServiceQuotas", {"Quotas": [ENDPOINT_USAGE]})
    limit = {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 900}
    script.json("/2016-08-19/account-settings", {"AccountLimit": limit, "AccountUsage": {}})
    return account


@pytest.fixture
def report(account: Any, ops: Callable[..., Any]) -> Callable[..., Any]:
    """Return the exit status, and each check's state and text with its fix."""

    def run(*arguments: str) -> tuple[int, Mapping[str, tuple[str, str]]]:
        done = ops("doctor", "--json", "--stack", account.stack_name, *arguments)
        said = json.loads(done.out)
        assert said["ok"] == (done.status == 0)
        found = {c["check"]: (c["state"], f"{c['says']} -> {c['fix']}") for c in said["checks"]}
        return done.status, found

    return run


STATUSES = {"ok": 0, "warning": 0, "fails": 1, "unknown": 2}


@pytest.fixture
def finds(healthy: Any, report: Callable[..., Any]) -> Callable[..., None]:
    """Assert the state of the only check that does not pass, and parts of its text and fix."""

    def check(name: str, state: str, *parts: str, options: Sequence[str] = ()) -> None:
        status, found = report(*options)
        assert (found[name][0], status) == (state, STATUSES[state]), found[name]
        assert [part for part in parts if part not in found[name][1]] == [], found[name]

    return check


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
    assert "".join(marks.values()) == "✗!?✓??✓?????"
    assert done.out.count("fix: run `aws configure`") == 1
    assert "so the CDK deploys to us-east-1" in done.out


LEGACY, FORMAT = {"DOCKER_BUILDKIT": "0"}, {"BUILDAH_FORMAT": "docker"}
PODMAN = {"CDK_DOCKER": "podman"}


@pytest.mark.parametrize(
    ("environment", "program", "expected"),
    [
        ({}, ["docker", "info", "buildx"], (State.OK, "BuildKit")),
        ({}, ["docker", "info"], (State.FAILS, "export DOCKER_BUILDKIT=0")),
        (LEGACY, ["docker", "info"], (State.OK, "legacy builder")),
        ({}, ["docker"], (State.FAILS, "its engine does not answer `docker info`")),
        (PODMAN, ["podman", "info"], (State.FAILS, "BUILDAH_FORMAT=docker")),
        (PODMAN | FORMAT | LEGACY, ["podman", "info"], (State.OK, "podman")),
        ({"CDK_DOCKER": "finch"}, ["finch", "info"], (State.WARNING, "cdk publish-assets")),
    ],
)
def test_the_builder(
    programs: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: Mapping[str, str],
    program: Sequence[str],
    expected: tuple[State, str],
) -> None:
    for name in ("CDK_DOCKER", "DOCKER_BUILDKIT", "BUILDAH_FORMAT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    install(programs, *program)
    found = builder()
    assert found.state is expected[0]
    assert expected[1] in f"{found.says} {found.fix}"


def test_expired_credentials_are_a_failure_and_a_refusal_is_none(
    healthy: Any, script: Any, report: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A denied check names its action, and the other checks still run."""
    for service in ("STS", "SSM", "ECR"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", script.url)
    script.deny(
        "GetParameter", "BatchGetImage", "ListServiceQuotas", "/2016-08-19/account-settings"
    )
    expired = b"<ErrorResponse><Error><Code>ExpiredToken</Code></Error></ErrorResponse>"
    script.replies["/"] = (403, {}, expired)  # STS
    status, found = report()
    states = [state for state, _ in found.values()]
    unknown = {"CDK bootstrap", "image manifest", "Lambda concurrency", "endpoint instances"}
    expected = ["unknown" if name in unknown else "ok" for name in ALL]
    assert (status, states) == (1, ["fails", *expected[1:]])
    for name, says in (
        ("credentials", "have expired -> log in again"),
        ("Lambda concurrency", "may not lambda:GetAccountSettings -> ask"),
        ("endpoint instances", "may not servicequotas:ListServiceQuotas and "),
    ):
        assert says in found[name][1]
    # Behind a proxy that answers with a page, the state is unknown.
    script.replies["/"] = (502, {}, b"<!doctype html><title>Log in</title>")
    status, found = report()
    state, text = found["credentials"]
    assert (status, state, "cannot be reached" in text) == (2, "unknown", True)


def test_the_bootstrap_stack_is_the_one_that_the_app_asks_for(
    healthy: Any, finds: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """cdk.json's qualifier comes first, then the last synthesis, which `-c` may have changed."""
    ssm, fix = healthy.client("ssm"), "-> AWS_REGION=eu-central-1 cdk bootstrap"
    for value, state in (("5", "fails"), ("6", "ok")):
        ssm.put_parameter(Name=BOOTSTRAPPED, Value=value, Overwrite=True)
        finds("CDK bootstrap", state)
    ssm.delete_parameter(Name=BOOTSTRAPPED)
    finds("CDK bootstrap", "fails", f"no {BOOTSTRAPPED} {fix}")

    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    theirs = {"bootstrapStackVersionSsmParameter": "/cdk-bootstrap/theirs/version"}
    stacks = {"artifacts": {healthy.stack_name: {"properties": theirs}}}
    (tmp_path / "cdk.out").mkdir()
    (tmp_path / "cdk.out" / "manifest.json").write_text(json.dumps(stacks))
    finds("CDK bootstrap", "fails", f"no /cdk-bootstrap/theirs/version {fix} --qualifier theirs")
    context = {"@aws-cdk/core:bootstrapQualifier": "ours"}
    (tmp_path / "cdk.json").write_text(json.dumps({"context": context}))
    finds("CDK bootstrap", "fails", "no /cdk-bootstrap/ours/version")
    ssm.put_parameter(Name="/cdk-bootstrap/ours/version", Value="30", Type="String")
    finds("CDK bootstrap", "ok")


def test_the_stack_is_the_one_that_cdk_json_names(
    account: Any, ops: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cli, "ROOT", tmp_path)
    for text, said in (
        ('{"context": {"stack_name": "cats"}}', "there is no stack cats in eu-central-1"),
        ("[]", "cdk.json is not a JSON object: "),
    ):
        (tmp_path / "cdk.json").write_text(text)
        done = ops("invoke", "s3://bucket/cat.jpg")
        assert (done.status, len(done.err.splitlines())) == (2, 1)
        assert said in done.err


@pytest.mark.parametrize(
    ("media_type", "mode", "state"),
    [
        (OCI_MANIFEST, "both", "fails"),
        (OCI_MANIFEST, "lambda", "warning"),
        (INDEXES[0], "lambda", "fails"),
    ],
)
def test_a_manifest_that_a_target_refuses(
    account: Any, report: Callable[..., Any], media_type: str, mode: str, state: str
) -> None:
    account.deploy(DEPLOYED)
    gone, says = report("--mode", mode)[1]["image manifest"]
    assert (gone, "no longer in its repository" in says) == ("fails", True)
    account.push(TAG, media_type)
    found, says = report("--mode", mode)[1]["image manifest"]
    assert (found, "the deployed image 3e1f4894ea69 " in says) == (state, True)
    assert PUBLISH in says


def test_the_manifest_is_found_before_the_first_deployment(
    account: Any, report: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The cloud assembly names the published image."""
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    names = "cdk-hnb659fds-container-assets-${AWS::AccountId}-${AWS::Region}"
    image = {"destinations": {"any": {"repositoryName": names, "imageTag": TAG}}}
    (tmp_path / "cdk.out").mkdir()
    assets = tmp_path / "cdk.out" / f"{account.stack_name}.assets.json"
    assets.write_text(json.dumps({"dockerImages": {TAG: image}}))
    state, text = report()[1]["image manifest"]
    assert (state, PUBLISH in text) == ("warning", True)
    account.push(TAG, OCI_MANIFEST)
    state, text = report()[1]["image manifest"]
    assert (state, "the synthesized image 3e1f4894ea69 has an OCI" in text) == ("fails", True)


def test_the_instances_of_an_endpoint_and_of_a_batch_job(
    script: Any, finds: Callable[..., None]
) -> None:
    """The quota may be on a later page or only among the defaults."""

    def pages(request: Any) -> tuple[int, dict[str, str], bytes]:
        if "NextToken" in json.loads(request.body):
            return 200, {}, json.dumps({"Quotas": [{**ENDPOINT_USAGE, "Value": 1.0}]}).encode()
        other = {**ENDPOINT_USAGE, "QuotaName": "ml.m5.large for training job usage"}
        return 200, {}, json.dumps({"Quotas": [other], "NextToken": "2"}).encode()

    check = "endpoint instances"
    script.replies["ListServiceQuotas"] = pages
    finds(check, "fails", "the endpoint may need 2")
    one = ("--instances", "1")
    finds(check, "warning", "an update needs 1 beside the old 1", options=one)
    script.json("ListServiceQuotas", {"Quotas": []})
    script.json("ListAWSDefaultServiceQuotas", {"Quotas": [{**ENDPOINT_USAGE, "Value": 0.0}]})
    finds(check, "fails", "--quota-code L-1 --desired-value 4 --region eu-cen")
    finds(check, "unknown", options=("--instance-type", "ml.m5.lrage"))
    quota = {**ENDPOINT_USAGE, "QuotaName": "ml.m5.large for transform job usage", "Value": 1.0}
    script.json("ListServiceQuotas", {"Quotas": [ENDPOINT_USAGE, quota]})
    finds("transform instances", "ok", options=("--transform-instances", "1"))
    fix = ("the transform job may need 2", "--quota-code L-1 --desired-value 2")
    finds("transform instances", "fails", *fix, options=("--transform-instances", "2"))


def test_a_region_without_function_urls(
    report: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    regions = ("eu-central-2", "us-gov-west-1")
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    for context, state in (({}, "fails"), ({"url_auth": "off"}, "ok")):
        (tmp_path / "cdk.json").write_text(json.dumps({"context": context}))
        for region in regions:
            found, text = report("--region", region)[1]["function URL"]
            assert found == state, text
            assert ("-> cdk deploy -c url_auth=off" in text) == (state == "fails")


def test_an_alias_that_was_left_between_two_versions(
    account: Any, script: Any, report: Callable[..., Any]
) -> None:
    name = "arn:aws:lambda:eu-central-1:123456789012:function:Traffic-Function"
    account.deploy({"FunctionName": f"{name}:live"})
    weights = {"AdditionalVersionWeights": {"8": 0.1}}
    place = f"/2015-03-31/functions/{name.replace(':', '%3A')}/aliases/live"
    for routing, state in (({}, "ok"), (weights, "warning")):
        script.json(place, {"FunctionVersion": "7", "RoutingConfig": routing})
        found, text = report("--mode", "lambda")[1]["alias"]
        assert found == state, text
    assert "live sends calls to version 7, and 10% to version 8" in text
    reset = "aws lambda update-alias --routing-config AdditionalVersionWeights={} --name live"
    assert f"{reset} --function-name {name}" in text


def test_log_groups_that_a_removed_endpoint_left(account: Any, report: Callable[..., Any]) -> None:
    """They prevent the next endpoint of that name."""
    account.deploy({"EndpointName": "traffic-00000001"})
    logs, place = account.client("logs"), "/aws/sagemaker/Endpoints/"
    for name in ("traffic-00000001", "traffic-jam-00000002", "another-00000003"):
        logs.create_log_group(logGroupName=place + name)
    assert report()[1]["endpoint logs"][0] == "ok"
    logs.create_log_group(logGroupName=f"{place}traffic-00000004")
    state, text = report()[1]["endpoint logs"]
    assert state == "fails"
    delete = "-> aws logs delete-log-group --region eu-central-1 --log-group-name "
    assert text.endswith(f"{delete}{place}traffic-00000004")


def test_a_new_accounts_concurrency(
    script: Any, finds: Callable[..., None], report: Callable[..., Any]
) -> None:
    limit = {"ConcurrentExecutions": 10, "UnreservedConcurrentExecutions": 10}
    script.json("/2016-08-19/account-settings", {"AccountLimit": limit, "AccountUsage": {}})
    finds("Lambda concurrency", "warning", "none can be reserved", "3,008 MB")
    for option in ("--reserved-concurrency", "--provisioned-concurrency"):
        raised = "0 can be reserved or provisioned, not ", "--desired-value 1000"
        finds("Lambda concurrency", "fails", *raised, options=(option, "1"))
    limit = {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 900}
    script.json("/2016-08-19/account-settings", {"AccountLimit": limit, "AccountUsage": {}})
    finds("Lambda concurrency", "ok", options=("--reserved-concurrency", "800"))
    too_many = ("--reserved-concurrency", "801")
    finds("Lambda concurrency", "fails", "--desired-value 1001", options=too_many)
    # An update provisions two versions at once.
    finds("Lambda concurrency", "ok", options=("--provisioned-concurrency", "400"))
    finds("Lambda concurrency", "fails", options=("--provisioned-concurrency", "401"))
    script.json("/2016-08-19/account-settings", {"AccountLimit": {}})
    finds("Lambda concurrency", "unknown", "AWS's answer lacks 'ConcurrentExecutions'")
    assert "Lambda concurrency" not in report("--mode", "sagemaker")[1]
    assert "endpoint instances" not in report("--mode", "lambda")[1]


def upload(account: Any, region: str = "eu-central-1", **settings: str) -> str:
    bucket = f"models-{region}"
    s3 = account.client("s3", region) if settings else account.bucket(bucket, region)
    s3.put_object(Bucket=bucket, Key="a/model.tar.gz", Body=b"model", **settings)
    return f"s3://{bucket}/a/model.tar.gz"


def test_model_data(
    healthy: Any, script: Any, finds: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 answers 403 for another account's bucket, whether it may be read or not."""

    def strangers(request: Any) -> tuple[int, dict[str, str], bytes]:
        owner = request.headers.get("x-amz-expected-bucket-owner")
        return (403 if owner == healthy.number else 200), {}, b""

    here, far = upload(healthy), upload(healthy, "us-west-2")
    for uri, state, *says in (
        (here, "ok", "in this account"),
        (far, "fails", f"{far} is in us-west-2"),
        (here.replace("a/", "b/"), "fails", "aws s3 cp model.tar.gz s3://models-eu-central-1/b/"),
        ("s3://no-such-bucket/model.tar.gz", "fails", "there is no s3://no-such-bucket"),
        ("model.tar.gz", "fails", "s3://BUCKET/KEY.tar.gz"),
    ):
        finds("model data", state, *says, options=("--model-data", uri))
    # Lambda reads from any region.
    finds("model data", "ok", options=("--mode", "lambda", "--model-data", far))
    key = healthy.client("kms").create_key()["KeyMetadata"]["Arn"]
    upload(healthy, ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    says = [f"customer key {key}", "kms:Decrypt"]
    finds("model data", "warning", *says, options=("--model-data", here))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", script.url)
    script.replies["/public/model.tar.gz"] = strangers
    script.replies["/private/model.tar.gz"] = (403, {}, b"")
    public, private = "s3://public/model.tar.gz", "s3://private/model.tar.gz"
    finds("model data", "fails", "another account", options=("--model-data", public))
    action = f"s3:GetObject on {private} and s3:ListBucket"
    finds("model data", "unknown", action, options=("--model-data", private))


def test_a_package_of_the_registry(healthy: Any, finds: Callable[..., None]) -> None:
    sagemaker, artifact = healthy.client("sagemaker"), upload(healthy)
    group = {"ModelPackageGroupName": "cats"}
    sagemaker.create_model_package_group(**group, ModelPackageGroupDescription="cats")

    def registered(*uris: str, status: str = "Approved") -> str:
        containers = [{"Image": "an-image", "ModelDataUrl": uri} for uri in uris]
        known = {"Containers": containers, "SupportedContentTypes": ["*/*"]}
        specification = {"InferenceSpecification": known} if uris else {}
        arn: str = sagemaker.create_model_package(
            **group, **specification, ModelApprovalStatus=status
        )["ModelPackageArn"]
        return arn

    good = registered(artifact)
    pending = registered(artifact, status="PendingManualApproval")
    for arn, state, *says in (
        (good, "ok"),
        (pending, "fails", "not Approved", "--model-approval-status Approved"),
        (registered(artifact.replace("a/", "b/")), "fails", "there is no s3://"),
        (registered(artifact, artifact), "fails", "has 2 containers"),
        (f"{good}9", "fails", "there is no "),
        (good.replace("eu-central-1", "us-east-1"), "fails", "is a package of us-east-1"),
        ("cats", "fails", "is a package of no region"),
        (registered(), "fails", "has no InferenceSpecification"),
    ):
        finds("model package", state, *says, options=("--model-package-arn", arn))


def test_the_tools_and_the_app_agree(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They do not import each other, so compare their common defaults here."""
    monkeypatch.delenv("CDK_DOCKER", raising=False)
    install(programs, "docker", "info", "buildx")
    assert Config.stack_name == STACK_NAME
    parser = argparse.ArgumentParser()
    doctor.add_arguments(parser)
    assert parser.get_default("instance_type") == Config.instance_type
    for value in ("", "0", "f", "False", "1", "true"):
        monkeypatch.setenv("DOCKER_BUILDKIT", value)
        legacy = uses_legacy_builder()
        assert ("legacy" in builder().says) == legacy, value

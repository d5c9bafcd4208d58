"""The other kinds of deployment, each deployed and invoked; what `test_walk` says holds here too.

They share its control plane, whose registry has the image already.
"""

import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from deploy.cloud import CdkError, Cloud
from deploy.deployment import inventory
from deploy.walk import PICTURES, Walk

pytestmark = pytest.mark.docker


def test_two_instances_with_everything_around_them(plane: Cloud, tmp_path: Path) -> None:
    """An update starts with one of two instances, ringing alarms of the old ones do not stop it,
    and no client of either target notices.
    """
    print()
    before = inventory(plane)
    walk = Walk(plane, tmp_path)
    context = {
        "mode": "both",
        "min_instances": "2",
        "max_instances": "3",
        "data_capture_percent": "10",
        "alarm_email": "team@example.com",
        "lambda_provisioned_concurrency": "1",
        "lambda_reserved_concurrency": "10",
        "url_cors_origins": "https://example.com",
    }
    walk.deploy(context)
    answers = walk.answers_of_sagemaker()
    assert answers == walk.answers_of_lambda()
    assert len(plane.containers("sagemaker")) == 2
    digest = walk.deployed.endpoint_digest()
    walk.done("two instances", digest, walk.deployed.lambda_digest())
    with walk.client("lambda"), walk.client("sagemaker"):
        old = set(plane.containers("sagemaker"))
        # What fails today must not keep the fix out: these alarms are of what the fix replaces.
        with in_alarm(plane, "ModelLatency", new=False), in_alarm(plane, "Duration", new=False):
            walk.deploy({**context, "uri_allowlist": "example.com"})
        assert walk.answers_of_sagemaker() == walk.answers_of_lambda() == answers
        new = set(plane.containers("sagemaker"))
        assert len(new) == 2
        assert not new & old
        walk.done("two instances, a changed setting", digest, walk.deployed.endpoint_digest())
    walk.destroy(context)
    assert_gone(walk, before)


def test_an_alarm_rolls_a_deployment_back(plane: Cloud, tmp_path: Path) -> None:
    """Of either target, and then both are as before; no client of either notices."""
    before = inventory(plane)
    walk = Walk(plane, tmp_path)
    walk.deploy({"mode": "both"})
    digest, deployed = walk.deployed.endpoint_digest(), walk.deployed
    walk.done("mode=both", digest)
    changed = {"mode": "both", "uri_allowlist": "example.com"}
    with walk.client("lambda"), walk.client("sagemaker"):
        served, version = deployed.endpoint_description(), deployed.version()
        with in_alarm(plane, "Invocation5XXErrors", new=True), failing("in ALARM"):
            walk.deploy(changed)
        assert deployed.endpoint_description()["EndpointConfigName"] == served["EndpointConfigName"]
        assert deployed.version() == version
        walk.done("the endpoint's alarm: rolled back", digest, deployed.endpoint_digest())

        with in_alarm(plane, "Duration", new=True), failing("CodeDeploy rolled back"):
            walk.deploy(changed)
        assert deployed.endpoint_description()["EndpointConfigName"] == served["EndpointConfigName"]
        assert deployed.version() == version
        walk.done("the function's alarm: rolled back", digest, deployed.endpoint_digest())
    walk.destroy({"mode": "both"})
    assert_gone(walk, before)


def failing(reason: str) -> AbstractContextManager[object]:
    """A deployment in it fails, and says so."""
    return pytest.raises(CdkError, match=reason)


# What tells an update's new side from the old one.
OF_THE_NEW = {"EndpointConfigName", "ExecutedVersion"}


@contextmanager
def in_alarm(plane: Cloud, metric: str, *, new: bool) -> Iterator[None]:
    """The one alarm of that metric is in ALARM: of what is `new` in an update, or of the target."""
    cloudwatch = plane.client("cloudwatch")
    [name] = [
        alarm["AlarmName"]
        for alarm in cloudwatch.describe_alarms()["MetricAlarms"]
        if alarm.get("MetricName") == metric
        if new is any(d["Name"] in OF_THE_NEW for d in alarm["Dimensions"])
    ]
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="planted")
    try:
        yield
    finally:
        cloudwatch.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="planted")


def test_serverless(plane: Cloud, tmp_path: Path) -> None:
    before = inventory(plane)
    walk = Walk(plane, tmp_path)
    context = {"mode": "sagemaker", "sagemaker_type": "serverless"}
    walk.deploy(context)
    answers = walk.answers_of_sagemaker()
    assert [answer.status for answer in answers] == [200] * len(PICTURES)
    assert walk.answers_to_ops() == [json.loads(answer.body) for answer in answers]
    walk.done("serverless", walk.deployed.endpoint_digest())
    walk.destroy(context)
    assert_gone(walk, before)


def test_asynchronous(plane: Cloud, tmp_path: Path) -> None:
    before = inventory(plane)
    walk = Walk(plane, tmp_path)
    context = {"mode": "sagemaker", "sagemaker_type": "async", "min_instances": "0"}
    walk.deploy(context)
    s3, runtime = plane.client("s3"), plane.client("sagemaker-runtime")
    [bucket] = inventory(plane)["s3 Buckets"] - before["s3 Buckets"]
    s3.put_object(Bucket=bucket, Key="input/cat", Body=PICTURES[0].body)
    request = {"EndpointName": walk.deployed.endpoint, "ContentType": "image/jpeg"}
    reply = runtime.invoke_endpoint_async(InputLocation=f"s3://{bucket}/input/cat", **request)
    assert b"tiger cat" in eventually(s3, bucket, reply["OutputLocation"])
    with pytest.raises(ClientError, match="asynchronous invocations only"):
        runtime.invoke_endpoint(Body=b"", **request)
    assert [len(answer["results"]) for answer in walk.answers_to_ops()] == [5] * len(PICTURES)
    walk.done("asynchronous", walk.deployed.endpoint_digest())
    walk.destroy(context)
    assert_gone(walk, before)


def test_a_type_that_nobody_handles_fails(plane: Cloud) -> None:
    """What is deployed is handled by the control plane, not passed over."""
    cloudformation = plane.client("cloudformation")
    template = '{"Resources": {"A": {"Type": "AWS::SageMaker::Project", "Properties": {}}}}'
    with pytest.raises(ClientError, match="Unrecognized resource types"):
        cloudformation.create_stack(StackName="unknown", TemplateBody=template)


def assert_gone(walk: Walk, before: dict[str, set[str]]) -> None:
    """Nothing is left but the bucket of what clients sent, which outlives its stack."""
    after = inventory(walk.plane)
    for bucket in after["s3 Buckets"] - before["s3 Buckets"]:
        s3 = walk.plane.client("s3")
        for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
            s3.delete_object(Bucket=bucket, Key=entry["Key"])
        s3.delete_bucket(Bucket=bucket)
    assert inventory(walk.plane) == before
    assert walk.plane.containers() == []
    walk.done("destroy")


def eventually(s3: Any, bucket: str, location: str) -> bytes:
    """An object that is about to be written."""
    key = location.removeprefix(f"s3://{bucket}/")
    for _ in range(100):
        try:
            return bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        except ClientError:
            time.sleep(0.1)
    raise AssertionError(f"nothing at {location}")

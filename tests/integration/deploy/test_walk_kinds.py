"""Deploy and invoke the other kinds of deployment. `test_walk` says what is emulated."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from integration.deploy.cloud import Cloud
from integration.deploy.deployment import inventory, left_over
from integration.deploy.model_data import delete_bucket
from integration.deploy.walk import PICTURES, Walk, in_alarm

pytestmark = pytest.mark.docker


def test_two_instances_with_all_options(plane: Cloud, tmp_path: Path) -> None:
    """A canary update succeeds while alarms of the old side are in ALARM, and loses no request."""
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
        # These alarms watch what the update replaces, so they must not block a fix.
        with in_alarm(plane, "ModelLatency", new=False), in_alarm(plane, "Duration", new=False):
            walk.deploy({**context, "uri_allowlist": "example.com"})
        assert walk.answers_of_sagemaker() == walk.answers_of_lambda() == answers
        new = set(plane.containers("sagemaker"))
        assert len(new) == 2
        assert not new & old
        walk.done("two instances, a changed setting", digest, walk.deployed.endpoint_digest())
    walk.destroy(context)
    assert_gone(walk, before)


def test_serverless_and_then_asynchronous(plane: Cloud, tmp_path: Path) -> None:
    before = inventory(plane)
    walk = Walk(plane, tmp_path)
    walk.deploy({"mode": "sagemaker", "sagemaker_type": "serverless"})
    answers = walk.answers_of_sagemaker()
    assert [answer.status for answer in answers] == [200] * len(PICTURES)
    assert walk.answers_to_ops() == [json.loads(answer.body) for answer in answers]
    walk.done("serverless", walk.deployed.endpoint_digest())

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


def assert_gone(walk: Walk, before: dict[str, set[str]]) -> None:
    """Assert that only the bucket of clients' data has outlived the stack, and delete it."""
    for bucket in left_over(walk.plane, before).get("s3 Buckets", ()):
        delete_bucket(walk.plane, bucket)
    assert left_over(walk.plane, before) == {}
    assert walk.plane.containers() == []
    walk.done("destroy")


def eventually(s3: Any, bucket: str, location: str) -> bytes:
    key = location.removeprefix(f"s3://{bucket}/")
    for _ in range(100):
        try:
            return bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        except ClientError:
            time.sleep(0.1)
    raise AssertionError(f"nothing at {location}")

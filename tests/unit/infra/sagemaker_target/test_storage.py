"""The S3 buckets and topics of asynchronous requests and captured traffic."""

from typing import Any

import pytest

from support.templates import allows, canonical

BUCKET, TOPIC = "AWS::S3::Bucket", "AWS::SNS::Topic"
CONFIG = "AWS::SageMaker::EndpointConfig"


@pytest.mark.parametrize("name", ["both", "serverless"])
def test_nothing_is_kept_unasked(configured: Any, name: str) -> None:
    assert not configured(name).resources(BUCKET)
    assert not configured(name).resources(TOPIC)


@pytest.mark.parametrize("name", ["async", "everything"])
def test_a_bucket_is_emptied_by_time(configured: Any, name: str) -> None:
    """tests/integration/cdk/test_static_checks.py checks that it is private and encrypted."""
    _, bucket = configured(name).only(BUCKET)
    (rule,) = bucket["LifecycleConfiguration"]["Rules"]
    assert rule["Status"] == "Enabled"
    assert 0 < rule["ExpirationInDays"] <= 30
    assert rule["AbortIncompleteMultipartUpload"]


def test_an_asynchronous_endpoints_bucket_and_topics(configured: Any) -> None:
    stack = configured("async")
    bucket, _ = stack.only(BUCKET)
    _, config = stack.only(CONFIG)
    output = config["AsyncInferenceConfig"]["OutputConfig"]
    assert canonical(output["S3OutputPath"]) == f"s3://${{{bucket}}}/output"
    assert canonical(output["S3FailurePath"]) == f"s3://${{{bucket}}}/failure"
    told = output["NotificationConfig"]
    topics = [told["SuccessTopic"]["Ref"], told["ErrorTopic"]["Ref"]]
    assert topics[0] != topics[1]
    assert {*topics} <= {*stack.resources(TOPIC)}
    # The alarms have another topic.
    for alarm in stack.resources("AWS::CloudWatch::Alarm").values():
        for action in alarm["Properties"].get("AlarmActions", []):
            assert action["Ref"] not in topics


def test_the_role_reads_requests_and_writes_answers(configured: Any) -> None:
    stack = configured("async")
    bucket, _ = stack.only(BUCKET)
    granted = stack.statements("sagemaker")
    arn = f"${{{bucket}.Arn}}"
    assert allows(granted, "s3:GetObject", f"{arn}/input/cat.jpg")
    assert not allows(granted, "s3:PutObject", f"{arn}/input/cat.jpg")
    for folder in ("output", "failure"):
        assert allows(granted, "s3:PutObject", f"{arn}/{folder}/1.out")
        assert not allows(granted, "s3:GetObject", f"{arn}/{folder}/1.out")
    assert not allows(granted, "s3:DeleteObject", f"{arn}/input/cat.jpg")
    told = stack.only(CONFIG)[1]["AsyncInferenceConfig"]["OutputConfig"]["NotificationConfig"]
    for topic in told.values():
        assert allows(granted, "sns:Publish", canonical(topic))
    assert not allows(stack.statements("lambda"), "s3:GetObject", f"{arn}/input/cat.jpg")


def test_a_share_of_the_traffic_is_captured(configured: Any) -> None:
    stack = configured("everything")
    bucket, _ = stack.only(BUCKET)
    capture = stack.only(CONFIG)[1]["DataCaptureConfig"]
    assert capture["EnableCapture"] is True
    assert capture["InitialSamplingPercentage"] == 10
    assert canonical(capture["DestinationS3Uri"]) == f"s3://${{{bucket}}}/capture"
    modes = {option["CaptureMode"] for option in capture["CaptureOptions"]}
    assert modes == {"Input", "Output"}
    # JSON is stored as text; SageMaker stores other types in base64.
    assert "application/json" in capture["CaptureContentTypeHeader"]["JsonContentTypes"]
    granted = stack.statements("sagemaker")
    assert allows(granted, "s3:PutObject", f"${{{bucket}.Arn}}/capture/a.jsonl")
    assert not allows(granted, "s3:GetObject", f"${{{bucket}.Arn}}/capture/a.jsonl")

"""Transform jobs have a model of the same image, and a role for their two folders."""

from typing import Any

import pytest

from support.templates import BATCH, allows, canonical

MODEL = "AWS::SageMaker::Model"
BUCKET = "arn:${AWS::Partition}:s3:::work-of-ours"


@pytest.fixture
def stack(configured: Any) -> Any:
    return configured("batch")


def test_there_is_a_model_in_every_mode_and_it_is_named(synthesize: Any) -> None:
    for mode in ("lambda", "sagemaker", "both"):
        stack = synthesize(mode=mode, **BATCH)
        models = stack.resources(MODEL)
        named = canonical(stack.outputs["BatchModelName"]["Value"]).removeprefix("${")
        model = models.pop(named.removesuffix(".ModelName}"))["Properties"]
        assert bool(models) == (mode != "lambda")
        for other in models.values():
            # The endpoint's model has the same image and variables.
            assert other["Properties"]["PrimaryContainer"] == model["PrimaryContainer"]
            assert other["Properties"]["ExecutionRoleArn"] != model["ExecutionRoleArn"]
        assert canonical(stack.outputs["BatchInput"]["Value"]) == "s3://work-of-ours/in/"
        assert canonical(stack.outputs["BatchOutput"]["Value"]) == "s3://work-of-ours/out/"


def test_a_job_reads_its_input_and_writes_its_output(stack: Any) -> None:
    granted = stack.statements("sagemaker")
    assert allows(granted, "s3:ListBucket", BUCKET)
    assert allows(granted, "s3:GetObject", f"{BUCKET}/in/2026/records.jsonl")
    assert allows(granted, "s3:PutObject", f"{BUCKET}/out/job/records.jsonl.out")
    assert allows(granted, "s3:AbortMultipartUpload", f"{BUCKET}/out/job/records.jsonl.out")
    for action, path in (
        ("s3:GetObject", "out/job/records.jsonl.out"),
        ("s3:GetObject", "input-of-others/x"),
        ("s3:PutObject", "in/2026/records.jsonl"),
        ("s3:DeleteObject", "out/job/records.jsonl.out"),
    ):
        assert not allows(granted, action, f"{BUCKET}/{path}")
    of_buckets = [s for s in granted if "s3:" in str(s["Action"])]
    assert len(of_buckets) == 3
    account = {"s3:ResourceAccount": {"Ref": "AWS::AccountId"}}
    assert all(statement["Condition"]["StringEquals"] == account for statement in of_buckets)


def test_a_job_writes_the_logs_and_metrics_of_jobs(stack: Any) -> None:
    granted = stack.statements("sagemaker")
    group = "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:"
    jobs = "/aws/sagemaker/TransformJobs"
    assert allows(granted, "logs:PutLogEvents", f"{group}{jobs}:log-stream:a-job/i-1")
    assert not allows(granted, "logs:PutLogEvents", f"{group}/aws/sagemaker/Endpoints/x")
    (metrics,) = (s for s in granted if s["Action"] == "cloudwatch:PutMetricData")
    assert metrics["Condition"] == {"StringEquals": {"cloudwatch:namespace": jobs}}

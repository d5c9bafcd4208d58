"""`python -m ops batch` with the real client. moto holds S3 and the stack.

A stand-in for SageMaker answers each record with the record itself. tests/integration/batch sends a
job's requests to the real server.
"""

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.response import StreamingBody
from botocore.session import get_session
from botocore.validate import validate_parameters

from ops.aws import split_s3
from ops.commands.batch import command
from ops.commands.batch.objects import count_records, paired
from ops.commands.batch.request import job_name

OUTPUTS = {"BatchInput": "s3://jobs/in/", "BatchOutput": "s3://jobs/out/"}
OUTPUTS["BatchModelName"] = "the-model"
REFUSED = b'{"error":{"code":"uri_not_allowed","message":"the bucket is not in URI_ALLOWLIST"}}\n'
BROKEN = b'{"error":{"code":"malformed_request","message":"no uri"}}\n' * 2 + REFUSED


@dataclass
class SageMaker:
    """Run each job at once, and describe it as `ends` says."""

    s3: Any
    # What to add to each description of the job, in order.
    ends: list[dict[str, str]] = field(default_factory=lambda: [{}])
    asked: list[Any] = field(default_factory=list)

    def create(self, request: Any) -> Any:
        self.asked.append(json.loads(request.body))
        self.work(self.asked[-1])
        return 200, {}, b'{"TransformJobArn": "a-job"}'

    def describe(self, _: Any) -> Any:
        end = self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]
        return 200, {}, json.dumps({"TransformJobStatus": "Completed", **end}).encode()

    def work(self, wanted: Any) -> None:
        source, target = wanted["TransformInput"], wanted["TransformOutput"]
        bucket, prefix = split_s3(source["DataSource"]["S3DataSource"]["S3Uri"])
        to_bucket, folder = split_s3(target["S3OutputPath"])
        for item in self.s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]:
            key = item["Key"]
            data = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            output = data.removesuffix(b"\n") + b"\n"
            name = key.removeprefix(prefix).lstrip("/") or key.rpartition("/")[2]
            self.s3.put_object(Bucket=to_bucket, Key=f"{folder}/{name}.out", Body=output)


@pytest.fixture
def sagemaker(account: Any, script: Any, monkeypatch: pytest.MonkeyPatch) -> SageMaker:
    """Deploy a stack whose keys name empty folders."""
    account.deploy(OUTPUTS)
    s3 = account.bucket("jobs")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", script.url)
    monkeypatch.setattr(command, "POLL_SECONDS", 0)
    running = SageMaker(s3)
    script.replies["CreateTransformJob"] = running.create
    script.replies["DescribeTransformJob"] = running.describe
    return running


@pytest.fixture
def batch(account: Any, ops: Callable[..., Any]) -> Callable[..., Any]:
    """Run `python -m ops batch` on that stack."""
    return lambda *arguments: ops("batch", *arguments, "--stack", account.stack_name)


def put(sagemaker: SageMaker, key: str, body: bytes) -> None:
    sagemaker.s3.put_object(Bucket="jobs", Key=key, Body=body)


def test_records_in_and_answers_out(sagemaker: SageMaker, batch: Callable[..., Any]) -> None:
    data = b'{"n":1}\n' * 40
    put(sagemaker, "in/may/a.jsonl", data)
    put(sagemaker, "in/may/more/b.jsonl", BROKEN)
    put(sagemaker, "in/june/c.jsonl", data)
    sagemaker.ends = [{"TransformJobStatus": "InProgress"}] * 2 + [{}]
    done = batch("s3://jobs/in/may/", "--strategy", "MultiRecord", "--max-payload-mb", "1")
    assert done.status == 0, done.err
    assert "43 records, 43 answers, 3 of them errors: " in done.out
    assert "malformed_request 2, uri_not_allowed 1" in done.out
    (asked,) = sagemaker.asked
    assert asked["ModelName"] == "the-model"
    assert asked["TransformOutput"]["S3OutputPath"] in done.out
    assert (asked["BatchStrategy"], asked["MaxPayloadInMB"]) == ("MultiRecord", 1)


def test_a_folder_of_pictures(sagemaker: SageMaker, batch: Callable[..., Any]) -> None:
    put(sagemaker, "in/bad.jpg", REFUSED)
    done = batch("--content-type", "application/x-image", "--json")
    assert done.status == 0, done.err
    facts = json.loads(done.out)
    assert facts["records"] == facts["answers"] == 1
    assert facts["errors"] == {"uri_not_allowed": 1}
    assert facts["without_output"] == facts["uneven"] == []
    (asked,) = sagemaker.asked
    assert asked["TransformInput"]["SplitType"] == "None"
    assert "BatchStrategy" not in asked


def test_the_request_is_shown_and_nothing_is_started(
    sagemaker: SageMaker, batch: Callable[..., Any]
) -> None:
    folders = ("s3://jobs/in", "s3://jobs/out/x")
    done = batch(*folders, "--dry-run", "--instances", "4", "--concurrency", "2")
    assert done.status == 0, done.err
    request = json.loads(done.out)
    source = request["TransformInput"]["DataSource"]["S3DataSource"]
    assert source == {"S3DataType": "S3Prefix", "S3Uri": "s3://jobs/in/"}  # not s3://jobs/input
    name = request["TransformJobName"]
    assert request["TransformOutput"]["S3OutputPath"] == f"s3://jobs/out/x/{name}"
    assert request["TransformResources"] == {"InstanceType": "ml.m5.large", "InstanceCount": 4}
    assert sagemaker.asked == []
    model = get_session().get_service_model("sagemaker").operation_model("CreateTransformJob")
    validate_parameters(request, model.input_shape)


def test_lost_answers_are_found_and_a_failure_is_told_with_what_sagemaker_logged(
    sagemaker: SageMaker, account: Any, batch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(sagemaker, "in/good.jsonl", b"{}\n")
    put(sagemaker, "in/short.jsonl", b"{}\n{}\n{}")
    put(sagemaker, "in/wrong.jsonl", b"{}\n")
    monkeypatch.setattr("ops.commands.batch.request.job_name", lambda *_: "the-job")
    logs = account.client("logs")
    group, stream = command.LOG_GROUP, "the-job/i-1/data-log"
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName=stream)
    event = {"timestamp": int(time.time() * 1000), "message": "in/wrong.jsonl: ClientError: 413"}
    work = sagemaker.work

    def loses_two(wanted: Any) -> None:
        work(wanted)
        sagemaker.s3.delete_object(Bucket="jobs", Key="out/the-job/wrong.jsonl.out")
        put(sagemaker, "out/the-job/short.jsonl.out", b"{}\n{}\n")
        logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=[event])

    monkeypatch.setattr(sagemaker, "work", loses_two)
    sagemaker.ends = [{"TransformJobStatus": "Failed", "FailureReason": "AlgorithmError: see"}]
    done = batch()
    assert done.status == 1
    assert "the-job: Failed: AlgorithmError: see\n" in done.out
    assert "no output of in/wrong.jsonl" in done.out
    assert "logs tail /aws/sagemaker/TransformJobs --log-stream-name-prefix the-job/" in done.out
    assert "in/short.jsonl: 3 records, 2 answers" in done.out
    assert "in/good.jsonl" not in done.out
    sagemaker.ends = [{"TransformJobStatus": "Completed"}]
    sagemaker.s3.delete_object(Bucket="jobs", Key="in/wrong.jsonl")
    assert batch().status == 1, "an answer of in/short.jsonl is still lost"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("s3://jobs/input",), "s3://jobs/input is not in s3://jobs/in/"),
        (("s3://jobs/in", "s3://jobs/in/out"), "deploy with -c batch_output="),
        (("--instance-type", "ml.g4dn.xlarge"), "for a GPU, send the records to an endpoint"),
        (("--max-payload-mb", "20", "--concurrency", "8"), "is more than 100; lower either"),
        (("--content-type", "image/png", "--strategy", "MultiRecord"), "--strategy is about lines"),
        ((), "there is no object below s3://jobs/in/"),
    ],
)
def test_what_could_not_work_is_not_started(
    sagemaker: SageMaker, batch: Callable[..., Any], arguments: tuple[str, ...], said: str
) -> None:
    done = batch(*arguments)
    assert done.status == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert sagemaker.asked == []


def test_a_record_that_is_too_long_is_found_before_it_costs(
    sagemaker: SageMaker, batch: Callable[..., Any]
) -> None:
    put(sagemaker, "in/a.jsonl", b"{}\n" + b"x" * (4 * 1024**2 + 1) + b"\n{}")
    done = batch()
    assert done.status == 2
    assert "line 2 of s3://jobs/in/a.jsonl has 4,194,305 bytes" in done.err
    assert sagemaker.asked == []
    assert batch("--max-payload-mb", "5").status == 0


def test_a_stack_without_the_keys_says_which(account: Any, batch: Callable[..., Any]) -> None:
    account.deploy({"FunctionUrl": "https://example.com/"})
    done = batch()
    assert done.status == 2
    assert "cdk deploy -c batch_input=s3://BUCKET/in -c batch_output=s3://BUCKET/out" in done.err


def test_a_record_ends_at_a_newline_only() -> None:
    data = b'abc\n\n{"error":{"code":"x"}}\nlast\r' * 1000
    body = StreamingBody(BytesIO(data), len(data))
    found = count_records(SimpleNamespace(get_object=lambda **_: {"Body": body}), "b", "k")
    assert (found.lines, found.blank, found.longest_line) == (3001, 1000, 3)
    assert found.errors == {"x": 1000}


def test_an_output_is_paired_with_one_input_however_much_of_the_path_is_kept() -> None:
    inputs = ["in/a/x.jsonl", "in/b/x.jsonl", "in/y.jsonl", "in/retry/y.jsonl"]
    outputs = ["out/job/a/x.jsonl.out", "out/job/in/b/x.jsonl.out", "out/job/y.jsonl.out"]
    assert paired(inputs, outputs, "out/job") == dict(zip(inputs, outputs))
    retried = "out/job/retry/y.jsonl.out"
    assert paired(inputs, [*outputs, retried], "out/job")["in/retry/y.jsonl"] == retried


@pytest.mark.parametrize("stack", ["A--long-" + "name" * 30, "cats-"])
def test_a_name_is_one_that_sagemaker_takes(stack: str) -> None:
    assert re.fullmatch("[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", job_name(stack, "20261122-081500"))

"""`python -m ops batch` with the real client: moto holds S3, the stack and the jobs; in the place
of SageMaker's machines, the driver of tests/batch and the real server do the work."""

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
import urllib3
from batch.records import BROKEN, records
from batch.transform import Job, ObjectFailed, Transform

from ops import faces
from ops.batch import job
from ops.batch.objects import Objects, paired
from ops.batch.request import Plan, job_name
from ops.faces import HttpFace
from ops.local import process_environment

OUTPUTS = {
    "BatchModelName": "the-model",
    "BatchInput": "s3://jobs/in/",
    "BatchOutput": "s3://jobs/out/",
}


@pytest.fixture(scope="module")
def container() -> Iterator[HttpFace]:
    """The container of a transform job."""
    environment = {**process_environment(), "WORKERS": "2", **Job(max_payload_mb=5).environment()}
    with faces.http_process(environment) as running:
        yield running


@dataclass
class SageMaker:
    """moto's, with jobs that take a while, and that do what they are asked."""

    moto: str
    s3: Any
    url: str
    ends: list[dict[str, str]] = field(default_factory=lambda: [{}])
    """What is added to each description of the job, in order."""
    asked: list[Any] = field(default_factory=list)

    def create(self, request: Any) -> Any:
        self.asked.append(json.loads(request.body))
        reply = self._moto(request)
        self._work(self.asked[-1])
        return reply

    def describe(self, request: Any) -> Any:
        status, headers, body = self._moto(request)
        end = self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]
        return status, headers, json.dumps({**json.loads(body), **end}).encode()

    def _moto(self, request: Any) -> Any:
        kept = {k: v for k, v in request.headers.items() if k not in ("host", "content-length")}
        reply = urllib3.request("POST", self.moto, headers=kept, body=request.body, retries=False)
        return reply.status, {"Content-Type": reply.headers["Content-Type"]}, reply.data

    def _work(self, wanted: Any) -> None:
        source, target = wanted["TransformInput"], wanted["TransformOutput"]
        bucket, _, prefix = (
            source["DataSource"]["S3DataSource"]["S3Uri"].removeprefix("s3://").partition("/")
        )
        transform = Transform(
            self.url,
            Job(
                content_type=source["ContentType"],
                accept=target["Accept"],
                split_type=source["SplitType"],
                batch_strategy=wanted.get("BatchStrategy"),
                max_payload_mb=wanted.get("MaxPayloadInMB"),
                max_concurrent=wanted.get("MaxConcurrentTransforms"),
                assemble_with=target["AssembleWith"],
            ),
        )
        to_bucket, _, folder = target["S3OutputPath"].removeprefix("s3://").partition("/")
        for item in self.s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]:
            key = item["Key"]
            data = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            try:
                output = transform.run(data).output
            except ObjectFailed:
                continue
            name = key.removeprefix(prefix).lstrip("/") or key.rpartition("/")[2]
            self.s3.put_object(Bucket=to_bucket, Key=f"{folder}/{name}.out", Body=output)


@pytest.fixture
def sagemaker(
    account: Any, script: Any, moto: str, container: HttpFace, monkeypatch: pytest.MonkeyPatch
) -> SageMaker:
    """A stack whose keys name the folders, and nothing in them."""
    account.deploy(OUTPUTS)
    s3 = account.client("s3")
    where = {"LocationConstraint": boto3.Session().region_name or "eu-central-1"}
    s3.create_bucket(Bucket="jobs", CreateBucketConfiguration=where)
    account.client("sagemaker").create_model(
        ModelName="the-model",
        PrimaryContainer={"Image": "an-image"},
        ExecutionRoleArn="arn:aws:iam::123456789012:role/jobs",
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", script.url)
    monkeypatch.setattr(job, "POLL_SECONDS", 0)
    running = SageMaker(moto, s3, container.url)
    script.replies["CreateTransformJob"] = running.create
    script.replies["DescribeTransformJob"] = running.describe
    return running


@pytest.fixture
def batch(account: Any, ops: Callable[..., Any]) -> Callable[..., Any]:
    """`python -m ops batch ...` of that stack."""
    return lambda *arguments: ops("batch", *arguments, "--stack", account.stack_name)


def put(sagemaker: SageMaker, key: str, body: bytes) -> None:
    sagemaker.s3.put_object(Bucket="jobs", Key=key, Body=body)


@pytest.mark.parametrize("strategy", [(), ("--strategy", "MultiRecord", "--max-payload-mb", "1")])
def test_records_in_and_answers_out(
    sagemaker: SageMaker, batch: Callable[..., Any], strategy: tuple[str, ...]
) -> None:
    data, _ = records(40)
    broken = b"".join(line + b"\n" for line, _ in BROKEN)
    put(sagemaker, "in/may/a.jsonl", data)
    put(sagemaker, "in/may/more/b.jsonl", broken)
    put(sagemaker, "in/june/c.jsonl", data)
    sagemaker.ends = [{"TransformJobStatus": "InProgress"}] * 2 + [{}]
    done = batch("s3://jobs/in/may/", *strategy)
    assert done.status == 0, done.err
    assert f"{40 + len(BROKEN)} records, {40 + len(BROKEN)} answers, 6 of them errors: " in done.out
    assert "malformed_request 4, undecodable_image 1, uri_not_allowed 1" in done.out
    (asked,) = sagemaker.asked
    assert asked["ModelName"] == "the-model"
    assert asked["TransformOutput"]["S3OutputPath"] in done.out
    assert asked.get("BatchStrategy") == (strategy[1] if strategy else None)
    described = batch("s3://jobs/in/may/", *strategy, "--json")
    assert described.status == 0
    facts = json.loads(described.out)
    assert facts["records"] == facts["answers"] == 40 + len(BROKEN)
    assert facts["without_output"] == facts["uneven"] == []


def test_a_folder_of_pictures(sagemaker: SageMaker, batch: Callable[..., Any]) -> None:
    put(sagemaker, "in/bad.jpg", b"no picture")
    done = batch("--content-type", "application/x-image", "--json")
    assert done.status == 0, done.err
    facts = json.loads(done.out)
    assert facts["records"] == facts["answers"] == 1
    assert facts["errors"] == {"undecodable_image": 1}
    (asked,) = sagemaker.asked
    assert asked["TransformInput"]["SplitType"] == "None"


def test_the_request_is_shown_and_nothing_is_started(
    sagemaker: SageMaker, batch: Callable[..., Any]
) -> None:
    done = batch("s3://jobs/in", "s3://jobs/out/x", "--dry-run", "--instances", "4")
    assert done.status == 0, done.err
    request = json.loads(done.out)
    source = request["TransformInput"]["DataSource"]["S3DataSource"]
    assert source == {"S3DataType": "S3Prefix", "S3Uri": "s3://jobs/in/"}  # not s3://jobs/input
    name = request["TransformJobName"]
    assert request["TransformOutput"]["S3OutputPath"] == f"s3://jobs/out/x/{name}"
    assert request["TransformResources"] == {"InstanceType": "ml.m5.large", "InstanceCount": 4}
    assert sagemaker.asked == []


def test_a_failure_is_told_with_what_sagemaker_logged(
    sagemaker: SageMaker, account: Any, batch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(sagemaker, "in/good.jsonl", b"{}\n")
    put(sagemaker, "in/wrong.jsonl", b"{}\n")
    monkeypatch.setattr("ops.batch.command.job_name", lambda *_: "the-job")
    logs = account.client("logs")
    group, stream = job.LOG_GROUP, "the-job/i-1/data-log"
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName=stream)
    event = {"timestamp": int(time.time() * 1000), "message": "in/wrong.jsonl: ClientError: 413"}
    work = sagemaker._work

    def loses_one(wanted: Any) -> None:
        work(wanted)
        sagemaker.s3.delete_object(Bucket="jobs", Key="out/the-job/wrong.jsonl.out")
        logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=[event])

    monkeypatch.setattr(sagemaker, "_work", loses_one)
    sagemaker.ends = [{"TransformJobStatus": "Failed", "FailureReason": "AlgorithmError: see"}]
    done = batch()
    assert done.status == 1
    assert "the-job: Failed: AlgorithmError: see\n" in done.out
    assert "no output of in/wrong.jsonl" in done.out
    assert (
        "aws logs tail /aws/sagemaker/TransformJobs --log-stream-name-prefix the-job/" in done.out
    )
    # moto keeps events for as long as AWS takes new ones: two weeks.
    assert "no output of in/good.jsonl" not in done.out


def test_a_lost_answer_is_found(
    sagemaker: SageMaker, batch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(sagemaker, "in/a.jsonl", b"{}\n{}\n{}")
    run = Transform.run

    def loses_one(self: Transform, data: bytes) -> Any:
        return run(self, data.removesuffix(b"\n{}"))

    monkeypatch.setattr(Transform, "run", loses_one)
    done = batch()
    assert done.status == 1
    assert "in/a.jsonl: 3 records, 2 answers" in done.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("s3://other/in",), "s3://other/in is not in s3://jobs/in/"),
        (("s3://jobs/input",), "deploy with -c batch_input="),
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


def test_lines_are_counted_across_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Body:
        def iter_chunks(self, _size: int) -> Any:
            return iter([b"ab", b"c\n", b"\n", b'{"err', b'or":{"code":"x"}}\nlast\r'])

    class S3:
        def get_object(self, **_: str) -> Any:
            return {"Body": Body()}

    found = Objects(S3()).records("b", "k")
    assert (found.lines, found.blank, found.longest_line) == (4, 1, 3)
    assert found.errors == {"x": 1}


def test_an_output_is_paired_with_its_input_however_much_of_the_path_is_kept() -> None:
    inputs = ["in/a/x.jsonl", "in/b/x.jsonl", "in/y.jsonl"]
    outputs = ["out/job/a/x.jsonl.out", "out/job/in/b/x.jsonl.out", "out/job/y.jsonl.out"]
    assert paired(inputs, outputs, "out/job") == dict(zip(inputs, outputs, strict=True))


@pytest.mark.parametrize("stack", ["Traffic", "A--long-" + "name" * 30, "cats-"])
def test_a_name_is_one_that_sagemaker_takes(stack: str) -> None:
    assert re.fullmatch("[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", job_name(stack, "20261122-081500"))


def test_the_request_is_one_that_botocore_knows() -> None:
    from botocore.session import get_session
    from botocore.validate import validate_parameters

    plan = Plan("j", "m", "s3://a", "s3://b", strategy="MultiRecord", concurrency=2)
    model = get_session().get_service_model("sagemaker").operation_model("CreateTransformJob")
    validate_parameters(plan.request(), model.input_shape)

"""Batch Transform's requests on the live server: no answer is lost or reordered."""

import base64
import hashlib
import json
import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

import cv2
import pytest
import simplejpeg
import urllib3

from integration.batch.transform import MB, Job, ObjectFailed, Transform
from ops import local_servers
from ops.local_servers import process_environment
from serving.core.settings import Settings
from serving.service import execution_parameters
from support.cases import PHOTOS

COUNT = int(os.environ.get("BATCH_RECORDS", "5000"))  # `make test-batch` sends 100,000
URI_LINE = b'{"uri":"gopher://pictures/00001.jpg"}\n'  # refused without a fetch
# A broken record and the code of its answer.
BROKEN = (
    (b"{}", "malformed_request"),
    (b"not json", "malformed_request"),
    (b"", "malformed_request"),  # an empty line is a record, too
    (b'{"uri": "data:image/jpeg;base64,AAAA"}', "undecodable_image"),
    (b'{"uri": "http://169.254.169.254/"}', "uri_not_allowed"),
)
EVERY = 397  # one in 397 records is broken


@dataclass(frozen=True)
class Expected:
    """The right answer of a record: its `uri` and its picture's results, or the error `code`."""

    uri: str = ""
    picture: int = -1
    code: str = ""


def pictures() -> Sequence[bytes]:
    """Return the photographs as JPEGs of 32 x 32 pixels."""
    found = []
    for path in sorted(PHOTOS.iterdir()):
        pixels = cv2.imread(str(path))
        if pixels is not None:
            small = cv2.resize(pixels, (32, 32), interpolation=cv2.INTER_AREA)
            found.append(simplejpeg.encode_jpeg(small, quality=70, colorspace="BGR"))
    return found


def records(count: int, seed: int = 7) -> tuple[bytes, Sequence[Expected]]:
    """Return an input object of `count` JSON lines, and the right answer to each."""
    choose = random.Random(seed)  # noqa: S311 - not a secret
    small = pictures()
    lines, expected = [], []
    for number in range(count):
        if number % EVERY == EVERY // 2:
            line, code = BROKEN[number // EVERY % len(BROKEN)]
            expected.append(Expected(code=code))
        else:
            picture = choose.randrange(len(small))
            # The number in a comment makes other bytes, and so another `uri`.
            comment = b"\xff\xfe\0\x0a%08d" % number
            data = small[picture][:2] + comment + small[picture][2:]
            uri = f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
            line = json.dumps({"uri": uri}).encode()
            expected.append(Expected(f"sha256:{hashlib.sha256(data).hexdigest()}", picture))
        lines.append(line + b"\n")
    return b"".join(lines), expected


@contextmanager
def running(job: Job) -> Iterator[Transform]:
    """Start the server as SageMaker does for this job; yield its driver."""
    settings = {**process_environment(), "WORKERS": "2", **job.environment()}
    with local_servers.http_process(settings) as face:
        yield Transform(face.url, job)


def check(output: bytes, expected: Sequence[Expected]) -> None:
    """Check that each record has its answer or error, in the order of the records."""
    assert output.endswith(b"\n")
    lines = output[:-1].split(b"\n")
    assert len(lines) == len(expected)
    by_picture: dict[int, Any] = {}
    for line, record in zip(lines, expected, strict=True):
        answer = json.loads(line)
        if record.code:
            assert answer["error"]["code"] == record.code
        else:
            assert answer["uri"] == record.uri
            results = by_picture.setdefault(record.picture, answer["results"])
            assert answer["results"] == results, "one picture, two answers"
    assert len(by_picture) == len(pictures())


def singly(url: str, data: bytes, count: int) -> float:
    """Return the records per second of a client that sends one after the other."""
    http = urllib3.PoolManager(retries=False)
    lines = data.split(b"\n")[:count]
    started = monotonic()
    for line in lines:
        headers = {"Content-Type": "application/json"}
        assert http.request("POST", f"{url}/invocations", headers=headers, body=line).status < 500
    return len(lines) / (monotonic() - started)


def test_every_record_has_its_answer_in_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    data, expected = records(COUNT)
    broken = Counter(record.code for record in expected if record.code)
    assert sum(broken.values()) == (COUNT + EVERY // 2) // EVERY
    assert set(broken) == {code for _, code in BROKEN}
    with running(Job()) as transform:
        assert transform.parameters["BatchStrategy"] == "SINGLE_RECORD"  # the container's default
        done = transform.run(data)
        one_by_one = singly(transform.url, data, max(200, COUNT // 50))
    check(done.output, expected)
    assert done.requests == COUNT
    with capsys.disabled():
        print(
            f"\n{COUNT:,} records in, {COUNT:,} answers out, {sum(broken.values())} of them errors "
            f"in place, {done.retries} requests tried again"
            f"\n  single record, {transform.parameters['MaxConcurrentTransforms']} at once: "
            f"{COUNT / done.seconds:.0f} records/s"
            f"\n  sent singly, one after the other: {one_by_one:.0f} records/s"
        )


def test_several_records_a_request(capsys: pytest.CaptureFixture[str]) -> None:
    count = max(1250, COUNT // 4)
    data, expected = records(count, seed=8)
    with running(Job(batch_strategy="MultiRecord", max_payload_mb=1)) as transform:
        done = transform.run(data)
    check(done.output, expected)
    assert done.requests == -(-len(data) // 1024**2), "requests are not filled"
    with capsys.disabled():
        sent = f"multi record, 1 MB a request, {done.requests} requests of {count:,} records"
        print(f"\n  {sent}: {count / done.seconds:.0f} records/s")


def test_a_job_may_send_more_than_1000_records() -> None:
    """Only the size limits a payload: 1 MB holds 28,000 of these."""
    data = URI_LINE * 30_000
    with running(Job(batch_strategy="MultiRecord", max_payload_mb=1)) as transform:
        done = transform.run(data)
    assert done.requests == 2
    assert done.output.count(b"\n") == 30_000
    assert done.output.count(b'"malformed_request"') == 30_000


def test_a_payload_that_the_job_allows_is_accepted() -> None:
    """The job's MaxPayloadInMB raises the server's limit."""
    line = b'{"uri": "' + b"x" * 5 * 1024**2 + b'"}\n'
    with running(Job(max_payload_mb=6)) as transform:
        assert transform.parameters["MaxPayloadInMB"] == 6
        assert json.loads(transform.run(line).output)["error"]["code"] == "malformed_request"


def test_a_bad_picture_does_not_fail_its_job() -> None:
    """Each picture of a folder is an object, and one failed object would fail the job."""
    job = Job(content_type="application/x-image", accept="application/json", split_type="None")
    with running(job) as transform:
        good, bad = (transform.run(data).output for data in (pictures()[0], b"no picture"))
        assert len(json.loads(good)["results"]) == 5
        assert json.loads(bad)["error"]["code"] == "undecodable_image"
        # A job that is wrong as a whole fails.
        wrong = Transform(transform.url, Job(content_type="text/csv"))
        with pytest.raises(ObjectFailed, match="unsupported_media_type"):
            wrong.run(b"1,2,3\n")


@pytest.mark.parametrize("strategy", ["SingleRecord", "MultiRecord"])
def test_blank_lines_and_a_missing_last_line_feed(strategy: Any) -> None:
    lines = [b"{}", b"", b"{}\r", b" "]
    with running(Job(batch_strategy=strategy)) as transform:
        for data in (b"\n".join(lines), b"\n".join([*lines, b""])):
            assert len(transform.run(data).output.splitlines()) == len(lines)


@pytest.mark.parametrize(
    ("workers", "body_bytes", "at_once", "payload_mb"),
    [
        (2, 4 * MB, 16, 4),
        (16, 4 * MB, 25, 4),
        (48, 4 * MB, 50, 2),
        (4, 64 * MB, 4, 25),
        (2, MB // 2, 16, 1),
    ],
)
def test_concurrent_payloads(workers: int, body_bytes: int, at_once: int, payload_mb: int) -> None:
    settings = Settings(workers=workers, max_body_bytes=body_bytes)
    assert execution_parameters(settings) == {
        "MaxConcurrentTransforms": at_once,
        "BatchStrategy": "SINGLE_RECORD",
        "MaxPayloadInMB": payload_mb,
    }
    assert at_once * payload_mb <= 100
    # With two workers or fewer, one process could get all requests, and must refuse none.
    assert workers > 2 or at_once <= settings.max_waiting


@pytest.mark.parametrize(
    ("environment", "most"),
    [
        ({"SAGEMAKER_MAX_PAYLOAD_IN_MB": "6"}, 4 * MB),
        ({"SAGEMAKER_BATCH": "true", "SAGEMAKER_MAX_PAYLOAD_IN_MB": "6"}, 6 * MB),
        ({"SAGEMAKER_BATCH": "true", "SAGEMAKER_MAX_PAYLOAD_IN_MB": "1"}, 4 * MB),
    ],
)
def test_only_a_job_may_raise_the_limit_of_a_body(environment: dict[str, str], most: int) -> None:
    settings = Settings.from_environment(environment)
    assert settings.max_body_bytes == most
    assert settings.is_transform == ("SAGEMAKER_BATCH" in environment)

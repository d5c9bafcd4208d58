"""Batch Transform's requests, on the live server: nothing is lost, reordered or moved.

`make test-batch` runs 100,000 records; BATCH_RECORDS is how many.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import monotonic
from typing import Any

import pytest
import urllib3

from batch.records import BROKEN, EVERY, Expected, pictures, records
from batch.transform import Job, ObjectFailed, Transform
from ops import faces
from ops.local import process_environment

COUNT = int(os.environ.get("BATCH_RECORDS", "5000"))
URI_LINE = b'{"uri":"gopher://pictures/00001.jpg"}\n'  # refused without a fetch or a forward


@contextmanager
def running(job: Job, **environment: str) -> Iterator[Transform]:
    """The server as SageMaker starts it for this job, and the driver of it."""
    settings = {**process_environment(), "WORKERS": "2", **job.environment(), **environment}
    with faces.http_process(settings) as face:
        yield Transform(face.url, job)


def check(output: bytes, expected: Sequence[Expected]) -> None:
    """A line for each record, in their order, each error in its record's place."""
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
    """Records a second of a client that sends one after the other."""
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
        assert transform.parameters["BatchStrategy"] == "SINGLE_RECORD"  # the container's own
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
    assert done.requests == -(-len(data) // 1024**2), "filled as far as they go"
    with capsys.disabled():
        print(
            f"\n  multi record, 1 MB a request, {done.requests} requests of {count:,} records: "
            f"{count / done.seconds:.0f} records/s"
        )


def test_a_request_of_short_lines_has_more_records_than_others_may() -> None:
    """Payloads are packed by size alone: 1 MB are 28,000 of these."""
    data = URI_LINE * 30_000
    with running(Job(batch_strategy="MultiRecord", max_payload_mb=1)) as transform:
        done = transform.run(data)
    assert done.requests == 2
    assert done.output.count(b"\n") == 30_000
    assert done.output.count(b'"malformed_request"') == 30_000
    outside = running(Job(batch_strategy="MultiRecord"), SAGEMAKER_BATCH="")
    with outside as transform, pytest.raises(ObjectFailed, match=r"413: .* are more than 1000"):
        transform.run(data)


def test_a_payload_that_the_job_allows_is_taken() -> None:
    """MaxPayloadInMB of the job is the larger one of the job's and the server's own limit."""
    line = b'{"uri": "' + b"x" * 5 * 1024**2 + b'"}\n'
    with running(Job(max_payload_mb=6)) as transform:
        assert transform.parameters["MaxPayloadInMB"] == 6
        assert json.loads(transform.run(line).output)["error"]["code"] == "malformed_request"
    with running(Job()) as announced, pytest.raises(ObjectFailed, match="larger than 4194304"):
        announced.run(line)  # refused by SageMaker: it would not send it


def test_a_bad_picture_does_not_fail_its_job() -> None:
    """Of a folder of pictures each is an object, and a job with one failure has failed."""
    pictures_only = Job(
        content_type="application/x-image", accept="application/json", split_type="None"
    )
    with running(pictures_only) as transform:
        good, bad = (transform.run(data).output for data in (pictures()[0], b"no picture"))
        assert len(json.loads(good)["results"]) == 5
        assert json.loads(bad)["error"]["code"] == "undecodable_image"
        # A job that is wrong as a whole fails all the same.
        wrong = Transform(transform.url, Job(content_type="text/csv"))
        with pytest.raises(ObjectFailed, match="unsupported_media_type"):
            wrong.run(b"1,2,3\n")


@pytest.mark.parametrize("strategy", ["SingleRecord", "MultiRecord"])
def test_whatever_ends_the_lines_and_joins_the_answers(strategy: Any) -> None:
    lines = [b"{}", b"", b"{}\r", b" "]
    with running(Job(batch_strategy=strategy)) as transform:
        for data in (b"\n".join(lines), b"\n".join([*lines, b""])):
            output = transform.run(data).output
            assert len(output.splitlines()) == len(lines)
        joined = Transform(transform.url, Job(batch_strategy=strategy, assemble_with="Line"))
        with_newlines = joined.run(b"\n".join(lines)).output
    # Every answer ends in a newline already.
    assert [line for line in with_newlines.split(b"\n") if line] == output.splitlines()


class Flaky(BaseHTTPRequestHandler):
    """Answers what `statuses` says, in order; the last for ever."""

    statuses: list[int]
    asked: list[bytes]

    def do_GET(self) -> None:
        self._reply(404 if self.path == "/execution-parameters" else 200)

    def do_POST(self) -> None:
        self.asked.append(self.rfile.read(int(self.headers["Content-Length"])))
        self._reply(self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0])

    def _reply(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("statuses", "asked"), [([503, 503, 503, 200], 4), ([503], 4), ([500, 413], 2), ([400], 1)]
)
def test_the_driver_tries_again_as_often_as_the_job_says(statuses: list[int], asked: int) -> None:
    handler = type("Handler", (Flaky,), {"statuses": [*statuses], "asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        transform = Transform(url, Job(), sleep=lambda _seconds: None)
        # A container that says nothing gets the defaults.
        assert transform.parameters["MaxPayloadInMB"] == 6
        if statuses[-1] == 200:
            assert transform.run(b"a\nb").output == b""
        else:
            with pytest.raises(ObjectFailed, match=f"^{statuses[-1]}"):
                transform.run(b"a\nb")
        server.shutdown()
    assert handler.asked == [b"a\nb"] * asked

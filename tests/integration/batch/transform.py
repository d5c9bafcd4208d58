"""Act as SageMaker Batch Transform towards a running server.

It requests `/ping` and `/execution-parameters`, splits each input object into requests, sends
several at once with retries, and joins the answers in the order of their records. As documented:

- precedence: the job's own value, the container's, the default (1, MultiRecord, 6 MB); the
  container's environment; 600 s for an answer
  https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-batch-code.html
- `SplitType`, `BatchStrategy`, `MaxPayloadInMB`
  https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_TransformInput.html
- answers are in their records' order; an object with a failed request has no output and fails the
  job, but other objects continue
  https://docs.aws.amazon.com/sagemaker/latest/dg/batch-transform.html
- `AssembleWith` is None: the answers unchanged
  https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_TransformOutput.html
- retries: 3 by default
  https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ModelClientConfig.html

Assumed, since AWS does not document it: a record keeps its newline; an MB is 1,048,576 bytes; a
missing answer and 5xx are retried, any other status except 200 is not. Not emulated: S3, several
instances, compression, RecordIO and TFRecord, chunked bodies (0 MB), filters and joins.
"""

import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from typing import Literal

import urllib3

MB = 1024**2
RETRIES, TIMEOUT_SECONDS = 3, 600
DEFAULTS = {"MaxConcurrentTransforms": 1, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 6}
STRATEGIES = {"SingleRecord": "SINGLE_RECORD", "MultiRecord": "MULTI_RECORD"}


class ObjectFailed(Exception):
    """An input object has no output; the message is the reason that the job's log would give."""


@dataclass(frozen=True)
class Job:
    """The parameters of CreateTransformJob that reach the container."""

    content_type: str = "application/jsonlines"
    accept: str = "application/jsonlines"
    split_type: Literal["None", "Line"] = "Line"
    batch_strategy: Literal["SingleRecord", "MultiRecord"] | None = None
    max_payload_mb: int | None = None

    def environment(self) -> Mapping[str, str]:
        """Return the variables of SageMaker that the container reads."""
        found = {"SAGEMAKER_BATCH": "true"}
        if self.max_payload_mb is not None:
            found["SAGEMAKER_MAX_PAYLOAD_IN_MB"] = str(self.max_payload_mb)
        return found


@dataclass
class Done:
    """One object's output and its cost."""

    output: bytes
    requests: int
    seconds: float
    retries: int = 0


@dataclass
class Transform:
    """One job against one container."""

    url: str
    job: Job
    parameters: dict[str, int | str] = field(default_factory=dict)
    _retries: int = 0

    def __post_init__(self) -> None:
        self._http = urllib3.PoolManager(retries=False, maxsize=100)
        while self._http.request("GET", f"{self.url}/ping").status != 200:
            time.sleep(0.05)  # one of two processes is ready first
        asked = self._http.request("GET", f"{self.url}/execution-parameters")
        own = {
            "BatchStrategy": self.job.batch_strategy and STRATEGIES[self.job.batch_strategy],
            "MaxPayloadInMB": self.job.max_payload_mb,
        }
        said = json.loads(asked.data) if asked.status == 200 else {}
        given = {name: value for name, value in own.items() if value}
        self.parameters = {**DEFAULTS, **said, **given}

    def run(self, data: bytes) -> Done:
        """Return the output of one input object. Raise ObjectFailed."""
        started = time.monotonic()
        self._retries = 0
        bodies = [*self.requests(data)]
        with ThreadPoolExecutor(int(self.parameters["MaxConcurrentTransforms"])) as pool:
            answers = [*pool.map(self._send, bodies)]
        return Done(b"".join(answers), len(bodies), time.monotonic() - started, self._retries)

    def requests(self, data: bytes) -> Iterator[bytes]:
        """Yield the object's requests. A record must fit into one."""
        most = int(self.parameters["MaxPayloadInMB"]) * MB
        # bytes.splitlines would also split at \r.
        records = [data] if self.job.split_type == "None" else [*BytesIO(data)]
        several = self.parameters["BatchStrategy"] == "MULTI_RECORD"
        pending: list[bytes] = []
        size = 0
        for record in records:
            if pending and not (several and size + len(record) <= most):
                yield b"".join(pending)
                pending, size = [], 0
            pending.append(record)
            size += len(record)
        if pending:
            yield b"".join(pending)

    def _send(self, body: bytes) -> bytes:
        headers = {"Content-Type": self.job.content_type, "Accept": self.job.accept}
        sent = {"headers": headers, "body": body, "timeout": TIMEOUT_SECONDS}
        said = ""
        for attempt in range(RETRIES + 1):
            if attempt:
                self._retries += 1
                time.sleep(attempt)
            try:
                reply = self._http.request("POST", f"{self.url}/invocations", **sent)
            except urllib3.exceptions.HTTPError as error:
                said = type(error).__name__
                continue
            if reply.status == 200:
                return reply.data
            said = f"{reply.status}: {reply.data[:200].decode(errors='replace')}"
            if reply.status < 500:
                break
        raise ObjectFailed(said)

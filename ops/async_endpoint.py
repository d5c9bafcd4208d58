"""Call an asynchronous endpoint: the answer goes through S3 and may take minutes."""

import time
import uuid
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ops.answers import from_failure
from ops.aws import Aws, CannotAsk, code_of, explained, split_s3
from ops.cli import Tell
from ops.inputs import JSON, Input
from ops.local_servers import HttpReply

POLL_SECONDS = 2
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpointAsync.html
INLINE_BYTES = 128_000
DEFAULT_SECONDS, LONGEST_SECONDS = 900, 3600  # AWS's limits for one request in the container


@dataclass(frozen=True)
class AsyncEndpoint:
    """Poll for an answer for at most `wait_seconds`."""

    aws: Aws
    endpoint_name: str
    input_location: str
    wait_seconds: int
    tell: Tell

    @property
    def name(self) -> str:
        return f"asynchronous endpoint {self.endpoint_name}"

    def post(self, item: Input, accept: str = JSON) -> HttpReply:
        """Send a request, by S3 if it is large, and return its reply. Raise CannotAsk."""
        started = time.perf_counter()
        s3 = self.aws.client("s3")
        limit = min(max(self.wait_seconds, DEFAULT_SECONDS), LONGEST_SECONDS)
        request: dict[str, Any] = {"ContentType": item.content_type, "Accept": accept}
        request["InvocationTimeoutSeconds"] = limit
        if len(item.body) <= INLINE_BYTES:
            request["Body"] = item.body
        else:
            request["InputLocation"] = f"{self.input_location.rstrip('/')}/{uuid.uuid4()}"
            bucket, key = split_s3(request["InputLocation"])
            with explained(f"s3:PutObject on {self.input_location}*"):
                s3.put_object(Bucket=bucket, Key=key, Body=item.body, ContentType=item.content_type)
        with explained("sagemaker:InvokeEndpointAsync"):
            client = self.aws.client("sagemaker-runtime")
            reply = client.invoke_endpoint_async(EndpointName=self.endpoint_name, **request)
        output, failure = reply["OutputLocation"], reply.get("FailureLocation")
        for waited in range(0, self.wait_seconds + 1, POLL_SECONDS):
            seconds = time.perf_counter() - started
            if (body := _read(s3, output)) is not None:
                return HttpReply(200, {}, body, seconds)
            if failure and (body := _read(s3, failure)) is not None:
                failed = from_failure(body.decode(errors="replace"))
                return HttpReply(failed.status, {}, failed.text.encode(), seconds)
            self.tell(f"queued at {self.name} for {waited} s")
            time.sleep(POLL_SECONDS)
        fix = f"look for it at {output} and in the endpoint's log, or use a longer --wait SECONDS"
        raise CannotAsk(f"no answer after {self.wait_seconds} s", fix)


def _read(s3: Any, location: str) -> bytes | None:
    """Return the object's bytes, or None if it does not exist yet. Raise CannotAsk."""
    bucket, key = split_s3(location)
    # Without s3:ListBucket, S3 denies access to an object that does not exist.
    with explained(f"s3:GetObject on {location} and s3:ListBucket on its bucket"):
        try:
            body: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except ClientError as error:
            if code_of(error) == "NoSuchKey":
                return None
            raise
    return body

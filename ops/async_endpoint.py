"""An asynchronous endpoint: request and answer go through S3, and the answer may take minutes."""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ops.answers import from_failure
from ops.aws import Aws, CannotAsk, code_of, explained, split_s3
from ops.inputs import JSON, Input
from ops.local_servers import HttpReply

POLL_SECONDS = 2
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpointAsync.html
INLINE_BYTES = 128_000
DEFAULT_SECONDS, LONGEST_SECONDS = 900, 3600  # for one request in the container


@dataclass(frozen=True)
class AsyncEndpoint:
    """Send the request, then poll for at most `wait_seconds`; `tell` gets the progress.

    A request that is too large for the call itself goes through S3.
    """

    aws: Aws
    endpoint_name: str
    input_location: str
    wait_seconds: int
    tell: Callable[[str], None]

    @property
    def name(self) -> str:
        return f"asynchronous endpoint {self.endpoint_name}"

    def post(self, item: Input, accept: str = JSON) -> HttpReply:
        """Return the reply once it is in S3. Raises CannotAsk."""
        started = time.perf_counter()
        s3 = self.aws.client("s3")
        if len(item.body) <= INLINE_BYTES:
            request: dict[str, Any] = {"Body": item.body}
        else:
            request = {"InputLocation": self._upload(s3, item)}
        limit = min(max(self.wait_seconds, DEFAULT_SECONDS), LONGEST_SECONDS)
        with explained("sagemaker:InvokeEndpointAsync"):
            reply = self.aws.client("sagemaker-runtime").invoke_endpoint_async(
                EndpointName=self.endpoint_name,
                ContentType=item.content_type,
                Accept=accept,
                InvocationTimeoutSeconds=limit,
                **request,
            )
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
        raise CannotAsk(
            f"no answer after {self.wait_seconds} s",
            f"it will be at {output}; --wait SECONDS waits longer, the endpoint's log says why",
        )

    def _upload(self, s3: Any, item: Input) -> str:
        """Upload the request and return its location. Raises CannotAsk."""
        location = f"{self.input_location.rstrip('/')}/{uuid.uuid4()}"
        bucket, key = split_s3(location)
        with explained(f"s3:PutObject on {self.input_location}*"):
            s3.put_object(Bucket=bucket, Key=key, Body=item.body, ContentType=item.content_type)
        return location


def _read(s3: Any, location: str) -> bytes | None:
    """Return the object's bytes, None while it is not there. Raises CannotAsk."""
    bucket, key = split_s3(location)
    # Without s3:ListBucket, S3 refuses an object that is not there yet.
    with explained(f"s3:GetObject on {location} and s3:ListBucket on its bucket"):
        try:
            body: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except ClientError as error:
            if code_of(error) == "NoSuchKey":
                return None
            raise
    return body

"""An asynchronous endpoint: the request goes through S3, and so does the answer, minutes later."""

import time
import uuid
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

from botocore.exceptions import ClientError

from ops.answers import Answer, from_body, from_failure
from ops.aws import AWS_ERRORS, Aws, CannotAsk, code_of, explain
from ops.local import Picture

POLL_SECONDS = 2


class AsyncEndpoint:
    """Uploads, asks and waits, at most `wait_seconds`: from no instance it takes minutes."""

    def __init__(
        self,
        aws: Aws,
        endpoint_name: str,
        input_location: str,
        *,
        wait_seconds: int,
        tell: Callable[[str], None],
    ) -> None:
        self._aws, self._endpoint_name = aws, endpoint_name
        self._input, self._wait_seconds, self._tell = input_location, wait_seconds, tell
        self.name = f"asynchronous endpoint {endpoint_name}"

    def send(self, picture: Picture) -> Answer:
        location = self._upload(picture)
        try:
            reply = self._runtime.invoke_endpoint_async(
                EndpointName=self._endpoint_name,
                InputLocation=location,
                ContentType=picture.content_type,
                Accept="application/json",
            )
        except AWS_ERRORS as error:
            raise explain(error, "sagemaker:InvokeEndpointAsync") from error
        output, failure = reply["OutputLocation"], reply.get("FailureLocation")
        for waited in self._ticks():
            if (body := self._read(output)) is not None:
                return from_body(200, body)
            if failure and (body := self._read(failure)) is not None:
                return from_failure(body.decode(errors="replace"))
            self._tell(f"queued at {self.name} for {waited} s")
        raise CannotAsk(
            f"no answer after {self._wait_seconds} s",
            f"it will be at {output}; --wait SECONDS waits longer, the endpoint's log says why",
        )

    def _upload(self, picture: Picture) -> str:
        bucket, prefix = split(self._input)
        key = f"{prefix.rstrip('/')}/{uuid.uuid4()}".lstrip("/")
        try:
            self._s3.put_object(
                Bucket=bucket, Key=key, Body=picture.body, ContentType=picture.content_type
            )
        except AWS_ERRORS as error:
            raise explain(error, f"s3:PutObject on {self._input}*") from error
        return f"s3://{bucket}/{key}"

    def _read(self, location: str) -> bytes | None:
        """The object's bytes, None while it is not there. Raises CannotAsk."""
        bucket, key = split(location)
        try:
            body: bytes = self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except AWS_ERRORS as error:
            if isinstance(error, ClientError) and code_of(error) == "NoSuchKey":
                return None
            # Without s3:ListBucket, S3 refuses an object that is not there yet.
            action = f"s3:GetObject on {location} and s3:ListBucket on its bucket"
            raise explain(error, action) from error
        return body

    def _ticks(self) -> Iterator[int]:
        for waited in range(0, self._wait_seconds + 1, POLL_SECONDS):
            yield waited
            time.sleep(POLL_SECONDS)

    @cached_property
    def _s3(self) -> Any:
        return self._aws.client("s3")

    @cached_property
    def _runtime(self) -> Any:
        return self._aws.client("sagemaker-runtime")


def split(location: str) -> tuple[str, str]:
    """Bucket and key of an s3:// URI, a key of any characters too."""
    bucket, _, key = location.removeprefix("s3://").partition("/")
    return bucket, key

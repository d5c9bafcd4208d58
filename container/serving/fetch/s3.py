"""Read objects from S3 with the role's credentials."""

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from serving.core.errors import MalformedRequest, UriFetchFailed
from serving.fetch.timeouts import CONNECT_SECONDS, MAX_CALLS, run_with_timeout

_CHUNK_BYTES = 64 * 1024
_slots = threading.BoundedSemaphore(MAX_CALLS)


class S3Client:
    """Reads objects within a time limit. Threads may share it."""

    def __init__(self, read: Callable[[Iterable[bytes]], bytes], timeout_seconds: float) -> None:
        """Take a function that joins an object's chunks and limits their size."""
        self._read, self._timeout_seconds = read, timeout_seconds
        self.boto = boto_client(timeout_seconds)

    def get(self, bucket: str, key: str) -> bytes:
        """Return the object. Raises UriFetchFailed, or MalformedRequest for invalid names."""
        bodies: list[Any] = []

        def read() -> bytes:
            body = self.boto.get_object(Bucket=bucket, Key=key)["Body"]
            bodies.append(body)
            with body:
                return self._read(body.iter_chunks(_CHUNK_BYTES))

        try:
            # botocore's own timeouts restart with every byte and every attempt.
            return run_with_timeout(read, self._timeout_seconds, _slots)
        except TimeoutError:
            for body in bodies:  # the abandoned thread then ends at the next byte
                with suppress(AttributeError):
                    body.set_socket_timeout(0.001)
            raise UriFetchFailed("S3 did not answer in time") from None
        except ClientError as error:
            raise UriFetchFailed(f"S3 answered {error.response['Error']['Code']}") from None
        except BotoCoreError as error:
            raise UriFetchFailed(f"S3: {type(error).__name__}") from None
        except UnicodeError:
            raise MalformedRequest("an s3 uri is s3://BUCKET/KEY") from None


def boto_client(timeout_seconds: float) -> Any:
    """Return a boto3 client of S3 that ignores the environment's proxies."""
    config = Config(
        connect_timeout=min(CONNECT_SECONDS, timeout_seconds),
        read_timeout=timeout_seconds,
        retries={"total_max_attempts": 2},
        max_pool_connections=MAX_CALLS,  # botocore logs a warning for each further connection
        proxies={},
    )
    return boto3.client("s3", config=config)

"""Fetch the bytes that a `uri` points to: https, http, s3 and data:, within limits.

For http and https, `URI_ALLOWLIST` must list the host, as it is looked up, and the port, and the
address must be public. Each address is checked when it is dialled, so neither a redirect nor a
second DNS answer leads to the instance's metadata, Lambda's runtime API or the VPC.
`FETCH_PRIVATE_ADDRESSES=1` lifts the rules for addresses and ports. S3 is read with the role's
rights, so only from listed buckets.

A user and password in a URI are never sent. Messages hold neither them nor a path or query.
"""

import base64
import binascii
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from serving.core.allowlist import ANY_HOST, UriAllowlist
from serving.core.errors import MalformedRequest, TooLarge, UriNotAllowed
from serving.core.settings import Settings

if TYPE_CHECKING:
    from serving.fetch.http import HttpClient
    from serving.fetch.s3 import S3Client

SCHEMES = ("https", "http", "s3", "data")


@dataclass(frozen=True)
class Fetcher:
    """Fetches URIs. Threads may share it."""

    max_bytes: int
    timeout_seconds: float
    private_addresses: bool = False
    allowlist: UriAllowlist = ANY_HOST

    @classmethod
    def from_settings(cls, settings: Settings) -> "Fetcher":
        return cls(
            settings.max_body_bytes,
            settings.fetch_timeout_seconds,
            settings.fetch_private_addresses,
            settings.uri_allowlist,
        )

    def __call__(self, uri: str) -> bytes:
        """Return the bytes at `uri`, ignoring blanks around it. Raises a ServingError."""
        uri = uri.strip()
        scheme = uri.partition(":")[0].lower()
        if scheme == "data":
            return self.read([_decode_data_uri(uri)])
        if scheme in ("http", "https"):
            return self._http.get(uri)
        if scheme == "s3":
            bucket, _, key = uri[len("s3://") :].partition("/")
            if not uri[len("s3:") :].startswith("//") or not bucket or not key:
                raise MalformedRequest("an s3 uri is s3://BUCKET/KEY")
            if bucket not in self.allowlist.buckets:
                # Don't quote the bucket: the text may hold credentials or a query.
                raise UriNotAllowed("the bucket is not in URI_ALLOWLIST")
            return self._s3.get(bucket, key)
        raise MalformedRequest(f"uri must start with one of {', '.join(f'{s}:' for s in SCHEMES)}")

    def read(self, chunks: Iterable[bytes]) -> bytes:
        """Join the chunks. Raises TooLarge beyond `max_bytes`, without reading on."""
        data = bytearray()
        for chunk in chunks:
            data += chunk
            if len(data) > self.max_bytes:
                raise TooLarge(f"what uri points to is larger than {self.max_bytes} bytes")
        return bytes(data)

    @cached_property
    def _http(self) -> "HttpClient":
        # Importing this at the top would slow the cold start of a function that fetches nothing.
        from serving.fetch.http import HttpClient

        return HttpClient(self.read, self.timeout_seconds, self.allowlist, self.private_addresses)

    @cached_property
    def _s3(self) -> "S3Client":
        from serving.fetch.s3 import S3Client

        return S3Client(self.read, self.timeout_seconds)


def _decode_data_uri(uri: str) -> bytes:
    """Decode RFC 2397's `data:[<mediatype>][;base64],<data>`."""
    header, comma, data = uri.partition(",")
    if not comma:
        raise MalformedRequest("a data uri is data:[<mediatype>][;base64],<data>")
    try:
        raw = unquote_to_bytes(data)
        if not re.search(r"; *base64 *$", header, re.IGNORECASE):
            return raw
        with suppress(binascii.Error):
            return base64.b64decode(raw, validate=True)
        # Ignore blanks, line ends and padding, as browsers do (WHATWG's Infra, 8).
        plain = raw.translate(None, b" \t\r\n\f").rstrip(b"=")
        return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
    except UnicodeEncodeError:
        raise MalformedRequest("the data uri is not valid text") from None
    except binascii.Error:
        raise MalformedRequest("the data uri is not valid base64") from None

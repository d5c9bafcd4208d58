"""The bytes behind a `uri`: https, http, s3 and data:, within limits.

One policy for both faces. An http(s) address is judged when it is dialled, on the address that is
dialled, so neither a redirect nor a second DNS answer leads to the instance's metadata, to
Lambda's runtime API or into the VPC. `FETCH_PRIVATE_ADDRESSES=1` lifts that for endpoints that are
meant to read from private hosts.
"""

import base64
import binascii
import ipaddress
import socket
import threading
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

from serving.errors import MalformedRequest, TooLarge, UriFetchFailed, UriNotAllowed
from serving.settings import Settings

if TYPE_CHECKING:
    import urllib3

SCHEMES = ("https", "http", "s3", "data")
MAX_REDIRECTS = 3
CONNECT_SECONDS = 3.0
_CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True)
class Fetcher:
    """Fetches one URI at a time; safe to share between threads."""

    max_bytes: int
    timeout_seconds: float
    private_addresses: bool = False

    @classmethod
    def from_settings(cls, settings: Settings) -> "Fetcher":
        return cls(
            max_bytes=settings.max_body_bytes,
            timeout_seconds=settings.fetch_timeout_seconds,
            private_addresses=settings.fetch_private_addresses,
        )

    def __call__(self, uri: str) -> bytes:
        """The bytes at `uri`.

        Raises MalformedRequest (no URI that we know), UriNotAllowed, TooLarge, or UriFetchFailed
        with a reason that leaves out the URI's path and query: they may be signed.
        """
        scheme = uri.partition(":")[0].lower()
        if scheme == "data":
            return self._limited([_decode_data_uri(uri)])
        if scheme in ("http", "https"):
            return self._http(uri)
        if scheme == "s3":
            return self._s3(uri)
        raise MalformedRequest(f"uri must start with one of {', '.join(f'{s}:' for s in SCHEMES)}")

    def _http(self, uri: str) -> bytes:
        with _CutOff(self.timeout_seconds) as cut_off:
            for _ in range(MAX_REDIRECTS + 1):
                found = self._get(uri, cut_off)
                if isinstance(found, bytes):
                    return found
                uri = found
        raise UriFetchFailed(f"more than {MAX_REDIRECTS} redirects")

    def _get(self, uri: str, cut_off: "_CutOff") -> bytes | str:
        """One hop: the body, or where a redirect leads."""
        # Imported where it is used, for the cold start of requests that fetch nothing.
        from urllib3.exceptions import HTTPError, SSLError

        parts = urlsplit(uri)
        if parts.scheme not in ("http", "https"):
            raise UriNotAllowed(f"a redirect to {parts.scheme}: is not followed")
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if not host:
            raise MalformedRequest("uri has no valid host")
        try:
            with self._pool(parts.scheme, host, port, cut_off) as pool:
                response = pool.request(
                    "GET",
                    (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
                    headers={"User-Agent": "image-classifier"},
                    preload_content=False,
                    redirect=False,
                    retries=False,
                )
                with closing(response):
                    if location := response.get_redirect_location():
                        target = urljoin(uri, location)
                        if parts.scheme == "https" and urlsplit(target).scheme == "http":
                            raise UriNotAllowed("a redirect from https to http is not followed")
                        return target
                    if response.status != 200:
                        raise UriFetchFailed(f"{host} answered {response.status}")
                    body = self._limited(iter(lambda: response.read1(_CHUNK_BYTES), b""))
        except SSLError as error:
            reason = getattr(error.args[0], "reason", "") or "the handshake failed"
            raise UriFetchFailed(f"TLS with {host}: {reason}") from None
        except HTTPError:
            cut_off.check(host)
            raise UriFetchFailed(f"the connection to {host} broke") from None
        except UnicodeError:
            raise MalformedRequest("uri has no valid host") from None
        cut_off.check(host)  # a body without a length ends like a whole one
        return body

    def _pool(
        self, scheme: str, host: str, port: int | None, cut_off: "_CutOff"
    ) -> "urllib3.HTTPConnectionPool":
        from urllib3 import HTTPConnectionPool, HTTPSConnectionPool

        pool_type = HTTPSConnectionPool if scheme == "https" else HTTPConnectionPool
        # Without a port, http.client would take the end of an IPv6 address for one.
        pool = pool_type(host, port or (443 if scheme == "https" else 80), maxsize=1)
        dial = self._dial

        class JudgedConnection(pool_type.ConnectionCls):  # type: ignore[misc, name-defined]
            """Looks the host up once, judges the addresses, and dials one of those."""

            def _new_conn(self) -> socket.socket:
                connection = dial(self.host, self.port)
                cut_off.watch(connection)
                return connection

        pool.ConnectionCls = JudgedConnection
        return pool

    def _dial(self, host: str, port: int) -> socket.socket:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise UriFetchFailed(f"{host} was not found") from None
        problem = ""
        for family, kind, protocol, _, address in found:
            if not self.private_addresses and not is_public(str(address[0])):
                raise UriNotAllowed(f"{host} is not a public address")
            connection = socket.socket(family, kind, protocol)
            connection.settimeout(min(CONNECT_SECONDS, self.timeout_seconds))
            try:
                connection.connect(address)
            except OSError as error:
                connection.close()
                problem = error.strerror or str(error)
            else:
                connection.settimeout(self.timeout_seconds)
                return connection
        raise UriFetchFailed(f"{host} did not accept a connection: {problem}")

    def _s3(self, uri: str) -> bytes:
        from botocore.exceptions import BotoCoreError, ClientError

        bucket, _, key = uri[len("s3://") :].partition("/")
        if not uri[len("s3:") :].startswith("//") or not bucket or not key:
            raise MalformedRequest("an s3 uri is s3://BUCKET/KEY")
        try:
            body = s3_client(self.timeout_seconds).get_object(Bucket=bucket, Key=key)["Body"]
            with body:
                return self._limited(body.iter_chunks(_CHUNK_BYTES))
        except ClientError as error:
            raise UriFetchFailed(f"S3 answered {error.response['Error']['Code']}") from None
        except BotoCoreError as error:
            raise UriFetchFailed(f"S3: {type(error).__name__}") from None

    def _limited(self, chunks: Iterable[bytes]) -> bytes:
        data = bytearray()
        for chunk in chunks:
            data += chunk
            if len(data) > self.max_bytes:
                raise TooLarge(f"what uri points to is larger than {self.max_bytes} bytes")
        return bytes(data)


def s3_client(timeout_seconds: float) -> Any:
    """A client with the role's credentials. boto3 is imported here: it costs 190 ms."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        config=Config(
            connect_timeout=min(CONNECT_SECONDS, timeout_seconds),
            read_timeout=timeout_seconds,
            retries={"total_max_attempts": 2},
        ),
    )


def is_public(address: str) -> bool:
    """Whether an IP address is global unicast, also inside IPv6 forms that carry IPv4."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo and ip.teredo[1])
        nat64 = ip in ipaddress.ip_network("64:ff9b::/96")
        if inner or nat64 or int(ip) < 1 << 32:
            return False
    return ip.is_global and not ip.is_multicast


class _CutOff:
    """Ends a fetch when its time is over, however slowly the other side trickles.

    Timeouts of a socket start anew with every byte, so the connection is shut down from outside.
    """

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._watched: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> "_CutOff":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        for connection in self._watched:
            connection.close()

    def watch(self, connection: socket.socket) -> None:
        self._watched.append(connection.dup())  # TLS takes the connection itself over

    def check(self, host: str) -> None:
        """Raises UriFetchFailed if the time is over."""
        if time.monotonic() >= self._deadline:
            raise UriFetchFailed(f"{host} did not answer in time")

    def _cut(self) -> None:
        for connection in self._watched:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def _decode_data_uri(uri: str) -> bytes:
    """RFC 2397: `data:[<mediatype>][;base64],<data>`."""
    header, comma, data = uri.partition(",")
    if not comma:
        raise MalformedRequest("a data uri is data:[<mediatype>][;base64],<data>")
    raw = unquote_to_bytes(data)
    if not header.lower().endswith(";base64"):
        return raw
    try:
        return base64.b64decode(raw, validate=True)
    except binascii.Error:
        raise MalformedRequest("the data uri is not valid base64") from None

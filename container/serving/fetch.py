"""The bytes behind a `uri`: https, http, s3 and data:, within limits.

One policy for both faces. An http(s) address is judged when it is dialled, on the address that is
dialled, so neither a redirect nor a second DNS answer leads to the instance's metadata, to
Lambda's runtime API or into the VPC. `FETCH_PRIVATE_ADDRESSES=1` lifts that for endpoints that are
meant to read from private hosts. Before that the host's name is held to `URI_ALLOWLIST`, in the
spelling that would be looked up. S3 is read with the role's own rights, so only buckets that are
named there are.
"""

import base64
import binascii
import ipaddress
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

from serving.errors import MalformedRequest, TooLarge, UriFetchFailed, UriNotAllowed
from serving.settings import ANY_HOST, Settings, UriAllowlist

if TYPE_CHECKING:
    import ssl

    import urllib3

SCHEMES = ("https", "http", "s3", "data")
MAX_REDIRECTS = 3
CONNECT_SECONDS = 3.0
_CHUNK_BYTES = 64 * 1024
_S3_CONNECTIONS = 64  # that may be kept: botocore warns of each beyond


@dataclass(frozen=True)
class Fetcher:
    """Fetches one URI at a time; safe to share between threads."""

    max_bytes: int
    timeout_seconds: float
    private_addresses: bool = False
    allowlist: UriAllowlist = ANY_HOST

    @classmethod
    def from_settings(cls, settings: Settings) -> "Fetcher":
        return cls(
            max_bytes=settings.max_body_bytes,
            timeout_seconds=settings.fetch_timeout_seconds,
            private_addresses=settings.fetch_private_addresses,
            allowlist=settings.uri_allowlist,
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

        try:
            parts = urlsplit(uri)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise MalformedRequest("uri is not valid") from None
        if parts.scheme not in ("http", "https"):
            raise UriNotAllowed(f"a redirect to {parts.scheme}: is not followed")
        if not host:
            raise MalformedRequest("uri has no valid host")
        try:
            with self._pool(parts.scheme, host, port, cut_off) as pool:
                response = pool.request(
                    "GET",
                    (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
                    headers={"User-Agent": "image-classifier"},
                    preload_content=False,
                    decode_content=False,
                    redirect=False,
                    retries=False,
                )
                with closing(response):
                    if location := response.get_redirect_location():
                        return _redirected(uri, location)
                    if response.status != 200:
                        raise UriFetchFailed(f"{host} answered {response.status}")
                    if response.headers.get("content-encoding", "identity") != "identity":
                        raise UriFetchFailed(f"{host} sent a compressed body")
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

        # Without a port, http.client would take the end of an IPv6 address for one.
        pool: HTTPConnectionPool
        if scheme == "https":
            pool = HTTPSConnectionPool(host, port or 443, maxsize=1, ssl_context=self._tls)
        else:
            pool = HTTPConnectionPool(host, port or 80, maxsize=1)
        dial = partial(self._dial, cut_off)

        class JudgedConnection(type(pool).ConnectionCls):  # type: ignore[misc]
            """Judges the host, looks it up once, judges its addresses, and dials one of those."""

            def _new_conn(self) -> socket.socket:
                return dial(self.host, self.port)

        pool.ConnectionCls = JudgedConnection
        return pool

    def _dial(self, cut_off: "_CutOff", host: str, port: int) -> socket.socket:
        if not self.allowlist.allows_host(host):
            raise UriNotAllowed(f"{host} is not in URI_ALLOWLIST")
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise UriFetchFailed(f"{host} was not found") from None
        problem = ""
        for family, kind, protocol, _, address in found:
            if not self.private_addresses and not is_public(str(address[0])):
                raise UriNotAllowed(f"{host} is not a public address")
            connection = socket.socket(family, kind, protocol)
            connection.settimeout(min(CONNECT_SECONDS, cut_off.remaining_seconds))
            try:
                cut_off.watch(connection)
                connection.connect(address)
            except OSError as error:
                connection.close()
                cut_off.check(host)
                problem = error.strerror or str(error)
            else:
                connection.settimeout(None)  # the cut-off bounds the rest
                return connection
        raise UriFetchFailed(f"{host} did not accept a connection: {problem}")

    def _s3(self, uri: str) -> bytes:
        bucket, _, key = uri[len("s3://") :].partition("/")
        if not uri[len("s3:") :].startswith("//") or not bucket or not key:
            raise MalformedRequest("an s3 uri is s3://BUCKET/KEY")
        if not self.allowlist.allows_bucket(bucket):
            # Not echoed: what stands in its place may hold credentials or a query.
            raise UriNotAllowed("the bucket is not in URI_ALLOWLIST")
        from botocore.exceptions import BotoCoreError, ClientError

        deadline = time.monotonic() + self.timeout_seconds
        try:
            body = self._s3_client.get_object(Bucket=bucket, Key=key)["Body"]
            with body:
                return self._limited(_until(deadline, body.iter_chunks(_CHUNK_BYTES)))
        except ClientError as error:
            raise UriFetchFailed(f"S3 answered {error.response['Error']['Code']}") from None
        except BotoCoreError as error:
            raise UriFetchFailed(f"S3: {type(error).__name__}") from None
        except UnicodeError:
            raise MalformedRequest("an s3 uri is s3://BUCKET/KEY") from None

    @cached_property
    def _tls(self) -> "ssl.SSLContext":
        """One for all fetches: reading the authorities takes three times as long as a forward."""
        from urllib3.util.ssl_ import create_urllib3_context

        context = create_urllib3_context()
        context.load_default_certs()
        return context

    @cached_property
    def _s3_client(self) -> Any:
        """One for all fetches: likewise, and it keeps its connections."""
        return s3_client(self.timeout_seconds)

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
            max_pool_connections=_S3_CONNECTIONS,
        ),
    )


# IPv6 ranges of which an address can stand for any IPv4 one: compatible, mapped, translated
# (RFC 2765, 6052, 8215), Teredo, 6to4; and the old site-local range.
_CARRIES_IPV4 = [
    ipaddress.ip_network(text)
    for text in (
        "::/96",
        "::ffff:0:0/96",
        "::ffff:0:0:0/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2001::/32",
        "2002::/16",
        "fec0::/10",
    )
]


def is_public(address: str) -> bool:
    """Whether an IP address is global unicast, also inside IPv6 forms that carry IPv4."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if any(ip in network for network in _CARRIES_IPV4 if network.version == ip.version):
        return False
    return ip.is_global and not ip.is_multicast


class _CutOff:
    """Ends a fetch when its time is over, however slowly the other side trickles.

    Timeouts of a socket start anew with every byte, so the connection is shut down from outside.
    """

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._watched: list[socket.socket] = []
        self._over = False
        self._lock = threading.Lock()
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
        """Have the connection cut at the deadline. Raises TimeoutError if that has passed."""
        with self._lock:
            self._watched.append(connection.dup())  # TLS takes the connection itself over
            if self._over:
                raise TimeoutError

    @property
    def remaining_seconds(self) -> float:
        """At least a moment: 0 would be a socket that does not wait."""
        return max(0.001, self._deadline - time.monotonic())

    def check(self, host: str) -> None:
        """Raises UriFetchFailed if the time is over."""
        if time.monotonic() >= self._deadline:
            raise UriFetchFailed(f"{host} did not answer in time")

    def _cut(self) -> None:
        with self._lock:
            self._over = True
            for connection in self._watched:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


def _redirected(uri: str, location: str) -> str:
    """Where a redirect leads. Raises UriNotAllowed, or UriFetchFailed for no address at all."""
    try:
        target = urljoin(uri, location)
        scheme = urlsplit(target).scheme
    except ValueError:
        raise UriFetchFailed("a redirect leads to no valid address") from None
    if uri[:6].lower() == "https:" and scheme == "http":
        raise UriNotAllowed("a redirect from https to http is not followed")
    return target


def _until(deadline: float, chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        if time.monotonic() > deadline:
            raise UriFetchFailed("S3 did not answer in time")
        yield chunk


def _decode_data_uri(uri: str) -> bytes:
    """RFC 2397: `data:[<mediatype>][;base64],<data>`."""
    header, comma, data = uri.partition(",")
    if not comma:
        raise MalformedRequest("a data uri is data:[<mediatype>][;base64],<data>")
    try:
        raw = unquote_to_bytes(data)
    except UnicodeEncodeError:
        raise MalformedRequest("the data uri is not valid text") from None
    if not header.lower().endswith(";base64"):
        return raw
    try:
        return base64.b64decode(raw, validate=True)
    except binascii.Error:
        raise MalformedRequest("the data uri is not valid base64") from None

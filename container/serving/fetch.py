"""The bytes behind a `uri`: https, http, s3 and data:, within limits.

One policy for both faces. An http(s) address is judged when it is dialled, on the address that is
dialled, so neither a redirect nor a second DNS answer leads to the instance's metadata, to
Lambda's runtime API or into the VPC. Before that the host's name, in the spelling that would be
looked up, and the port are held to `URI_ALLOWLIST`: ports 80 and 443, and those that it names.
`FETCH_PRIVATE_ADDRESSES=1` lifts the rules of addresses and of ports, for endpoints that are meant
to read from private hosts. S3 is read with the role's own rights, so only buckets that are named
in the list are.

A user and a password before the host are never sent, and no message has them: nor does one have a
path or a query, which may be signed.
"""

import base64
import binascii
import socket
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

from serving.errors import MalformedRequest, TooLarge, UriFetchFailed, UriNotAllowed
from serving.settings import ANY_HOST, WEB_PORTS, Settings, UriAllowlist

if TYPE_CHECKING:
    import ssl

    import urllib3

    from serving.deadline import Aside, CutOff

SCHEMES = ("https", "http", "s3", "data")
MAX_REDIRECTS = 3
CONNECT_SECONDS = 3.0
# Of the whole time, how long a host may be silent: before its first byte, or between two.
PATIENCE = 0.5
# The longest name in DNS, and so the most of a URI that a message repeats. RFC 1035, 2.3.4.
MAX_HOST_LENGTH = 253
# Threads of one process that wait for a name server, or for S3. More than fetches can be under way
# with the default settings, so only those that hang after they were given up fill them.
ASIDE = 64
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
        # Here and below, imported where it is used, for the cold start of what fetches nothing.
        from serving.deadline import CutOff

        with CutOff(self.timeout_seconds) as cut_off:
            for hop in range(MAX_REDIRECTS + 1):
                try:
                    found = self._get(uri, cut_off)
                except MalformedRequest:
                    if hop:
                        raise UriFetchFailed("a redirect leads to no valid address") from None
                    raise
                if isinstance(found, bytes):
                    return found
                uri = found
        raise UriFetchFailed(f"more than {MAX_REDIRECTS} redirects")

    def _get(self, uri: str, cut_off: "CutOff") -> bytes | str:
        """One hop: the body, or where a redirect leads."""
        from urllib3 import Timeout
        from urllib3.exceptions import HTTPError, LocationParseError, ReadTimeoutError, SSLError

        try:
            parts = urlsplit(uri)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise MalformedRequest("uri is not valid") from None
        if parts.scheme not in ("http", "https"):
            raise UriNotAllowed(f"a redirect to {parts.scheme}: is not followed")
        if not host or len(host) > MAX_HOST_LENGTH:
            raise MalformedRequest("uri has no valid host")
        try:
            with self._pool(parts.scheme, host, port, cut_off) as pool:
                response = pool.request(
                    "GET",
                    (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
                    headers={"User-Agent": "image-classifier", "Accept-Encoding": "identity"},
                    timeout=Timeout(read=self._patience_seconds),
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
                    if response.headers.get("content-encoding", "identity").lower() != "identity":
                        raise UriFetchFailed(f"{host} sent a compressed body")
                    body = self._limited(iter(lambda: response.read1(_CHUNK_BYTES), b""))
        except SSLError as error:
            reason = getattr(error.args[0], "reason", "") or "the handshake failed"
            raise UriFetchFailed(f"TLS with {host}: {reason}") from None
        except (LocationParseError, UnicodeError):
            raise MalformedRequest("uri has no valid host") from None
        except ReadTimeoutError:
            raise UriFetchFailed(f"{host} did not answer in time") from None
        except HTTPError:
            cut_off.check(host)
            raise UriFetchFailed(f"the connection to {host} broke") from None
        cut_off.check(host)  # a body without a length ends like a whole one
        return body

    def _pool(
        self, scheme: str, host: str, port: int | None, cut_off: "CutOff"
    ) -> "urllib3.HTTPConnectionPool":
        from urllib3 import HTTPConnectionPool, HTTPSConnectionPool

        # Without a port, http.client would take the end of an IPv6 address for one.
        pool: HTTPConnectionPool
        if scheme == "https":
            port = 443 if port is None else port
            pool = HTTPSConnectionPool(host, port, maxsize=1, ssl_context=self._tls)
        else:
            pool = HTTPConnectionPool(host, 80 if port is None else port, maxsize=1)
        dial = partial(self._dial, cut_off)

        class JudgedConnection(type(pool).ConnectionCls):  # type: ignore[misc]
            """Judges the host, looks it up once, judges its addresses, and dials one of those."""

            def _new_conn(self) -> socket.socket:
                return dial(self.host, self.port)

        pool.ConnectionCls = JudgedConnection
        return pool

    def _dial(self, cut_off: "CutOff", host: str, port: int) -> socket.socket:
        from serving.addresses import is_public

        if not self.allowlist.allows_host(host, port, any_port=self.private_addresses):
            usual = port in WEB_PORTS or self.private_addresses
            refused = host if usual else f"port {port} of {host}"
            raise UriNotAllowed(f"{refused} is not in URI_ALLOWLIST")
        look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        try:
            found = self._lookups(cut_off.remaining_seconds, look_up)
        except TimeoutError:
            raise UriFetchFailed(f"{host} was not found in time") from None
        except (OSError, ValueError):  # a ValueError of what no name server could be asked
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
                connection.settimeout(self._patience_seconds)  # the cut-off bounds the whole
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

        bodies: list[Any] = []

        def read() -> bytes:
            body = self._s3_client.get_object(Bucket=bucket, Key=key)["Body"]
            bodies.append(body)
            with body:
                return self._limited(body.iter_chunks(_CHUNK_BYTES))

        try:
            # botocore's timeouts start anew with every byte and every attempt.
            return self._s3_reads(self.timeout_seconds, read)
        except TimeoutError:
            for body in bodies:  # it trickles: its thread ends with the next byte
                with suppress(AttributeError):
                    body.set_socket_timeout(0.001)
            raise UriFetchFailed("S3 did not answer in time") from None
        except ClientError as error:
            raise UriFetchFailed(f"S3 answered {error.response['Error']['Code']}") from None
        except BotoCoreError as error:
            raise UriFetchFailed(f"S3: {type(error).__name__}") from None
        except UnicodeError:
            raise MalformedRequest("an s3 uri is s3://BUCKET/KEY") from None

    @property
    def _patience_seconds(self) -> float:
        return PATIENCE * self.timeout_seconds

    @cached_property
    def _lookups(self) -> "Aside":
        from serving.deadline import Aside

        return Aside(ASIDE)

    @cached_property
    def _s3_reads(self) -> "Aside":
        """Apart from the above: a name server that hangs is no reason to read nothing from S3."""
        from serving.deadline import Aside

        return Aside(ASIDE)

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
            proxies={},  # none of the environment, as for http
        ),
    )


def _redirected(uri: str, location: str) -> str:
    """Where a redirect leads. Raises UriNotAllowed, or UriFetchFailed for no address at all."""
    try:
        target = urljoin(uri, location)
        downgrade = (urlsplit(uri).scheme, urlsplit(target).scheme) == ("https", "http")
    except ValueError:
        raise UriFetchFailed("a redirect leads to no valid address") from None
    if downgrade:
        raise UriNotAllowed("a redirect from https to http is not followed")
    return target


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

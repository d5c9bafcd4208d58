"""Fetch over http and https. Each address is checked when it is dialled."""

import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from serving.core.allowlist import WEB_PORTS, UriAllowlist
from serving.core.contract import compression_in
from serving.core.errors import MalformedRequest, UriFetchFailed, UriNotAllowed
from serving.fetch.timeouts import CONNECT_SECONDS, MAX_CALLS, run_with_timeout

MAX_REDIRECTS = 3
_SILENCE = 0.5  # a host may be silent for this share of the timeout
_MAX_HOST_LENGTH = 253  # RFC 1035, 2.3.4
_CHUNK_BYTES = 64 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
# Networks that some release of Python's `is_global` accepts, although IANA's registries do not call
# them public or they carry another address.
# https://www.iana.org/assignments/iana-ipv4-special-registry
# https://www.iana.org/assignments/iana-ipv6-special-registry
_REFUSED = [
    ipaddress.ip_network("192.0.0.0/24"),  # protocol assignments
    ipaddress.ip_network("192.88.99.0/24"),  # 6to4 relays
    ipaddress.ip_network("2001::/23"),  # protocol assignments, Teredo
    ipaddress.ip_network("2002::/16"),  # 6to4, which carries an IPv4 address
    ipaddress.ip_network("3fff::/20"),  # documentation
]
# All public IPv6 addresses. Other networks are local or carry an IPv4 address: compatible, mapped
# or translated ones (RFC 2765, 6052, 8215).
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")

_slots = threading.BoundedSemaphore(MAX_CALLS)


def is_public(address: str) -> bool:
    """Return whether an IP address, with or without a zone, is public and carries no other."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if any(ip in network for network in _REFUSED if network.version == ip.version):
        return False
    if ip.version == 6 and ip not in _GLOBAL_UNICAST:
        return False
    return ip.is_global and not ip.is_multicast


class _Fetch:
    """The connections of a fetch, which another thread may abandon."""

    def __init__(self) -> None:
        self.late = "the fetch did not begin in time"  # the message if the time ends now
        self.connections: list[socket.socket] = []
        self._is_abandoned = False

    def watch(self, connection: socket.socket) -> None:
        """Let `abandon` end the connection. Raises TimeoutError if it was called before."""
        self.connections.append(connection.dup())  # TLS takes over the connection itself
        if self._is_abandoned:
            raise TimeoutError

    def abandon(self) -> None:
        self._is_abandoned = True
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@dataclass
class HttpClient:
    """Fetches over http and https. Threads may share it."""

    read: Callable[[Iterable[bytes]], bytes]  # joins a body's chunks and limits their size
    timeout_seconds: float
    allowlist: UriAllowlist
    private_addresses: bool

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        # Reading the authorities takes three times as long as a forward, so fetches share this.
        return ssl.create_default_context()

    def get(self, uri: str) -> bytes:
        """Return the body at `uri`, after up to MAX_REDIRECTS redirects. Raises a ServingError."""
        fetch = _Fetch()
        try:
            # A socket's timeout restarts with every byte, and a DNS look-up has none.
            follow = partial(self._follow, uri, fetch)
            return run_with_timeout(follow, self.timeout_seconds, _slots)
        except TimeoutError:
            fetch.abandon()
            raise UriFetchFailed(fetch.late) from None

    def _follow(self, uri: str, fetch: _Fetch) -> bytes:
        try:
            for hop in range(MAX_REDIRECTS + 1):
                try:
                    found = self._get(uri, fetch)
                except MalformedRequest:
                    if hop:
                        raise UriFetchFailed("a redirect leads to no valid address") from None
                    raise
                if isinstance(found, bytes):
                    return found
                uri = found
        finally:
            for connection in fetch.connections:
                connection.close()
        raise UriFetchFailed(f"more than {MAX_REDIRECTS} redirects")

    def _get(self, uri: str, fetch: _Fetch) -> bytes | str:
        """Return the body, or the target of a redirect."""
        try:
            parts = urlsplit(uri)
            host, port = (parts.hostname or "").rstrip("."), parts.port
        except ValueError:
            raise MalformedRequest("uri is not valid") from None
        if parts.scheme not in ("http", "https"):
            raise UriNotAllowed(f"a redirect to {parts.scheme}: is not followed")
        if not host or len(host) > _MAX_HOST_LENGTH:
            raise MalformedRequest("uri has no valid host")
        host = _in_ascii(host)
        try:
            with closing(self._connect(parts.scheme, host, port, fetch)) as connection:
                headers = {"User-Agent": "image-classifier"}
                connection.request("GET", _target(parts), headers=headers)
                with connection.getresponse() as response:
                    location = response.headers.get("location")
                    if location and response.status in _REDIRECTS:
                        return _redirected(uri, location)
                    if response.status != 200:
                        raise UriFetchFailed(f"{host} answered {response.status}")
                    if compression_in(response.headers.get("content-encoding", "")):
                        raise UriFetchFailed(f"{host} sent a compressed body")
                    body = self.read(iter(lambda: response.read1(_CHUNK_BYTES), b""))
                    length = response.headers.get("content-length", "")
                    is_chunked = "transfer-encoding" in response.headers
        except (OSError, HTTPException) as error:
            if isinstance(error, TimeoutError):
                raise UriFetchFailed(f"{host} did not answer in time") from None
            if isinstance(error, ssl.SSLError):
                reason = error.reason or "the handshake failed"
                raise UriFetchFailed(f"TLS with {host}: {reason}") from None
            raise UriFetchFailed(f"the connection to {host} broke") from None
        if length and not is_chunked and length.strip() != str(len(body)):
            raise UriFetchFailed(f"the connection to {host} broke")
        return body

    def _connect(self, scheme: str, host: str, port: int | None, fetch: _Fetch) -> HTTPConnection:
        """Return a connection over a checked socket. http.client would look the host up again."""
        is_tls = scheme == "https"
        port = (443 if is_tls else 80) if port is None else port
        dialled = self._dial(host, port, fetch)
        try:
            connection = HTTPConnection(host, port)
            if is_tls:
                dialled = self._tls.wrap_socket(dialled, server_hostname=host)
                connection = HTTPSConnection(host, port, context=self._tls)
        except BaseException:
            dialled.close()
            raise
        connection.sock = dialled
        return connection

    def _dial(self, host: str, port: int, fetch: _Fetch) -> socket.socket:
        """Look the host up once, check its addresses, and connect to the first that accepts."""
        if not self.allowlist.allows_host(host, port, any_port=self.private_addresses):
            is_usual_port = port in WEB_PORTS or self.private_addresses
            refused = host if is_usual_port else f"port {port} of {host}"
            raise UriNotAllowed(f"{refused} is not in URI_ALLOWLIST")
        fetch.late = f"{host} was not found in time"
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, ValueError):  # a ValueError if the text cannot be a host name
            raise UriFetchFailed(f"{host} was not found") from None
        fetch.late = f"{host} did not answer in time"
        problem = ""
        for family, kind, protocol, _, address in found:
            if not self.private_addresses and not is_public(str(address[0])):
                raise UriNotAllowed(f"{host} is not a public address")
            connection = socket.socket(family, kind, protocol)
            connection.settimeout(CONNECT_SECONDS)
            try:
                fetch.watch(connection)
                connection.connect(address)
            except OSError as error:
                connection.close()
                problem = error.strerror or str(error)
            else:
                connection.settimeout(_SILENCE * self.timeout_seconds)
                return connection
        raise UriFetchFailed(f"{host} did not accept a connection: {problem}")


def _in_ascii(host: str) -> str:
    """Return a host name in the form that is looked up. Raises MalformedRequest."""
    if host.isascii():
        return host
    import idna

    def encode(label: str) -> str:
        return idna.encode(label, strict=True, std3_rules=True).decode()

    try:
        return ".".join(x if x.isascii() else encode(x) for x in host.split("."))
    except UnicodeError:
        raise MalformedRequest("uri has no valid host") from None


def _target(parts: SplitResult) -> str:
    """Return path and query, encoded for a request line."""
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    safe = "/?%!$&'()*+,;=:@"
    return quote(_LONE_PERCENT.sub("%25", target), safe=safe, errors="surrogatepass")


def _redirected(uri: str, location: str) -> str:
    """Return the target of a redirect. Raises UriNotAllowed or UriFetchFailed."""
    try:
        target = urljoin(uri, location)
        downgrade = (urlsplit(uri).scheme, urlsplit(target).scheme) == ("https", "http")
    except ValueError:
        raise UriFetchFailed("a redirect leads to no valid address") from None
    if downgrade:
        raise UriNotAllowed("a redirect from https to http is not followed")
    return target

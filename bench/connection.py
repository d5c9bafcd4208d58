"""A target, and a connection to it that has one request on its way."""

import re
import selectors
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

SILENCE_SECONDS = 30
_SEND_BUFFER_BYTES = 1 << 20  # no send may block
_RECEIVE_BYTES = 1 << 18
_FIELD = re.compile(rb"^([^:\r\n]+):[ \t]*([^\r\n]*?)[ \t]*\r$", re.MULTILINE)


class Broken(Exception):
    """A connection that ended before its answer was whole."""


class Reply(NamedTuple):
    status: int
    body: bytes
    retry_after: str  # the header's text, empty where there is none


@dataclass(frozen=True)
class Target:
    """Where requests go. `headers` are whole lines, such as `Authorization: Bearer x`."""

    url: str
    headers: Sequence[str] = ()

    def request(self, body: bytes, content_type: str = "image/jpeg") -> bytes:
        parts = urlsplit(self.url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = (
            f"POST {path} HTTP/1.1",
            f"Host: {parts.netloc.rpartition('@')[2]}",
            f"Content-Type: {content_type}",
            f"Content-Length: {len(body)}",
            *self.headers,
        )
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    def connect(self) -> socket.socket:
        """Raises OSError, and ValueError where `url` is none."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{self.url!r} is not an http or https URL")
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        opened = socket.create_connection((parts.hostname, port), SILENCE_SECONDS)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        if parts.scheme == "https":
            return ssl.create_default_context().wrap_socket(opened, server_hostname=parts.hostname)
        return opened


class Connection:
    """Kept alive while the server keeps it, and opened again when it did not."""

    def __init__(self, target: Target, selector: selectors.BaseSelector) -> None:
        self._target, self._selector = target, selector
        self._socket: socket.socket | None = None
        self._received = bytearray()

    def send(self, request: bytes) -> None:
        """Raises Broken, and what `Target.connect` raises."""
        self.sent = time.perf_counter()
        if self._socket is None:
            self._socket = self._target.connect()
            self._selector.register(self._socket, selectors.EVENT_READ, self)
        try:
            self._socket.setblocking(True)
            self._socket.sendall(request)
            self._socket.setblocking(False)
        except OSError as error:
            self.close()
            raise Broken(str(error)) from None

    def receive(self) -> Reply | None:
        """The reply, once all of it is here. Raises Broken."""
        data = self._read()
        if data is None:
            return None
        self._received += data
        reply, closes = _parse(self._received, ended=not data)
        if reply is None and not data:
            self.close()
            raise Broken(f"it ended after {bytes(self._received[:200])!r}")
        if reply is not None:
            self._received.clear()
            if closes or not data:
                self.close()
        return reply

    def close(self) -> None:
        if self._socket:
            self._selector.unregister(self._socket)
            self._socket.close()
        self._socket = None

    def _read(self) -> bytes | None:
        """What has come: nothing at the connection's end, None when it is only TLS's own."""
        assert self._socket  # noqa: S101 - only what was registered is selected
        try:
            data = self._socket.recv(_RECEIVE_BYTES)
            while isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
                data += self._socket.recv(_RECEIVE_BYTES)
            return data
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
        except OSError:
            return b""


def _parse(received: bytearray, ended: bool) -> tuple[Reply | None, bool]:
    """The reply, if it is whole, and whether the server closes the connection after it."""
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return None, False
    fields = {name.lower(): value for name, value in _FIELD.findall(bytes(head) + b"\r")}
    whole: bytes | None
    if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
        whole = _unchunk(body)
    elif b"content-length" in fields:
        length = int(fields[b"content-length"])
        whole = bytes(body) if len(body) >= length else None
    else:
        whole = bytes(body) if ended else None  # its end is the connection's
    if whole is None:
        return None, False
    connection = fields.get(b"connection", b"").lower()
    closes = connection == b"close" or (head[:8] == b"HTTP/1.0" and connection != b"keep-alive")
    return Reply(int(head[9:12]), whole, fields.get(b"retry-after", b"").decode()), closes


def _unchunk(body: bytearray) -> bytes | None:
    """RFC 9112, section 7.1, without trailers; None while it is incomplete."""
    whole, rest = b"", bytes(body)
    while True:
        size, end, rest = rest.partition(b"\r\n")
        if not end:
            return None
        length = int(size.split(b";")[0], 16)
        if len(rest) < length + 2:
            return None
        if not length:
            return whole
        whole, rest = whole + rest[:length], rest[length + 2 :]

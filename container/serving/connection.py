"""A peer of the HTTP server, and its request as far as it has come."""

import errno
import select
import socket
import time
from contextlib import suppress
from io import BytesIO
from typing import Any

from gunicorn.http.parser import RequestParser
from gunicorn.workers.gthread import TConn

from serving.incoming import Incoming

RECEIVE_BYTES = 128 * 1024

_NEXT_BYTES_MILLISECONDS = 5  # a thread waits so long before it gives a connection back
_AT_ONCE_SECONDS = 0.05  # and for as long as bytes come


class Connection(TConn):
    """A connection that never waits for its peer, but for `_NEXT_BYTES_MILLISECONDS`."""

    def __init__(self, config: Any, peer: socket.socket, client: Any, max_body_bytes: int) -> None:
        super().__init__(config, peer, client, peer.getsockname())
        self.parser = RequestParser(config, [], client)
        self.data_ready = True  # for the stock worker, which would wait for a first byte
        self.incoming = Incoming(max_body_bytes)
        self.unsent = b""
        self.keep_alive = False  # once that is sent
        self.since = 0.0  # when the main loop began to wait for the peer
        self.until = 0.0  # when the peer must have done what is waited for
        self.head_until = 0.0
        self._max_body_bytes = max_body_bytes
        self._told_to_continue = False

    def receive(self) -> bool:
        """Take what has arrived. False if nothing has; raises OSError."""
        try:
            data = self.sock.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        self.incoming.feed(data)
        if not data and not self.incoming.whole:
            raise ConnectionResetError(errno.ECONNRESET, "closed between requests")
        self._tell_to_continue()
        return True

    def _tell_to_continue(self) -> None:
        if self.incoming.awaits_continue and not (self.incoming.whole or self._told_to_continue):
            self._told_to_continue = True
            self.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n", socket.MSG_DONTWAIT)

    def receive_at_once(self) -> bool:
        """Whether a whole request is here, but for moments that a peer needs between two sends."""
        until = time.monotonic() + _AT_ONCE_SECONDS
        self._tell_to_continue()  # of a request whose head came with the one before
        while not self.incoming.whole:
            if time.monotonic() > until or not (self.receive() or self.has_more()):
                return False
        return True

    def has_more(self) -> bool:
        """Whether something arrives in the next moment."""
        coming = select.poll()
        coming.register(self.sock, select.POLLIN)
        return bool(coming.poll(_NEXT_BYTES_MILLISECONDS))

    def next(self) -> None:
        """Make ready for the next request, and let go of this one; some of the next may be here."""
        if self.parser.mesg:
            self.parser.mesg.body = BytesIO()
        self.incoming = Incoming(self._max_body_bytes, self.incoming.rest)
        self._told_to_continue = False

    def flush(self) -> bool:
        """Send what the peer takes at once. Whether that is all; raises OSError."""
        with suppress(BlockingIOError):
            sent = self.sock.send(self.unsent, socket.MSG_DONTWAIT)
            self.unsent = self.unsent[sent:]
        return not self.unsent


class Body(BytesIO):
    """`wsgi.input`: a whole body, or why there is none."""

    def __init__(self, incoming: Incoming) -> None:
        super().__init__(incoming.body)
        self.problem = incoming.problem


class Answer:
    """What gunicorn writes an answer to: in place of a connection, and of its socket."""

    def __init__(self, conn: Connection) -> None:
        self.client, self.server = conn.client, conn.server
        self._parts: list[bytes] = []

    @property
    def sock(self) -> "Answer":
        return self

    def sendall(self, data: bytes) -> None:
        self._parts.append(data)

    def shutdown(self, _how: int) -> None:
        """Of an answer that fails half-way, nothing has been sent."""
        raise OSError(errno.ENOTCONN, "nothing is connected")

    def close(self) -> None:
        pass

    def __bytes__(self) -> bytes:
        return b"".join(self._parts)

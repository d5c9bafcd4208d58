"""A request while its bytes arrive: whether it is whole, and what is wrong with it. No I/O here.

A server that let a thread wait for those bytes would have as many slow clients as threads. Only the
framing is read here (RFC 9112, 6 and 7); gunicorn's parser judges the head.
"""

import re
from collections.abc import Callable

from serving.errors import HeadersTooLarge, MalformedRequest, ServingError, TooLarge

MAX_HEAD_BYTES = 64 * 1024
# Of a body that is too large: a client that sends all before it reads would otherwise find its
# connection reset, and never learn why.
MAX_DROPPED_BYTES = 64 * 1024 * 1024

# Without blanks around the value: to match those apart takes the cube of their number.
_FRAMING = re.compile(
    rb"\r\n(content-length|transfer-encoding|expect):([^\r\n]*)(?=\r\n)", re.IGNORECASE
)
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")
_MAX_CHUNK_LINE_BYTES = 1024


class Incoming:
    """One request. `feed` it until it is `whole`; `head` and `body` are then complete.

    Otherwise `problem` says why not, and the end of the request is not known: its connection must
    be closed. `rest` is what has come of the next request.
    """

    def __init__(self, max_body_bytes: int, received: bytes = b"") -> None:
        self.head = b""
        self.body = b""
        self.rest = b""
        self.problem: ServingError | None = None
        self.whole = False
        self.awaits_continue = False  # the client sends its body once it is told to
        self._max_body_bytes = max_body_bytes
        self._received = bytearray()
        self._body = bytearray()
        self._searched = 0
        self._length = 0
        self._dropped = 0
        # Functions, not methods: a cycle would keep each body until the collector comes.
        self._step: Callable[[Incoming], bool] = Incoming._read_head
        if received:
            self.feed(received)

    @property
    def size(self) -> int:
        """The bytes that are kept."""
        return len(self.head) + len(self._received) + len(self._body)

    def feed(self, data: bytes) -> None:
        """What the peer sent next; no bytes at all are its end."""
        if not data:
            if self.size or self._dropped:
                self._end(MalformedRequest("the request ends before it is complete"))
            return
        self._received += data
        while not self.whole and self._step(self):
            pass

    def _end(self, problem: ServingError | None = None) -> bool:
        self.problem = self.problem or problem
        if not self.problem:
            self.rest = bytes(self._received)
        self._received.clear()
        self.whole = True
        return False

    def _read_head(self) -> bool:
        end = self._find(b"\r\n\r\n")
        if not 0 < end <= MAX_HEAD_BYTES:
            if len(self._received) > MAX_HEAD_BYTES:
                return self._end(
                    HeadersTooLarge(f"the headers are larger than {MAX_HEAD_BYTES} bytes")
                )
            return False
        self.head = self._take(end)
        fields: dict[bytes, list[bytes]] = {}
        for name, value in _FRAMING.findall(self.head):
            fields.setdefault(name.lower(), []).append(value.strip(b" \t"))
        lengths = fields.get(b"content-length", [])
        codings = fields.get(b"transfer-encoding", [])
        self.awaits_continue = (
            fields.get(b"expect", [b""])[0].lower() == b"100-continue"
            and b" HTTP/1.1\r\n" in self.head
        )
        if codings:
            if lengths or [coding.lower() for coding in codings] != [b"chunked"]:
                return self._end(MalformedRequest("Transfer-Encoding must be chunked, alone"))
            self._step = Incoming._read_chunk
            return True
        if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
            return self._end(MalformedRequest("Content-Length must be one whole number"))
        self._length = int(lengths[0]) if lengths else 0
        if self._length > self._max_body_bytes:
            self.problem = self._too_large()
            self._step = Incoming._drop
            return self._end() if self.awaits_continue else True
        self._step = Incoming._read_body
        return True

    def _read_body(self) -> bool:
        if len(self._received) < self._length:
            return False
        self.body = self._take(self._length)
        return self._end()

    def _drop(self) -> bool:
        self._dropped += len(self._received)
        self._received.clear()
        return self._dropped >= min(self._length, MAX_DROPPED_BYTES) and self._end()

    def _read_chunk(self) -> bool:
        end = self._received.find(b"\r\n", 0, _MAX_CHUNK_LINE_BYTES)
        if end < 0:
            if len(self._received) >= _MAX_CHUNK_LINE_BYTES:
                return self._end(MalformedRequest("the size of a chunk is not valid"))
            return False
        size = _CHUNK.fullmatch(self._received, 0, end)
        if not size:
            return self._end(MalformedRequest("the size of a chunk is not valid"))
        self._length = int(size[1], 16)
        del self._received[: end + 2]
        self._step = Incoming._read_chunk_data if self._length else Incoming._read_trailers
        if len(self._body) + self._length > self._max_body_bytes:
            self.problem = self.problem or self._too_large()
            self._body.clear()
        return True

    def _read_chunk_data(self) -> bool:
        data = self._received[: self._length]
        if self.problem:
            self._dropped += len(data)
            if self._dropped > MAX_DROPPED_BYTES:
                return self._end()
        else:
            self._body += data
        self._length -= len(data)
        del self._received[: len(data)]
        if self._length or len(self._received) < 2:
            return False
        if self._received[:2] != b"\r\n":
            return self._end(MalformedRequest("a chunk is longer than its size"))
        del self._received[:2]
        self._step = Incoming._read_chunk
        return True

    def _read_trailers(self) -> bool:
        """They are not used, as RFC 9112, 7.1.2 allows."""
        end = 2
        if self._received[:2] != b"\r\n":
            end = self._find(b"\r\n\r\n")
            if not end:
                if len(self._received) > MAX_HEAD_BYTES:
                    return self._end(HeadersTooLarge("the trailers are too large"))
                return False
        del self._received[:end]
        self.body = bytes(self._body)
        return self._end()

    def _find(self, mark: bytes) -> int:
        """Where the first `mark` ends, or 0. What has been searched is not searched again."""
        end = self._received.find(mark, max(0, self._searched - len(mark) + 1)) + len(mark)
        self._searched = 0 if end >= len(mark) else len(self._received)
        return end if end >= len(mark) else 0

    def _take(self, length: int) -> bytes:
        with memoryview(self._received) as view:
            taken = bytes(view[:length])
        del self._received[:length]
        return taken

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is larger than {self._max_body_bytes} bytes")

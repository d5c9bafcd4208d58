"""A client with at most one connection and one request in progress."""

import asyncio
import re
from contextlib import suppress
from typing import NamedTuple

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 60.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n")
_RETRY_AFTER = re.compile(rb"\r\nretry-after: *(\d+)\r\n")


class Unopened(Exception):
    """No connection within CONNECT_SECONDS: refused, or the listener's backlog is full."""


class Broken(Exception):
    """The connection ended, or was silent for ANSWER_SECONDS, before the answer was complete."""


class IdleClosed(Exception):
    """The server closed a kept connection while the request came, which HTTP allows."""


class Answer(NamedTuple):
    status: int
    body: bytes
    retry_after: str
    closes: bool


class Lane:
    def __init__(self, host: str, port: int) -> None:
        self._address, self.server_port = (host, port), port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, message: bytes, *, fresh: bool = False) -> Answer:
        """Return the answer to a message, over the kept connection unless `fresh`.

        Raise Unopened, Broken or IdleClosed.
        """
        if fresh or (self._streams and self._streams[0].at_eof()):
            self.close()
        kept = self._streams
        reader, writer = kept or await self.open()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                writer.write(message)  # not drained: an answer may come before its request ends
                answer = await receive(reader, head_only=message.startswith(b"HEAD"))
        except (OSError, EOFError, TimeoutError) as error:
            self.close()
            if kept and isinstance(error, ConnectionError | asyncio.IncompleteReadError):
                raise IdleClosed from None
            raise Broken(f"{type(error).__name__} {error}") from None
        except BaseException:
            self.close()
            raise
        if answer.closes:
            self.close()
        return answer

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection. Raise Unopened."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                self._streams = await asyncio.open_connection(*self._address)
        except (OSError, TimeoutError) as error:
            raise Unopened(type(error).__name__) from None
        return self._streams

    def close(self) -> None:
        if self._streams:
            with suppress(OSError):
                self._streams[1].close()
        self._streams = None


async def receive(reader: asyncio.StreamReader, *, head_only: bool = False) -> Answer:
    """Read an answer. Raise EOFError or OSError."""
    head = await reader.readuntil(b"\r\n\r\n")
    fields = head.lower()
    length, retry_after = _LENGTH.search(fields), _RETRY_AFTER.search(fields)
    body = b""
    if not head_only:
        body = await (reader.readexactly(int(length[1])) if length else reader.read())
    closes = b"\r\nconnection: close\r\n" in fields or not length
    return Answer(int(head[9:12]), body, retry_after[1].decode() if retry_after else "", closes)

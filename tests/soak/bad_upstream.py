"""What a `uri` should not point to: servers that hang, trickle, break off or run in rings."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

HANG_SECONDS = 30.0  # far beyond the fetch's own deadline
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n"


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1]
        if path == b"/hang":
            await asyncio.wait_for(reader.read(), HANG_SECONDS)  # until the other side has enough
        elif path == b"/trickle":
            writer.write(_HEAD + b"Content-Length: 100000\r\n\r\n")
            for _ in range(int(HANG_SECONDS / 0.2)):
                writer.write(b"\xff")
                await writer.drain()
                await asyncio.sleep(0.2)
        elif path == b"/truncated":
            writer.write(_HEAD + b"Content-Length: 100000\r\n\r\n" + bytes(1000))
        elif path == b"/ring":
            writer.write(b"HTTP/1.1 302 Found\r\nLocation: /ring\r\nContent-Length: 0\r\n\r\n")
        elif path == b"/endless":
            writer.write(_HEAD + b"\r\n")
            while True:
                writer.write(bytes(65536))
                await writer.drain()
        elif path == b"/rubbish":
            writer.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
        # any other: closed without a word
    except (OSError, EOFError, TimeoutError):
        pass
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


@asynccontextmanager
async def bad_upstream(host: str) -> AsyncIterator[str]:
    """The upstream's URL, without a slash at its end."""
    server = await asyncio.start_server(_answer, host, 0)
    try:
        yield "http://{}:{}".format(*server.sockets[0].getsockname())
    finally:
        server.close()

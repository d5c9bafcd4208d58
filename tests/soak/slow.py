"""Clients that are slow, silent or endless, never read, or disappear."""

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial

from soak.client import Lane, Unopened, receive
from soak.server import HOST
from soak.tally import Tally
from soak.traffic import Kind, Wrong, message

_STEP_SECONDS = 0.5
_STEPS = 8  # pieces of a request that is slow but complete
_PATIENCE_SECONDS = 20.0  # the server's own limits are 10 s
_NONES = json.dumps([None] * 1000).encode()
_MANY = message("POST", "/invocations", {"Content-Type": "application/json"}, _NONES)
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset

# A client gets a lane and a picture's request, and returns how its connection ended.
Client = Callable[[Lane, Kind], Awaitable[str]]


async def _trickled(lane: Lane, picture: Kind, *, end: bytes) -> str:
    """Send a request slowly up to `end` or its last bytes. It must be answered."""
    slow = picture.message.partition(end)[0] if end else picture.message[:-100]
    reader, writer = await lane.open()
    size = len(slow) // _STEPS + 1
    for start in range(0, len(slow), size):
        writer.write(slow[start : start + size])
        await asyncio.sleep(_STEP_SECONDS)
    writer.write(picture.message.removeprefix(slow))
    return picture.outcome(await receive(reader))


async def _endless(lane: Lane, _picture: Kind, *, first: bytes, more: bytes) -> str:
    """Send without an end: the server cuts off a head, and buffers a body."""
    reader, writer = await lane.open()
    with suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE_SECONDS):
            writer.write(first)
            while not reader.at_eof():
                writer.write(more)
                await asyncio.sleep(_STEP_SECONDS)
            return "cut off"
    return "left"


async def _never_reads(lane: Lane, _picture: Kind) -> str:
    """Request more than the buffers between server and client can hold, and read nothing."""
    loop = asyncio.get_running_loop()
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.setblocking(False)
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await loop.sock_connect(peer, (HOST, lane.server_port))
            for _ in range(100):
                await loop.sock_sendall(peer, _MANY)
            await asyncio.sleep(_PATIENCE_SECONDS)
    return "left"


async def _gone(lane: Lane, picture: Kind, *, part: int) -> str:
    """Reset the connection after `part` percent of the request."""
    _, writer = await lane.open()
    writer.write(picture.message[: len(picture.message) * part // 100])
    await asyncio.sleep(_STEP_SECONDS)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
    return "left"


_HEAD = b"POST /invocations HTTP/1.1\r\nHost: x\r\n"
_CHUNKED = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
CLIENTS: Mapping[str, Client] = {
    "trickled head": partial(_trickled, end=b"\r\n\r\n"),
    "trickled body": partial(_trickled, end=b""),
    "endless head": partial(_endless, first=_HEAD, more=b"X-Y: z\r\n"),
    "endless chunks": partial(_endless, first=_CHUNKED, more=b"1\r\nx\r\n"),
    "silent": partial(_endless, first=b"", more=b""),
    "never reads": _never_reads,
    "gone in the middle": partial(_gone, part=50),
    "gone before the answer": partial(_gone, part=100),
}


async def keep_on(name: str, port: int, picture: Kind, tally: Tally) -> None:
    while True:
        lane = Lane(HOST, port)
        try:
            tally.slow[f"{name}: {await CLIENTS[name](lane, picture)}"] += 1
        except (Unopened, OSError, EOFError) as error:
            ended = f"{name}: {type(error).__name__}"
            tally.slow[ended] += 1
            if name.startswith("trickled") and not isinstance(error, Unopened):
                tally.blame(ended)
        except Wrong as error:
            tally.blame(f"{name}: {error}")
        finally:
            lane.close()
        await asyncio.sleep(2 * _STEP_SECONDS)

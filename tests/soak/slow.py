"""Clients that cost a server more than they ask of it: slow, silent, endless, or gone too soon."""

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress

from soak.client import Answer, Broken, Lane, Unopened, receive
from soak.server import HOST
from soak.tally import Tally
from soak.traffic import Kind, Wrong, message

_PAUSE_SECONDS = 1.0  # between one such client and the next
_STEP_SECONDS = 0.5
_STEPS = 8  # of a request that comes slowly and does end: 4 s
# The server's own limits are 10 s for a head and 30 s for a whole request.
_PATIENCE_SECONDS = 60.0
_SILENT_SECONDS = 20.0
_MANY = message(
    "POST", "/invocations", {"Content-Type": "application/json"}, json.dumps([None] * 1000).encode()
)
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset

# A client of these: the lane it may use and a picture to ask about. Returns what became of it.
Client = Callable[[Lane, Kind], Awaitable[str]]


async def trickled_head(lane: Lane, picture: Kind) -> str:
    head, _, body = picture.message.partition(b"\r\n\r\n")
    return await _trickled(lane, picture, head, b"\r\n\r\n" + body)


async def trickled_body(lane: Lane, picture: Kind) -> str:
    return await _trickled(lane, picture, picture.message[:-100], picture.message[-100:])


async def _trickled(lane: Lane, picture: Kind, slow: bytes, rest: bytes) -> str:
    """A whole request, in pieces: as good as any other."""
    reader, writer = await lane.open()
    size = len(slow) // _STEPS + 1
    for start in range(0, len(slow), size):
        writer.write(slow[start : start + size])
        await asyncio.sleep(_STEP_SECONDS)
    writer.write(rest)
    async with asyncio.timeout(_PATIENCE_SECONDS):
        return picture.outcome(await receive(reader))


async def endless_head(lane: Lane, _picture: Kind) -> str:
    return await _endless(lane, b"POST /invocations HTTP/1.1\r\nHost: x\r\n", b"X-Y: z\r\n")


async def endless_chunks(lane: Lane, picture: Kind) -> str:
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    return await _endless(lane, head, b"1\r\nx\r\n")


async def _endless(lane: Lane, start: bytes, more: bytes) -> str:
    """Until the server has enough, which it must have one day."""
    reader, writer = await lane.open()
    answer = asyncio.create_task(receive(reader))
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            writer.write(start)
            while not answer.done():
                writer.write(more)
                await asyncio.wait([answer], timeout=_STEP_SECONDS)
            return _refusal(await answer)
    except TimeoutError:
        raise Wrong(f"{more!r} without end was taken for {_PATIENCE_SECONDS} s") from None
    except (OSError, EOFError):
        return "closed"
    finally:
        answer.cancel()
        with suppress(BaseException):
            await answer


def _refusal(answer: Answer) -> str:
    if 400 <= answer.status < 500 or (answer.status == 503 and answer.retry_after):
        return str(answer.status)
    raise Wrong(f"{answer.status} for what is no request yet: {answer.body[:200]!r}")


async def silent(lane: Lane, _picture: Kind) -> str:
    """Not a byte, as a load balancer's spare connection."""
    reader, _ = await lane.open()
    with suppress(TimeoutError, OSError):
        async with asyncio.timeout(_SILENT_SECONDS):
            await reader.read(1)
            return "closed"
    return "left"


async def never_reads(lane: Lane, _picture: Kind) -> str:
    """Asks for far longer answers than there is room for on their way, and takes none."""
    loop = asyncio.get_running_loop()
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.setblocking(False)
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_SILENT_SECONDS):
                await loop.sock_connect(peer, (HOST, lane.server_port))
                for _ in range(100):
                    await loop.sock_sendall(peer, _MANY)
                await asyncio.sleep(_SILENT_SECONDS)
    return "left"


async def gone_in_the_middle(lane: Lane, picture: Kind) -> str:
    _, writer = await lane.open()
    writer.write(picture.message[: len(picture.message) // 2])
    await asyncio.sleep(_STEP_SECONDS)
    return _reset(writer)


async def gone_before_the_answer(lane: Lane, picture: Kind) -> str:
    _, writer = await lane.open()
    writer.write(picture.message)
    await writer.drain()
    return _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> str:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
    return "left"


CLIENTS: tuple[Client, ...] = (
    trickled_head,
    trickled_body,
    endless_head,
    endless_chunks,
    silent,
    never_reads,
    gone_in_the_middle,
    gone_before_the_answer,
)


async def keep_on(client: Client, port: int, picture: Kind, tally: Tally) -> None:
    """One such client after another, until it is cancelled."""
    name = client.__name__.replace("_", " ")
    while True:
        lane = Lane(HOST, port)
        try:
            tally.slow[f"{name}: {await client(lane, picture)}"] += 1
        except (Unopened, Broken, OSError, EOFError, TimeoutError) as error:
            ended = f"{name}: {type(error).__name__}"
            tally.slow[ended] += 1
            if client in (trickled_head, trickled_body) and not isinstance(error, Unopened):
                tally.broke(lane.own_port, ended)
        except Wrong as error:
            tally.blame(f"{name}: {error}")
        finally:
            lane.close()
        await asyncio.sleep(_PAUSE_SECONDS)

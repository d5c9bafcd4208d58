"""Anything at all on a socket, on several connections at once."""

import itertools
import socket
import struct
from concurrent.futures import ThreadPoolExecutor

from fuzz import plan
from fuzz.garbage import Volley, volley
from fuzz.server import HANG_SECONDS, FuzzedServer, judge, split_answers

CONNECTIONS = 16
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


def _is_reset(error: OSError) -> bool:
    """Whether the server closed with bytes unread. Raises TimeoutError when it hangs."""
    if isinstance(error, TimeoutError):
        raise error
    return True


def exchange(server: FuzzedServer, sent: Volley, number: int) -> list[int]:
    """Send a volley, close our end, and read until the server has closed its own.

    The statuses of the answers. Raises AssertionError for an answer that nobody may get, and
    TimeoutError when the server neither answers nor closes.
    """
    # An address of many, as a closed connection keeps its port for a minute.
    source = (f"127.0.{number // 5_000 % 200 + 1}.1", 0)
    received, cut = bytearray(), False
    with socket.create_connection(server.address, HANG_SECONDS, source) as peer:
        try:
            for piece in sent.pieces:
                peer.sendall(piece)
            if sent.resets:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
                return []
            peer.shutdown(socket.SHUT_WR)
        except OSError as error:  # also ENOTCONN, which is no ConnectionError
            cut = _is_reset(error)
        try:
            while data := peer.recv(65536):
                received += data
        except OSError as error:
            cut = _is_reset(error)
    head = any(b"HEAD" in piece for piece in sent.pieces)
    answers = split_answers(bytes(received), cut=cut, head=head)
    for answer in answers:
        judge(answer)
    if sent.has_two_ends and not cut:
        assert [answer.status for answer in answers] == [400], answers
    return [answer.status for answer in answers]


def test_garbage(server: FuzzedServer) -> None:
    """No fault, no hang, no traceback, and an error object wherever there is an error."""
    numbers, rest = itertools.count(), plan.REQUESTS - plan.seen.total()
    places = [
        f"{server.places['http']}/cat.jpg",
        f"{server.places['http']}/loop",
        f"{server.places['http']}/page",
        f"{server.places['https']}/redirect?to=coffee.png",
        f"{server.places['http']}/large",
        "s3://photos/rocket.jpg",
    ]
    failures: list[str] = []

    def attack() -> None:
        while not failures and (number := next(numbers)) < rest:
            sent = volley(plan.SEED, number, places)
            try:
                plan.saw("raw sockets", exchange(server, sent, number))
            except (AssertionError, OSError, ValueError, KeyError) as error:
                failures.append(
                    f"volley({plan.SEED}, {number}), {sent.kind}: {type(error).__name__}: {error}\n"
                    f"sent {[piece[:1000] for piece in sent.pieces]}"
                )

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for attacker in [pool.submit(attack) for _ in range(CONNECTIONS)]:
            attacker.result()
    assert not failures, "\n\n".join(failures)
    server.check()

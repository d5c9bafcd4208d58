"""Send arbitrary bytes to the server, over several connections at once."""

import itertools
import socket
import struct
from concurrent.futures import ThreadPoolExecutor

from security.fuzz import plan
from security.fuzz.answers import HANG_SECONDS, judge, split_answers
from security.fuzz.garbage import Volley, volley
from soak.server import HOST, Server
from support.upstream import Upstream

CONNECTIONS = 16
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


def exchange(port: int, sent: Volley, number: int) -> list[int]:
    """Send a volley, close our end, read to the end, and return the statuses of the answers.

    Raise AssertionError for an answer that breaks the contract, TimeoutError if the server hangs.
    """
    # Use many source addresses, since a closed connection keeps its port for a minute.
    source = (f"127.0.{number // 5_000 % 200 + 1}.1", 0)
    received, cut = bytearray(), False
    with socket.create_connection((HOST, port), HANG_SECONDS, source) as peer:
        try:
            for piece in sent.pieces:
                peer.sendall(piece)
            if sent.resets:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
                return []
            peer.shutdown(socket.SHUT_WR)
        except TimeoutError:
            raise
        except OSError:  # the server closed with bytes unread; ENOTCONN is not a ConnectionError
            cut = True
        try:
            while data := peer.recv(65536):
                received += data
        except TimeoutError:
            raise
        except OSError:
            cut = True
    head = b"HEAD" in b"".join(sent.pieces)
    answers = split_answers(bytes(received), cut=cut, head=head)
    for answer in answers:
        judge(answer)
    if sent.is_ambiguous and not cut:
        assert [answer.status for answer in answers] == [400], answers
    return [answer.status for answer in answers]


def test_arbitrary_bytes_keep_the_contract(server: Server, local_upstream: Upstream) -> None:
    """There is no fault, hang or traceback; every error is an error object."""
    numbers, rest = itertools.count(), plan.REQUESTS - plan.seen.total()
    http, https = local_upstream.places["http"], local_upstream.places["https"]
    places = [f"{http}/{path}" for path in ("cat.jpg", "loop", "page", "large")]
    places += [f"{https}/redirect?to=coffee.png", "s3://photos/rocket.jpg"]
    failures: list[str] = []

    def attack() -> None:
        while not failures and (number := next(numbers)) < rest:
            sent = volley(plan.SEED, number, places)
            try:
                plan.saw("raw sockets", exchange(server.port, sent, number))
            except (AssertionError, OSError, ValueError, KeyError) as error:
                failures.append(
                    f"volley({plan.SEED}, {number}), {sent.kind}: {type(error).__name__}: {error}\n"
                    f"sent {[piece[:1000] for piece in sent.pieces]}"
                )

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for attacker in [pool.submit(attack) for _ in range(CONNECTIONS)]:
            attacker.result()
    assert not failures, "\n\n".join(failures)

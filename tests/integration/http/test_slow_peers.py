"""Clients that send slowly, never finish or never read take a connection but no Python thread."""

import json
import socket
from contextlib import suppress

import pytest

from integration.http.peers import HEAD, answer, connections, serves, trickling
from soak.server import Server, serving

PEERS = 200  # a worker has 40 threads
JSON_HEAD = HEAD.replace(b"image/jpeg", b"application/json")


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (b"POST /invocations HTTP/1.1\r\n", b"A: b\r\n"),
        (HEAD + b"Content-Length: 1000\r\n\r\n", b"x"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ],
    ids=["endless headers", "trickled body", "endless chunks"],
)
def test_slow_clients_do_not_block_others(server: Server, first: bytes, then: bytes) -> None:
    with connections(server, PEERS) as peers:
        for peer in peers:
            peer.sendall(first)
        with trickling(peers, then):
            serves(server)


def test_peers_that_never_read_take_no_thread(server: Server) -> None:
    """Each client sends requests with large answers until its socket is full, and reads none."""
    body = json.dumps([None] * 1000).encode()
    request = JSON_HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with connections(server, PEERS) as peers:
        for peer in peers:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            with suppress(BlockingIOError):
                for _ in range(50):
                    peer.send(request, socket.MSG_DONTWAIT)
        serves(server)


def test_a_head_that_does_not_end_is_cut_off(server: Server) -> None:
    with connections(server) as peers, trickling(peers, b"A: b\r\n"):
        peers[0].sendall(b"GET /ping HTTP/1.1\r\n")
        with suppress(ConnectionResetError):
            assert peers[0].recv(1) == b""


def test_300_stalled_bodies_take_one_buffer_each() -> None:
    """The rest of each body is in an unlinked file, which cannot outlive its request."""
    stalled, sent = 300, 1_000_000
    with serving({"WORKERS": "1"}) as server:
        serves(server)
        before = server.holding()
        with connections(server, stalled) as peers:
            for peer in peers:
                peer.sendall(HEAD + b"Content-Length: 4000000\r\n\r\n" + bytes(sent))
            serves(server)
            during = server.holding()
            peers[0].sendall(bytes(4_000_000 - sent))
            assert answer(peers[0])[0].status == 422  # not a picture
    assert during.pss_mb - before.pss_mb < 128
    assert during.files == before.files

"""A fetch ends in time, whatever a host, a name server or S3 does. The limit is mostly 1 s here."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import NoReturn

import pytest

from serving.deadline import Aside
from serving.errors import UriFetchFailed
from serving.fetch import Fetcher
from serving.settings import UriAllowlist
from upstream import answering

ROOM_SECONDS = 5  # for a slow machine, beside a limit of 1 s
UNFINISHED = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"

guarded = Fetcher(max_bytes=1000, timeout_seconds=1)
trusting = Fetcher(max_bytes=1000, timeout_seconds=1, private_addresses=True)


@pytest.fixture
def over() -> Iterator[threading.Event]:
    """Set when the test is: what hangs in it ends then."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def served(over: threading.Event) -> Iterator[Callable[..., int]]:
    """Starts a server; see `answering`. Its peers are let go before it is waited for."""
    with ExitStack() as stack:
        yield lambda answer, most=1: stack.enter_context(answering(answer, most))
        over.set()


def trickle(over: threading.Event, sent: bytes) -> Callable[[socket.socket, bytes], None]:
    """Answers with `sent`, and then with a byte at a time."""

    def answer(peer: socket.socket, _: bytes) -> None:
        peer.sendall(sent)
        while not over.wait(0.05):
            peer.sendall(b"x")

    return answer


def silence(over: threading.Event, sent: bytes) -> Callable[[socket.socket, bytes], None]:
    def answer(peer: socket.socket, _: bytes) -> None:
        peer.sendall(sent)
        over.wait(60)

    return answer


def seconds_to_fail(fetch: Fetcher, uri: str, message: str) -> float:
    started = time.monotonic()
    with pytest.raises(UriFetchFailed, match=message):
        fetch(uri)
    return time.monotonic() - started


@pytest.mark.parametrize("sent", [b"", UNFINISHED], ids=["no answer", "no body"])
def test_a_host_that_falls_silent(
    sent: bytes, over: threading.Event, served: Callable[..., int]
) -> None:
    port = served(silence(over, sent))
    taken = seconds_to_fail(trusting, f"http://127.0.0.1:{port}/", "did not answer in time")
    assert taken < ROOM_SECONDS


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_first_byte_is_not_awaited_to_the_end(
    scheme: str, over: threading.Event, served: Callable[..., int]
) -> None:
    """Half of the time is enough to tell."""
    port = served(silence(over, b""))
    fetch = Fetcher(max_bytes=1000, timeout_seconds=8, private_addresses=True)
    taken = seconds_to_fail(fetch, f"{scheme}://127.0.0.1:{port}/", "did not answer in time")
    assert taken < 7


@pytest.mark.parametrize(
    "sent",
    [b"HTTP/1.1 200 OK\r\nX-", UNFINISHED, b"HTTP/1.0 200 OK\r\n\r\n"],
    ids=["headers", "body", "body without a length"],
)
def test_a_trickle_ends_at_the_deadline(
    sent: bytes, over: threading.Event, served: Callable[..., int]
) -> None:
    port = served(trickle(over, sent))
    taken = seconds_to_fail(trusting, f"http://127.0.0.1:{port}/", "did not answer in time")
    assert taken < ROOM_SECONDS


def test_a_redirect_does_not_renew_the_deadline(
    over: threading.Event, served: Callable[..., int]
) -> None:
    """The last connection is made when the time is nearly over, and is cut all the same."""

    def redirect(port: int) -> Callable[[socket.socket, bytes], None]:
        location = f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{port}/\r\n\r\n".encode()

        def answer(peer: socket.socket, _: bytes) -> None:
            over.wait(0.3)
            peer.sendall(location)

        return answer

    last = served(trickle(over, UNFINISHED))
    first = served(redirect(served(redirect(served(redirect(last))))))
    taken = seconds_to_fail(trusting, f"http://127.0.0.1:{first}/", "did not answer in time")
    assert taken < ROOM_SECONDS


def test_addresses_that_do_not_answer_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(self: socket.socket, _address: object) -> None:
        time.sleep(self.gettimeout() or 60)
        raise TimeoutError("timed out")

    address = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("8.8.8.8", 80))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [address] * 9)
    monkeypatch.setattr(socket.socket, "connect", connect)
    taken = seconds_to_fail(guarded, "http://many.example/", "did not answer in time")
    assert taken < ROOM_SECONDS


@pytest.fixture
def asked(over: threading.Event, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Look-ups hang; the hosts of those that were begun."""
    hosts: list[str] = []

    def getaddrinfo(host: str, *_: object, **__: object) -> NoReturn:
        hosts.append(host)
        over.wait(60)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return hosts


def test_a_name_server_that_hangs(asked: list[str]) -> None:
    taken = seconds_to_fail(guarded, "http://slow.example/", r"^slow\.example was not found in")
    assert taken < ROOM_SECONDS


def test_look_ups_that_hang_are_bounded(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as have a place are begun. The others end in time as well."""
    monkeypatch.setattr("serving.fetch.ASIDE", 2)
    fetch = Fetcher(max_bytes=1000, timeout_seconds=0.2)
    before = threading.active_count()
    for _ in range(5):
        seconds_to_fail(fetch, "http://slow.example/", "was not found in time")
    assert len(asked) == 2
    wait_for(lambda: threading.active_count() <= before + 2)


def test_a_place_is_free_again_when_what_hung_has_ended() -> None:
    end = threading.Event()
    aside = Aside(places=1)
    for call in (end.wait, lambda: "no place is free"):
        with pytest.raises(TimeoutError):
            aside(0.1, call)
    end.set()
    assert aside(10, lambda: "a place") == "a place"
    with pytest.raises(ZeroDivisionError):
        aside(10, lambda: 1 // 0)
    assert aside(10, lambda: "a place") == "a place"


@pytest.fixture
def photos(monkeypatch: pytest.MonkeyPatch) -> Fetcher:
    """It reads from the bucket `photos`. Its client is made, which takes time of its own."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return Fetcher(1000, 1, allowlist=UriAllowlist.parse("s3://photos"))


@pytest.mark.parametrize(
    "sent",
    [b"HTTP/1.1 200 OK\r\nX-", UNFINISHED],
    ids=["headers", "body"],
)
def test_s3_that_trickles(
    sent: bytes,
    photos: Fetcher,
    over: threading.Event,
    served: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """botocore's timeouts begin anew with every byte, and with every attempt."""
    port = served(trickle(over, sent), most=2)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}")
    assert photos._s3_client
    before = threading.active_count()
    taken = seconds_to_fail(photos, "s3://photos/cat.jpg", "^S3 did not answer in time$")
    assert taken < ROOM_SECONDS
    if sent == UNFINISHED:  # its thread is let go, though the body goes on
        wait_for(lambda: threading.active_count() <= before)


def test_s3_that_does_not_accept_a_connection(
    photos: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two attempts of a connection that hangs end with the time of one fetch."""
    with socket.socket() as listener, ExitStack() as queue:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):  # more than it queues, so the kernel answers nobody else
            waiting = queue.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        place = f"http://127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", place)
        assert photos._s3_client
        assert seconds_to_fail(photos, "s3://photos/cat.jpg", "^S3 did not answer in time$") < 5


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)

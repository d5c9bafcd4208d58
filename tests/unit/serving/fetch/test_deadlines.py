"""Check that a fetch ends within its timeout, here 1 s, if a host, name server or S3 hangs."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from serving.core.allowlist import UriAllowlist
from serving.core.errors import UriFetchFailed
from serving.fetch.client import Fetcher
from serving.fetch.timeouts import run_with_timeout
from support.upstream import answering

UNFINISHED = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"

trusting = Fetcher(max_bytes=1000, timeout_seconds=1, private_addresses=True)


@pytest.fixture
def over() -> Iterator[threading.Event]:
    """Set at the end of the test, to release everything that hangs."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def served(over: threading.Event) -> Iterator[Callable[..., int]]:
    """Return a function that starts a server (see `answering`). Releases its peers first."""
    with ExitStack() as stack:
        yield lambda answer, most=1: stack.enter_context(answering(answer, most))
        over.set()


def dripping(
    over: threading.Event, sent: bytes, more: bytes = b"x"
) -> Callable[[socket.socket, bytes], None]:
    """Answer `sent`, then `more` every 50 ms."""

    def answer(peer: socket.socket, _: bytes) -> None:
        peer.sendall(sent)
        for _ in range(400):
            if over.wait(0.05):
                break
            peer.sendall(more)

    return answer


def fails_in_time(
    uri: str, message: str = r"^127\.0\.0\.1 did not answer in time$", fetch: Fetcher = trusting
) -> None:
    started = time.monotonic()
    with pytest.raises(UriFetchFailed, match=message):
        fetch(uri)
    assert time.monotonic() - started < 10  # the peers go on for 20 s


@pytest.mark.parametrize(
    ("scheme", "sent", "more"),
    [
        ("https", b"", b""),
        ("http", UNFINISHED, b""),
        ("http", UNFINISHED, b"x"),
        ("http", b"HTTP/1.1 200 OK\r\nX-", b"x"),
        ("http", b"HTTP/1.0 200 OK\r\n\r\n", b"x"),
    ],
    ids=["silent", "silent in a body", "body", "headers", "body without a length"],
)
def test_a_host_that_is_silent_or_trickles(
    scheme: str, sent: bytes, more: bytes, over: threading.Event, served: Callable[..., int]
) -> None:
    fails_in_time(f"{scheme}://127.0.0.1:{served(dripping(over, sent, more))}/")


def test_a_redirect_does_not_renew_the_deadline(
    over: threading.Event, served: Callable[..., int]
) -> None:
    """The last connection starts shortly before the deadline, and is cut at the deadline."""

    def redirect(port: int) -> Callable[[socket.socket, bytes], None]:
        location = f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{port}/\r\n\r\n".encode()

        def answer(peer: socket.socket, _: bytes) -> None:
            over.wait(0.3)
            peer.sendall(location)

        return answer

    last = served(dripping(over, UNFINISHED))
    first = served(redirect(served(redirect(served(redirect(last))))))
    fails_in_time(f"http://127.0.0.1:{first}/")


def test_a_name_server_that_hangs(over: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(20))
    fails_in_time("http://slow.example/", r"^slow\.example was not found in")


def test_a_slot_is_free_again_when_its_call_ends() -> None:
    end = threading.Event()
    slots = threading.BoundedSemaphore(1)
    for call in (end.wait, lambda: True):
        with pytest.raises(TimeoutError):
            run_with_timeout(call, 0.1, slots)
    end.set()
    assert run_with_timeout(lambda: "a slot", 10, slots) == "a slot"
    with pytest.raises(ZeroDivisionError):
        run_with_timeout(lambda: 1 // 0, 10, slots)
    assert run_with_timeout(lambda: "a slot", 10, slots) == "a slot"


@pytest.mark.parametrize("sent", [b"HTTP/1.1 200 OK\r\nX-", UNFINISHED], ids=["headers", "body"])
def test_s3_that_trickles(
    sent: bytes, over: threading.Event, served: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """botocore's timeouts restart with every byte and every attempt."""
    port = served(dripping(over, sent), most=2)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    photos = Fetcher(1000, 1, allowlist=UriAllowlist.parse("s3://photos"))
    assert photos._s3.boto  # creating the client takes additional time
    before = threading.active_count()
    fails_in_time("s3://photos/cat.jpg", "^S3 did not answer in time$", photos)
    if sent == UNFINISHED:  # the thread ends, although the body continues
        assert any(threading.active_count() <= before or over.wait(0.05) for _ in range(400))

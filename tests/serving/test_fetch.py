"""What a `uri` may lead to. The golden cases fetch on every face; here are the limits."""

import base64
import gc
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from serving.errors import MalformedRequest, TooLarge, UriFetchFailed, UriNotAllowed
from serving.fetch import Fetcher, is_public
from upstream import Upstream

guarded = Fetcher(max_bytes=1000, timeout_seconds=1)
trusting = Fetcher(max_bytes=1000, timeout_seconds=1, private_addresses=True)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104 - an address to refuse
        "224.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:169.254.169.254",
        "::a9fe:a9fe",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "2001:0:4136:e378:8000:63bf:5601:5601",
        "64:ff9b:1::a9fe:a9fe",
        "::ffff:0:a9fe:a9fe",
        "fec0::1",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "52.95.110.1", "2600:1f18::1"])
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:9001/2018-06-01/runtime/invocation/next",
        "http://localhost/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "https://user:password@127.0.0.1/",
    ],
)
def test_no_spelling_of_a_private_address_is_dialled(uri: str) -> None:
    with pytest.raises(UriNotAllowed, match="is not a public address"):
        guarded(uri)


def test_a_second_dns_answer_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that answers with a public address once and a private one afterwards."""
    answers = iter(["8.8.8.8", "127.0.0.1"])
    dialled: list[str] = []

    def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        address = (next(answers), port)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)]

    def connect(_self: socket.socket, address: tuple[str, int]) -> None:
        dialled.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket.socket, "connect", connect)
    with pytest.raises(UriFetchFailed):
        guarded("http://rebinding.example/")
    assert dialled == ["8.8.8.8"]


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(lambda peer: peer.sendall(b"HTTP/1.0 200 OK\r\n\r\nproxied")) as port:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        with pytest.raises(UriFetchFailed, match="was not found"):
            trusting("http://no-such-host.invalid/")


def test_data_uris() -> None:
    assert guarded("data:,a%20b") == b"a b"
    assert guarded("data:text/plain;charset=utf-8,%ff") == b"\xff"
    assert guarded("DATA:image/png;BASE64," + base64.b64encode(b"\0\1").decode()) == b"\0\1"
    with pytest.raises(TooLarge):
        guarded("data:," + "x" * 1001)
    for broken in ("data:", "data:image/png;base64", "data:;base64,=", "data:;base64,a b"):
        with pytest.raises(MalformedRequest):
            guarded(broken)


@pytest.mark.parametrize(
    "uri",
    ["", "cat.jpg", "ftp://x/y", "file:///etc/passwd", "http://", "http://:80/", "http://a:b/"],
)
def test_no_uri_that_we_know(uri: str) -> None:
    with pytest.raises(MalformedRequest):
        guarded(uri)


@pytest.mark.parametrize("uri", ["s3://", "s3://bucket", "s3://bucket/", "s3:/bucket/key"])
def test_no_s3_uri(uri: str) -> None:
    with pytest.raises(MalformedRequest, match="s3://BUCKET/KEY"):
        guarded(uri)


def test_redirects_end(local_upstream: Upstream) -> None:
    fetch = Fetcher(max_bytes=10**6, timeout_seconds=5, private_addresses=True)
    nested = "cat.jpg"
    for _ in range(3):
        nested = f"redirect?to={nested.replace('?', '%3F').replace('=', '%3D')}"
    assert fetch(f"{local_upstream.places['http']}/{nested}").startswith(b"\xff\xd8\xff")
    with pytest.raises(UriFetchFailed, match="more than 3 redirects"):
        fetch(f"{local_upstream.places['http']}/loop")


def test_a_redirect_to_another_scheme(local_upstream: Upstream) -> None:
    with pytest.raises(UriNotAllowed, match="a redirect to file: is not followed"):
        trusting(f"{local_upstream.places['http']}/redirect?to=file:///etc/passwd")


def test_a_certificate_of_an_unknown_authority(local_upstream: Upstream) -> None:
    with pytest.raises(UriFetchFailed) as failure:
        trusting(f"{local_upstream.places['https']}/cat.jpg?signature=secret")
    assert "CERTIFICATE_VERIFY_FAILED" in str(failure.value)
    assert "secret" not in str(failure.value)


def test_a_length_that_lies_is_not_believed() -> None:
    def endless(peer: socket.socket) -> None:
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            peer.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")

    with answering(endless) as port, pytest.raises(TooLarge):
        trusting(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"])
def test_a_host_that_falls_silent(sent: bytes) -> None:
    stop = threading.Event()

    def silent(peer: socket.socket) -> None:
        peer.sendall(sent)
        stop.wait(10)

    with answering(silent) as port:
        started = time.monotonic()
        with pytest.raises(UriFetchFailed, match="did not answer in time"):
            trusting(f"http://127.0.0.1:{port}/")
        stop.set()
    assert time.monotonic() - started < 5  # the limit is 1 s


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nX-",
        b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
    ],
    ids=["headers", "body", "body without a length"],
)
def test_a_trickle_ends_at_the_deadline(sent: bytes) -> None:
    stop = threading.Event()

    def trickle(peer: socket.socket) -> None:
        peer.sendall(sent)
        while not stop.wait(0.1):
            peer.sendall(b"x")

    with answering(trickle) as port:
        with pytest.raises(UriFetchFailed, match="did not answer in time"):
            trusting(f"http://127.0.0.1:{port}/")
        stop.set()


def test_a_redirect_does_not_renew_the_deadline() -> None:
    """The connection after it is made when the time is nearly over, and is cut all the same."""
    stop = threading.Event()

    def trickle(peer: socket.socket) -> None:
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n")
        while not stop.wait(0.1):
            peer.sendall(b"x")

    def redirect(peer: socket.socket) -> None:
        stop.wait(0.9)
        peer.sendall(f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{last}/\r\n\r\n".encode())

    with answering(trickle) as last, answering(redirect) as first:
        started = time.monotonic()
        with pytest.raises(UriFetchFailed, match="did not answer in time"):
            trusting(f"http://127.0.0.1:{first}/")
        stop.set()
    assert time.monotonic() - started < 5  # the limit is 1 s


def test_addresses_that_do_not_answer_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(self: socket.socket, _address: object) -> None:
        time.sleep(self.gettimeout() or 60)
        raise TimeoutError("timed out")

    address = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("8.8.8.8", 80))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [address] * 9)
    monkeypatch.setattr(socket.socket, "connect", connect)
    started = time.monotonic()
    with pytest.raises(UriFetchFailed, match="did not answer in time"):
        guarded("http://many.example/")
    assert time.monotonic() - started < 5  # the limit is 1 s


def test_nobody_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(UriFetchFailed, match="did not accept a connection"):
        trusting(f"http://127.0.0.1:{port}/?signature=secret")


def test_no_socket_is_left_open(local_upstream: Upstream) -> None:
    """Warnings are errors here, so a socket that only the collector closes fails the test."""
    with pytest.raises(TooLarge):
        trusting(f"{local_upstream.places['http']}/large")
    with pytest.raises(UriFetchFailed):
        trusting(f"{local_upstream.places['http']}/nothing")
    gc.collect()


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server of one connection: it reads the request's first bytes and lets `answer` write."""

    def serve() -> None:
        try:
            peer, _ = listener.accept()
        except OSError:
            return  # nobody came
        with peer:
            peer.recv(65536)
            with suppress(OSError):  # the client has had enough
                answer(peer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)

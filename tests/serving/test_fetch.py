"""What a `uri` may lead to. The golden cases fetch on every face; here are the limits."""

import base64
import gc
import socket

import pytest

from serving.addresses import is_public
from serving.errors import MalformedRequest, TooLarge, UriFetchFailed, UriNotAllowed
from serving.fetch import Fetcher
from upstream import Upstream, answering

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
        "192.0.0.9",
        "192.0.2.1",
        "192.88.99.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "240.0.0.1",
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
        "2001:db8::1",
        "2001:20::1",
        "3fff::1",
        "5f00::1",
        "4000::1",
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
        "http://127.0.0.1/2018-06-01/runtime/invocation/next",
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


def test_lambdas_own_api_is_on_a_port_that_nobody_lists() -> None:
    with pytest.raises(UriNotAllowed, match=r"^port 9001 of 127\.0\.0\.1 is not in URI_ALLOWLIST$"):
        guarded("http://127.0.0.1:9001/2018-06-01/runtime/invocation/next")


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
    with answering(lambda peer, _: peer.sendall(b"HTTP/1.0 200 OK\r\n\r\nproxied")) as port:
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
    [
        "",
        "cat.jpg",
        "ftp://x/y",
        "file:///etc/passwd",
        "http://",
        "http://:80/",
        "http://a:b/",
        f"http://{'a' * 254}/",
        "http://\uff11\uff12\uff17.0.0.1/",
        "http://\u2460.example/",
    ],
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


@pytest.mark.parametrize("location", ["http://:80/", "http://a:b/", f"http://{'a' * 254}/"])
def test_a_redirect_that_leads_nowhere_is_not_the_callers_mistake(location: str) -> None:
    head = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\n\r\n".encode()
    with (
        answering(lambda peer, _: peer.sendall(head)) as port,
        pytest.raises(UriFetchFailed, match="a redirect leads to no valid address"),
    ):
        trusting(f"http://127.0.0.1:{port}/")


def test_a_redirect_to_another_scheme(local_upstream: Upstream) -> None:
    with pytest.raises(UriNotAllowed, match="a redirect to file: is not followed"):
        trusting(f"{local_upstream.places['http']}/redirect?to=file:///etc/passwd")


def test_a_certificate_of_an_unknown_authority(local_upstream: Upstream) -> None:
    with pytest.raises(UriFetchFailed) as failure:
        trusting(f"{local_upstream.places['https']}/cat.jpg?signature=secret")
    assert "CERTIFICATE_VERIFY_FAILED" in str(failure.value)
    assert "secret" not in str(failure.value)


def test_what_is_sent() -> None:
    """No user or password, no wish for a compressed answer, nothing of the environment."""
    heads: list[bytes] = []

    def record(peer: socket.socket, head: bytes) -> None:
        heads.append(head)
        peer.sendall(b"HTTP/1.0 200 OK\r\n\r\nx")

    with answering(record) as port:
        assert trusting(f"http://user:password@127.0.0.1:{port}/a b?q=\r\nX-Evil: 1#part") == b"x"
    lines = heads[0].split(b"\r\n")
    assert lines[0] == b"GET /a%20b?q=X-Evil:%201 HTTP/1.1"
    assert sorted(lines[1:-2]) == [
        b"Accept-Encoding: identity",
        b"Host: 127.0.0.1:%d" % port,
        b"User-Agent: image-classifier",
    ]


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nhalf a picture",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400\r\nhalf a chunk",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhalf\r\n0\r\n\r\n",
    ],
    ids=["length", "within a chunk", "between chunks", "no chunk"],
)
def test_half_a_body_is_none(sent: bytes) -> None:
    with (
        answering(lambda peer, _: peer.sendall(sent)) as port,
        pytest.raises(UriFetchFailed, match=r"^the connection to 127\.0\.0\.1 broke$"),
    ):
        trusting(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\0",
        b"cat\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 1000 OK\r\n\r\n",
        b"HTTP/1.1 -1 OK\r\n\r\n",
        b"HTTP/1.1 99 OK\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 206 Partial Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\n\r\n",
        b"HTTP/1.1 302 Found\r\n\r\n",
        b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
        b"HTTP/1.1 200 " + b"x" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 101 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: identity, br\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000,
    ],
    ids=lambda sent: repr(sent[:60]),
)
def test_answers_that_are_none(sent: bytes) -> None:
    with answering(lambda peer, _: peer.sendall(sent)) as port, pytest.raises(UriFetchFailed):
        trusting(f"http://127.0.0.1:{port}/")


def test_a_length_that_lies_is_not_believed() -> None:
    def endless(peer: socket.socket, _: bytes) -> None:
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            peer.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")

    with answering(endless) as port, pytest.raises(TooLarge):
        trusting(f"http://127.0.0.1:{port}/")


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

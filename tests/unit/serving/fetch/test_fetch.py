"""Test the limits of a fetch. The golden cases fetch on every face."""

import base64
import gc
import socket
import ssl
from unittest.mock import Mock

import pytest

from serving.core.errors import MalformedRequest, TooLarge, UriFetchFailed, UriNotAllowed
from serving.fetch.client import Fetcher
from serving.fetch.http import is_public
from support.upstream import Upstream, answering

guarded = Fetcher(max_bytes=1000, timeout_seconds=1)
trusting = Fetcher(max_bytes=1000, timeout_seconds=1, private_addresses=True)


def fetched(sent: bytes) -> bytes:
    """Return the result of a fetch that gets this response."""
    with answering(lambda peer, _: peer.sendall(sent)) as port:
        return trusting(f"http://127.0.0.1:{port}/")


PRIVATE = """
127.8.8.8 10.0.0.1 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1
255.255.255.255 192.0.0.9 192.88.99.1 198.18.0.1 ::1 fe80::1%eth0 fd00:ec2::254
::ffff:169.254.169.254 ::a9fe:a9fe 64:ff9b::a9fe:a9fe 2002:a9fe:a9fe::1
2001:0:4136:e378:8000:63bf:5601:5601 3fff::1 4000::1
"""


def test_public_addresses() -> None:
    public = ["8.8.8.8", "52.95.110.1", "2600:1f18::1"]
    assert list(filter(is_public, [*PRIVATE.split(), *public])) == public


def test_data_uris() -> None:
    assert guarded("data:,a%20b") == b"a b"
    assert guarded("data:text/plain;charset=utf-8,%ff") == b"\xff"
    assert guarded("DATA:image/png;BASE64," + base64.b64encode(b"\0\1").decode()) == b"\0\1"
    with pytest.raises(TooLarge):
        guarded("data:," + "x" * 1001)
    for broken in ("data:", "data:image/png;base64", "data:;base64,a", "data:;base64,a-b_"):
        with pytest.raises(MalformedRequest):
            guarded(broken)


@pytest.mark.parametrize(
    "uri",
    [
        *("", "cat.jpg", "ftp://x/y", "file:///etc/passwd", "s3://bucket/", "s3:/bucket/key"),
        *("http://:80/", "http://a:b/", f"http://{'a' * 254}/", "http://\u2460.example/"),
    ],
)
def test_malformed_uris(uri: str) -> None:
    with pytest.raises(MalformedRequest):
        guarded(uri)


def test_redirects_end(local_upstream: Upstream) -> None:
    fetch = Fetcher(max_bytes=10**6, timeout_seconds=5, private_addresses=True)
    nested = "cat.jpg"
    for _ in range(3):
        nested = f"redirect?to={nested.replace('?', '%3F').replace('=', '%3D')}"
    assert fetch(f"{local_upstream.places['http']}/{nested}").startswith(b"\xff\xd8\xff")
    with pytest.raises(UriFetchFailed, match="more than 3 redirects"):
        fetch(f"{local_upstream.places['http']}/loop")


def test_an_invalid_redirect_is_not_the_callers_mistake() -> None:
    head = "HTTP/1.1 302 Found\r\nLocation: {}\r\n\r\n"
    with pytest.raises(UriFetchFailed, match="a redirect leads to no valid address"):
        fetched(head.format("http://a:b/").encode())
    with pytest.raises(UriNotAllowed, match="a redirect to file: is not followed"):
        fetched(head.format("file:///etc/passwd").encode())


def test_the_authorities_are_read_once(
    local_upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading them takes 50 ms, longer than a forward."""
    monkeypatch.setenv("SSL_CERT_FILE", str(local_upstream.authority))
    read = Mock(wraps=ssl.create_default_context)
    monkeypatch.setattr(ssl, "create_default_context", read)
    fetch = Fetcher(max_bytes=10**6, timeout_seconds=5, private_addresses=True)
    for _ in range(2):
        assert fetch(f"{local_upstream.places['https']}/cat.jpg").startswith(b"\xff\xd8\xff")
    assert read.call_count == 1


def test_a_certificate_of_an_unknown_authority(local_upstream: Upstream) -> None:
    with pytest.raises(UriFetchFailed) as failure:
        trusting(f"{local_upstream.places['https']}/cat.jpg?signature=secret")
    assert "CERTIFICATE_VERIFY_FAILED" in str(failure.value)
    assert "secret" not in str(failure.value)


def test_the_request_of_a_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no user or password, allows no compression, and ignores the environment's proxies."""
    heads: list[bytes] = []

    def record(peer: socket.socket, head: bytes) -> None:
        heads.append(head)
        peer.sendall(b"HTTP/1.0 200 OK\r\n\r\nx")

    with answering(record) as port:
        monkeypatch.setenv("no_proxy", "")
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
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
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400\r\nhalf a chunk",
    ],
    ids=["length", "two lengths", "chunk"],
)
def test_an_incomplete_body_is_refused(sent: bytes) -> None:
    with pytest.raises(UriFetchFailed, match=r"^the connection to 127\.0\.0\.1 broke$"):
        fetched(sent)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"cat\r\n\r\n",
        b"HTTP/1.1 206 Partial Content\r\n\r\n",
        b"HTTP/1.1 302 Found\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 101 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000,
    ],
    ids=lambda sent: repr(sent[:60]),
)
def test_an_invalid_answer_is_a_failed_fetch(sent: bytes) -> None:
    with pytest.raises(UriFetchFailed):
        fetched(sent)


def test_an_encoding_that_is_not_a_compression_is_ignored() -> None:
    """rusoto#1815: objects in S3 keep the Content-Encoding of their upload."""
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: aws-chunked\r\nContent-Length: 1\r\n\r\n"
    assert fetched(head + b"x") == b"x"


def test_a_wrong_length_does_not_lift_the_limit() -> None:
    def endless(peer: socket.socket, _: bytes) -> None:
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            peer.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")

    with answering(endless) as port, pytest.raises(TooLarge):
        trusting(f"http://127.0.0.1:{port}/")


def test_no_socket_is_left_open(local_upstream: Upstream) -> None:
    """Warnings are errors here, so a socket that the garbage collector closes fails the test."""
    with pytest.raises(TooLarge):
        trusting(f"{local_upstream.places['http']}/large")
    with pytest.raises(UriFetchFailed):
        trusting(f"{local_upstream.places['http']}/nothing")
    gc.collect()

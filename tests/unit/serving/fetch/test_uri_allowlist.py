"""Test the parsing of URI_ALLOWLIST and fetches that obey it, beside the golden cases."""

import re
import socket

import pytest

from serving.core.allowlist import ANY_HOST, UriAllowlist
from serving.core.errors import StartError, UriFetchFailed, UriNotAllowed
from serving.core.settings import Settings
from serving.fetch.client import Fetcher


@pytest.mark.parametrize(
    ("text", "host", "port", "allowed"),
    [
        ("*", "images.example.com", 80, True),
        ("*", "images.example.com", 8443, False),
        ("none", "images.example.com", 443, False),
        ("s3://photos", "photos", 443, False),
        ("Images.Example.com.", "IMAGES.example.COM.", 443, True),
        ("images.example.com", "a.images.example.com", 443, False),
        ("images.example.com", "images.example.com.evil.example", 443, False),
        ("images.example.com", "images.example.com", 8443, False),
        ("images.example.com:8443", "Images.example.com.", 8443, True),
        ("images.example.com:8443", "images.example.com", 443, False),
        ("*, images.example.com:8443", "images.example.com", 8443, True),
        (" a.example ,\tb.example ", "b.example", 443, True),
        ("127.0.0.1", "127.1", 443, False),
        ("*.Example.com.", "a.b.example.com.", 443, True),
        ("*.example.com", "example.com", 443, False),
        ("*.example.com", "badexample.com", 443, False),
        ("*.example.com", "a..example.com", 443, False),
        ("*.example.com:8443", "images.example.com", 8443, True),
        # A resolver may read only the address at the start.
        ("*.example.com", "127.0.0.1\0.example.com", 443, False),
        ("*.example.com", "fe80::1%a.example.com", 443, False),
    ],
)
def test_hosts_and_ports(text: str, host: str, port: int, allowed: bool) -> None:
    assert UriAllowlist.parse(text).allows_host(host, port) is allowed


def test_with_private_addresses_an_entry_without_a_port_allows_every_port() -> None:
    assert UriAllowlist.parse("*").allows_host("a.example", 8443, any_port=True)
    assert UriAllowlist.parse("a.example").allows_host("a.example", 8443, any_port=True)
    assert not UriAllowlist.parse("a.example:80").allows_host("a.example", 8443, any_port=True)
    assert not UriAllowlist.parse("a.example").allows_host("b.example", 80, any_port=True)


def test_buckets() -> None:
    assert UriAllowlist.parse("*, photos").buckets == set()
    assert UriAllowlist.parse("*, s3://photos,s3://Cats").buckets == {"photos", "Cats"}


WRONG_ENTRIES = (
    *("a.example b.example", "https://a.example", "a.example/photos", "a.example:0", "*:8443"),
    *("a.example:65536", "user@a.example", "[::1]", "bücher.example", "a.*.example", "s3://*"),
    *("*example.com", "s3://photos/cats", "a.example\nb.example"),
)


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        *((" ", ""), ("a.example,", ""), ("none,a.example", "none")),
        *((entry, entry) for entry in WRONG_ENTRIES),
    ],
)
def test_a_wrong_entry_ends_the_start(text: str, entry: str) -> None:
    message = (
        f"URI_ALLOWLIST={text!r} is not a list of *, HOST, *.DOMAIN, HOST:PORT, *.DOMAIN:PORT, "
        f"s3://BUCKET with commas between them, or none alone: it has {entry!r}"
    )
    with pytest.raises(StartError, match=re.escape(message)) as failure:
        Settings.from_environment({"URI_ALLOWLIST": text})
    assert "\n" not in str(failure.value)


def test_the_default_is_any_host_and_no_bucket() -> None:
    assert Settings.from_environment({}).uri_allowlist == UriAllowlist.parse("*") == ANY_HOST
    assert Fetcher(1000, 1).allowlist == ANY_HOST
    closed = Fetcher.from_settings(Settings.from_environment({"URI_ALLOWLIST": "none"}))
    assert closed.allowlist == UriAllowlist()
    assert closed("data:,inline") == b"inline"


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the hosts that are looked up. No host is found."""
    hosts: list[str] = []

    def getaddrinfo(host: str, *_: object, **__: object) -> None:
        hosts.append(host)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return hosts


@pytest.mark.parametrize(
    ("uri", "refused"),
    [
        ("https://user:password@evil.example/images.example.com?secret", "evil.example"),
        ("http://evil.example#@images.example.com/", "evil.example"),
        ("http://evil.example\n/.example.org/", "evil.example"),
        ("http://EXAMPLE.org./", "example.org"),
        ("http://evil.example\\.example.org/", "evil.example\\.example.org"),
        ("http://images.example.com:8080/", "port 8080 of images.example.com"),
        ("https://images.example.com:0/?secret", "port 0 of images.example.com"),
    ],
)
def test_an_unlisted_host_or_port_is_not_looked_up(
    uri: str, refused: str, looked_up: list[str]
) -> None:
    listed = UriAllowlist.parse("images.example.com,*.example.org")
    with pytest.raises(UriNotAllowed) as failure:
        Fetcher(1000, 1, allowlist=listed)(uri)
    assert str(failure.value) == f"{refused} is not in URI_ALLOWLIST"
    assert looked_up == []


@pytest.mark.parametrize(
    ("uri", "host"),
    [
        ("HTTPS://user:password@IMAGES.example.COM.:8443/?q", "images.example.com"),
        ("http://BÜCHER.example/", "xn--bcher-kva.example"),
        ("http://\u212aa.example.org/", "ka.example.org"),
    ],
)
def test_a_host_is_compared_as_it_is_looked_up(uri: str, host: str, looked_up: list[str]) -> None:
    listed = "images.example.com:8443, *.example.org, xn--bcher-kva.example"
    with pytest.raises(UriFetchFailed, match=f"{host} was not found"):
        Fetcher(1000, 1, allowlist=UriAllowlist.parse(listed))(uri)
    assert looked_up == [host]


def test_a_listed_host_must_have_a_public_address() -> None:
    with pytest.raises(UriNotAllowed, match="localhost is not a public address"):
        Fetcher(1000, 1, allowlist=UriAllowlist.parse("localhost"))("http://localhost/")

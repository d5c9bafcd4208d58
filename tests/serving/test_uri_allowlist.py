"""What the `uri` of a request may name: the list, and what a fetch and the faces make of it.

The golden cases have a list of one host and one bucket on every face, and the default one.
"""

import json
import re
import socket

import pytest

from cases import data_uri
from farm import InProcess
from ops import faces
from ops.local import process_environment
from serving.errors import MalformedRequest, StartError, UriFetchFailed, UriNotAllowed
from serving.fetch import Fetcher
from serving.settings import ANY_HOST, Settings, UriAllowlist
from upstream import Upstream

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("text", "host", "allowed"),
    [
        ("*", "images.example.com", True),
        ("*", "2606:4700::1111", True),
        ("*,s3://photos", "images.example.com", True),
        ("none", "images.example.com", False),
        ("NONE", "none", False),
        ("s3://photos", "photos", False),
        ("images.example.com", "images.example.com", True),
        ("images.example.com", "IMAGES.example.COM.", True),
        ("Images.Example.com.", "images.example.com", True),
        ("images.example.com", "a.images.example.com", False),
        ("images.example.com", "images.example.com.evil.example", False),
        ("images.example.com", "imagesxexample.com", False),
        (" a.example ,\tb.example ", "b.example", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.1", False),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", True),
        ("*.example.com", "images.example.com", True),
        ("*.example.com", "a.b.Example.com.", True),
        ("*.Example.com.", "images.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "badexample.com", False),
        ("*.example.com", ".example.com", False),
        ("*.example.com", "a..example.com", False),
        # Of these a resolver takes the start: the address.
        ("*.example.com", "127.0.0.1\0.example.com", False),
        ("*.example.com", "fe80::1%a.example.com", False),
    ],
)
def test_hosts(text: str, host: str, allowed: bool) -> None:
    assert UriAllowlist.parse(text).allows_host(host) is allowed


@pytest.mark.parametrize(
    ("text", "host", "port", "allowed"),
    [
        ("*", "images.example.com", 80, True),
        ("*", "images.example.com", 443, True),
        ("*", "images.example.com", 8443, False),
        ("images.example.com", "images.example.com", 80, True),
        ("images.example.com", "images.example.com", 8443, False),
        ("images.example.com:8443", "Images.example.com.", 8443, True),
        ("images.example.com:8443", "images.example.com", 443, False),
        ("Images.example.com.:8443", "images.example.com", 8443, True),
        ("images.example.com:8443", "a.images.example.com", 8443, False),
        ("*, images.example.com:8443", "images.example.com", 8443, True),
        ("*, images.example.com:8443", "example.org", 8443, False),
        ("*.example.com", "images.example.com", 8443, False),
        ("*.example.com:8443", "images.example.com", 8443, True),
        ("*.example.com:8443", "images.example.com", 443, False),
        ("*.example.com:8443", "example.com", 8443, False),
        ("a.example:80", "a.example", 80, True),
        ("a.example:80", "a.example", 443, False),
        ("none", "images.example.com", 8443, False),
    ],
)
def test_ports(text: str, host: str, port: int, allowed: bool) -> None:
    assert UriAllowlist.parse(text).allows_host(host, port) is allowed


def test_where_any_port_may_be_asked_an_entry_without_one_lists_them_all() -> None:
    """FETCH_PRIVATE_ADDRESSES=1: what listens in a private network listens anywhere."""
    assert UriAllowlist.parse("*").allows_host("a.example", 8443, any_port=True)
    assert UriAllowlist.parse("a.example").allows_host("a.example", 8443, any_port=True)
    assert not UriAllowlist.parse("a.example:80").allows_host("a.example", 8443, any_port=True)
    assert not UriAllowlist.parse("a.example").allows_host("b.example", 80, any_port=True)


@pytest.mark.parametrize(
    ("text", "bucket", "allowed"),
    [
        ("*", "photos", False),
        ("none", "photos", False),
        ("photos", "photos", False),
        ("*, s3://photos", "photos", True),
        ("s3://photos,s3://more.photos", "more.photos", True),
        ("s3://photos", "photos2", False),
        ("s3://photos", "Photos", False),
        ("s3://Old_Photos", "Old_Photos", True),
    ],
)
def test_buckets(text: str, bucket: str, allowed: bool) -> None:
    assert UriAllowlist.parse(text).allows_bucket(bucket) is allowed


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        (" ", ""),
        ("a.example,,b.example", ""),
        ("a.example,", ""),
        ("a.example b.example", "a.example b.example"),
        ("https://a.example", "https://a.example"),
        ("a.example/photos", "a.example/photos"),
        ("a.example:", "a.example:"),
        ("a.example:0", "a.example:0"),
        ("a.example:65536", "a.example:65536"),
        ("a.example:0443", "a.example:0443"),
        ("a.example:https", "a.example:https"),
        ("a.example:443:443", "a.example:443:443"),
        ("*:8443", "*:8443"),
        ("none:8443", "none:8443"),
        ("user@a.example", "user@a.example"),
        ("[::1]", "[::1]"),
        ("bücher.example", "bücher.example"),
        ("\u212aa.example", "\u212aa.example"),  # its lower case is ASCII
        ("-a.example", "-a.example"),
        ("a.example..", "a.example.."),
        ("a.*.example", "a.*.example"),
        ("*example.com", "*example.com"),
        ("**", "**"),
        ("*.", "*."),
        ("none,a.example", "none"),
        ("*, None", "None"),
        ("none,none", "none"),
        ("s3://", "s3://"),
        ("s3://*", "s3://*"),
        ("s3://photos/", "s3://photos/"),
        ("s3://photos/cats", "s3://photos/cats"),
        ("a.example\nb.example", "a.example\nb.example"),
    ],
)
def test_an_entry_that_is_none_of_these_ends_the_start(text: str, entry: str) -> None:
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
    assert Fetcher.from_settings(Settings(uri_allowlist=UriAllowlist())).allowlist != ANY_HOST


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hosts that were looked up; none is found."""
    hosts: list[str] = []

    def getaddrinfo(host: str, *_: object, **__: object) -> None:
        hosts.append(host)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return hosts


@pytest.mark.parametrize(
    ("uri", "host"),
    [
        ("http://evil.example/", "evil.example"),
        ("https://user:password@evil.example/images.example.com?signature=secret", "evil.example"),
        ("https://images.example.com@evil.example/", "evil.example"),
        ("https://images.example.com:password@evil.example/", "evil.example"),
        ("http://evil.example#@images.example.com/", "evil.example"),
        ("http://evil.example\n/.sub.example.org/", "evil.example"),
        ("http://EXAMPLE.org./", "example.org"),
        ("http://2130706433/", "2130706433"),
        ("http://[::1]/", "::1"),
        ("http://evil.example\\.sub.example.org/", "evil.example\\.sub.example.org"),
    ],
)
def test_a_host_that_is_not_listed_is_not_looked_up(
    uri: str, host: str, looked_up: list[str]
) -> None:
    fetch = Fetcher(1000, 1, True, UriAllowlist.parse("images.example.com,*.sub.example.org"))
    with pytest.raises(UriNotAllowed) as failure:
        fetch(uri)
    assert str(failure.value) == f"{host} is not in URI_ALLOWLIST"
    assert looked_up == []


@pytest.mark.parametrize(
    ("uri", "host"),
    [
        ("http://images.example.com/", "images.example.com"),
        ("HTTPS://user:password@IMAGES.example.COM.:8443/?q", "images.example.com"),
        ("http://a.b.example.org/", "a.b.example.org"),
        ("http://BÜCHER.example/", "xn--bcher-kva.example"),
        ("http://\u212aa.example.org/", "ka.example.org"),
    ],
)
def test_a_host_is_listed_as_it_is_looked_up(uri: str, host: str, looked_up: list[str]) -> None:
    listed = "images.example.com, *.example.org, xn--bcher-kva.example"
    with pytest.raises(UriFetchFailed, match=f"{host} was not found"):
        Fetcher(1000, 1, True, UriAllowlist.parse(listed))(uri)
    assert looked_up == [host]


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1\0.example.com/", "http://[2606:4700::1111%25a.example.com]/"]
)
def test_an_address_in_the_guise_of_a_subdomain(uri: str, looked_up: list[str]) -> None:
    with pytest.raises((UriFetchFailed, UriNotAllowed, MalformedRequest)):
        Fetcher(1000, 1, True, UriAllowlist.parse("*.example.com"))(uri)
    assert looked_up == []


@pytest.mark.parametrize("uri", ["http://a.example:8080/", "https://a.example:0/?secret"])
def test_a_port_that_is_not_listed_is_not_dialled(uri: str, looked_up: list[str]) -> None:
    with pytest.raises(UriNotAllowed, match=r"^port \d+ of a.example is not in URI_ALLOWLIST$"):
        Fetcher(1000, 1)(uri)
    assert looked_up == []


def test_a_port_that_is_listed_is_dialled(looked_up: list[str]) -> None:
    with pytest.raises(UriFetchFailed, match="was not found"):
        Fetcher(1000, 1, allowlist=UriAllowlist.parse("a.example:8080"))("http://a.example:8080/")
    assert looked_up == ["a.example"]


def test_a_listed_host_must_have_a_public_address_all_the_same() -> None:
    with pytest.raises(UriNotAllowed, match="localhost is not a public address"):
        Fetcher(1000, 1, allowlist=UriAllowlist.parse("localhost"))("http://localhost/")


def test_every_redirect_is_held_to_the_list(local_upstream: Upstream) -> None:
    fetch = Fetcher(10**6, 5, True, UriAllowlist.parse("127.0.0.1"))
    place = local_upstream.places["http"]
    other = place.replace("127.0.0.1", "localhost")
    assert fetch(f"{place}/redirect?to={place}/cat.jpg").startswith(b"\xff\xd8\xff")
    for uri in (
        f"{place}/redirect?to={other}/cat.jpg",
        f"{place}/redirect?to={place}/redirect?to%3D{other}/cat.jpg",
        f"{place}/redirect?to=//user:password@{other.removeprefix('http://')}/cat.jpg?secret",
    ):
        with pytest.raises(UriNotAllowed) as failure:
            fetch(uri)
        assert str(failure.value) == "localhost is not in URI_ALLOWLIST"


@pytest.mark.parametrize(
    "uri",
    [
        "s3://other/cat.jpg",
        "s3://PHOTOS/cat.jpg",
        "s3://user:password@photos/cat.jpg",
        "s3://photos?versionId=secret/cat.jpg",
        "s3://\ud800/cat.jpg",
    ],
)
def test_a_bucket_that_is_not_listed(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.fetch.s3_client", None)  # not so much as a client is made
    with pytest.raises(UriNotAllowed) as failure:
        Fetcher(1000, 1, True, UriAllowlist.parse("*,s3://photos"))(uri)
    assert str(failure.value) == "the bucket is not in URI_ALLOWLIST"


def test_none_on_both_faces(local_upstream: Upstream) -> None:
    """Nothing is fetched, and bytes in the request are answered."""
    environment = {
        **process_environment(),
        **local_upstream.environment,
        "WORKERS": "1",
        "URI_ALLOWLIST": "none",
    }
    place = local_upstream.places["http"]
    refused = [f"{place}/cat.jpg", "https://images.example.com/cat.jpg", "s3://photos/cat.jpg"]
    pipeline = InProcess.start(environment)
    with faces.http_process(environment) as http, faces.lambda_process(environment) as function:
        for uri in (*refused, data_uri("cat.jpg")):
            body = json.dumps({"uri": uri}).encode()
            replies = [
                face.send("POST", "/invocations", JSON, body) for face in (pipeline, http, function)
            ]
            assert len({(reply.status, reply.body) for reply in replies}) == 1
            answer = json.loads(replies[0].body)
            assert function.invoke({"uri": uri}) == answer
            if uri in refused:
                assert replies[0].status == 403
                assert answer["error"]["code"] == "uri_not_allowed"
                assert answer["error"]["message"].endswith("is not in URI_ALLOWLIST")
            else:
                assert replies[0].status == 200

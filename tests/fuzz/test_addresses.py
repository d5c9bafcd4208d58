"""Where a `uri` may lead: the policy against an oracle, and fetches with nothing to reach."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from fuzz.bodies import split
from fuzz.plan import fuzzed, saw
from serving.addresses import is_public
from serving.errors import ServingError, StartError
from serving.fetch import Fetcher
from serving.settings import UriAllowlist

TESTS = 4

# From IANA's registries of special-purpose addresses, with the ranges that embed an IPv4 address:
# what must never be dialled. Of IPv6 only 2000::/3 is assigned as global unicast.
SPECIAL_4 = (
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 "
    "192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 "
    "224.0.0.0/4 240.0.0.0/4"
)
SPECIAL_6 = (
    "::/96 ::ffff:0:0/96 ::ffff:0:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 ::/3 2001::/23 "
    "2001:db8::/32 2002::/16 3fff::/20 4000::/2 5f00::/16 8000::/1 fc00::/7 fe80::/10 fec0::/10 "
    "ff00::/8"
)
ORDINARY_4 = "1.0.0.0/8 8.0.0.0/8 52.0.0.0/8 93.184.0.0/16 172.32.0.0/11 192.169.0.0/16 223.0.0.0/8"
ORDINARY_6 = "2400::/12 2600::/12 2a00::/12 2c00::/16 2003::/16"


def ranges(text: str, number: type[IPv4Address] | type[IPv6Address]) -> list[tuple[int, int]]:
    """First and last address of each, as integers."""
    bits = 32 if number is IPv4Address else 128
    found = []
    for first, _, length in (prefix.partition("/") for prefix in text.split()):
        start = int(number(first))
        found.append((start, start + 2 ** (bits - int(length)) - 1))
    return found


def within(text: str, number: type[IPv4Address] | type[IPv6Address]) -> st.SearchStrategy[str]:
    """Addresses of these ranges, their ends more often than not."""
    spans = st.sampled_from(ranges(text, number))
    return spans.flatmap(lambda span: st.sampled_from(span) | st.integers(*span)).map(
        lambda value: str(number(value))
    )


def is_special(address: str) -> bool:
    if ":" in address:
        value = int(IPv6Address(address.partition("%")[0]))
        return any(first <= value <= last for first, last in ranges(SPECIAL_6, IPv6Address))
    value = int(IPv4Address(address))
    return any(first <= value <= last for first, last in ranges(SPECIAL_4, IPv4Address))


special = within(SPECIAL_4, IPv4Address) | within(SPECIAL_6, IPv6Address)
ordinary = within(ORDINARY_4, IPv4Address) | within(ORDINARY_6, IPv6Address)
anywhere = (
    st.integers(0, 2**32 - 1).map(lambda value: str(IPv4Address(value)))
    | st.integers(0, 2**128 - 1).map(lambda value: str(IPv6Address(value)))
    | special
    | ordinary
)
names = st.sampled_from(
    split(
        "example.com|EXAMPLE.com.|a.example.com|localhost|xn--bcher-kva.example|bücher.example|127.1|*|"
        "0x7f.1|2130706433|[::1]|[::ffff:127.0.0.1]|１２７.0.0.1|a..b|.|[fe80::1%25eth0]|[::1|"  # noqa: RUF001
        "example.com\0.a|exa\ud800mple.com|example。com|" + "a" * 300
    )
)
literals = anywhere.map(lambda address: f"[{address}]" if ":" in address else address)
spelt = st.builds(
    "{}{}{}{}{}{}".format,
    st.sampled_from(["http://"] * 6 + ["https://", "HTTP://", "http:", "s3://", "data:,", "//"]),
    st.sampled_from([""] * 6 + ["user:secret@", "@", "a@b@"]),
    literals | literals | names | st.text(st.characters(), max_size=8),
    st.sampled_from([""] * 6 + [":80", ":0", ":", ":65536", ":-1", ":x", ":８０"]),  # noqa: RUF001
    st.sampled_from(["", "/", "?", "#", "\\", "/\0", "/\ud800", "/ /", "/%"]),
    st.just("") | st.text(st.characters(), max_size=8),
)
uris = spelt | spelt | spelt | st.text(st.characters(), max_size=40)


@fuzzed("addresses", TESTS)
@given(anywhere)
def test_no_special_address_is_public(address: str) -> None:
    saw("addresses", [is_public(address)])
    assert not (is_public(address) and is_special(address))


@fuzzed("addresses", TESTS)
@given(ordinary)
def test_ordinary_addresses_are(address: str) -> None:
    saw("addresses", [is_public(address)])
    assert is_public(address)


@fuzzed("addresses", TESTS)
@given(
    st.text(st.characters(), max_size=30)
    | st.lists(names | st.sampled_from(["*", "*.example.com", "s3://photos", "none"])).map(",".join)
)
def test_any_list_is_a_list_or_one_line(text: str) -> None:
    try:
        allowlist = UriAllowlist.parse(text)
    except StartError as error:
        saw("addresses", ["StartError"])
        assert "\n" not in str(error)
    else:
        saw("addresses", ["a list"])
        assert not any(map(allowlist.allows_bucket, ("", "*", "Photos")))


@fuzzed("addresses", TESTS)
@given(names | anywhere | st.text(st.characters(), max_size=20))
def test_a_list_allows_what_it_names(host: str) -> None:
    allowlist = UriAllowlist.parse("example.com, *.example.com, s3://photos")
    allowed = allowlist.allows_host(host, 80)
    saw("addresses", [allowed])
    name = host.lower().rstrip(".")
    assert not allowed or name == "example.com" or name.endswith(".example.com")
    assert not allowed or (name.isascii() and "\0" not in name)
    assert not UriAllowlist.parse("none").allows_host(host, 80)


@contextmanager
def nothing_to_reach(addresses: list[str]) -> Iterator[list[str]]:
    """Every name leads to these addresses, none of which answers; what was dialled."""
    dialled: list[str] = []

    def look_up(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        if not addresses:
            raise socket.gaierror
        families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in addresses]
        return [
            (family, socket.SOCK_STREAM, 6, "", (address, port))
            for family, address in zip(families, addresses)
        ]

    def connect(_self: socket.socket, address: Any) -> None:
        dialled.append(str(address[0]))
        raise ConnectionRefusedError(111, "refused")

    with patch("socket.getaddrinfo", look_up), patch.object(socket.socket, "connect", connect):
        yield dialled


fetch = Fetcher(max_bytes=1000, timeout_seconds=10)
narrow = Fetcher(
    max_bytes=1000, timeout_seconds=10, allowlist=UriAllowlist.parse("example.com,s3://photos")
)


@fuzzed("fetcher")
@given(uris, st.lists(anywhere, max_size=3), st.booleans())
def test_no_uri_leads_to_a_special_address(uri: str, addresses: list[str], any_host: bool) -> None:
    """Whatever it says and whatever its name leads to: bytes, or an expected error."""
    fetcher = fetch if any_host else narrow
    if uri.lower().startswith("s3://photos/"):
        return  # another test's: botocore dials by itself
    with nothing_to_reach(addresses) as dialled:
        try:
            fetcher(uri)
        except ServingError as error:
            saw("fetcher", [error.status])
            assert 400 <= error.status < 500
            assert "secret" not in error.message
        else:
            saw("fetcher", [200])
            assert uri[:5].lower() == "data:"
    assert not any(map(is_special, dialled)), dialled
    assert set(dialled) <= set(addresses)

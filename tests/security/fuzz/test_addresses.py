"""Compare the address policy with IANA's registries; no fetch connects to a special address."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from security.fuzz.plan import fuzzed, saw
from serving.core.allowlist import UriAllowlist
from serving.core.errors import ServingError
from serving.fetch.client import Fetcher
from serving.fetch.http import is_public

ALLOWLIST = UriAllowlist.parse("example.com, *.example.com, s3://photos")

# IANA's special-purpose addresses, and the ranges that embed an IPv4 address. Only 2000::/3 of IPv6
# is assigned as global unicast.
SPECIAL = """
    0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24
    192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24
    224.0.0.0/4 240.0.0.0/4 ::/96 ::ffff:0:0/96 ::ffff:0:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64
    ::/3 2001::/23 2001:db8::/32 2002::/16 3fff::/20 4000::/2 5f00::/16 8000::/1 fc00::/7 fe80::/10
    fec0::/10 ff00::/8
"""
ORDINARY = """
    1.0.0.0/8 8.0.0.0/8 52.0.0.0/8 93.184.0.0/16 172.32.0.0/11 192.169.0.0/16 223.0.0.0/8 2400::/12
    2600::/12 2a00::/12 2c00::/16 2003::/16
"""
special_networks = [ip_network(text) for text in SPECIAL.split()]


def within(networks: str) -> st.SearchStrategy[str]:
    """Generate addresses of these networks; half are a network's first or last one."""
    chosen = st.sampled_from([ip_network(text) for text in networks.split()])
    return chosen.flatmap(
        lambda net: st.sampled_from((net[0], net[-1])) | st.ip_addresses(network=net)
    ).map(str)


def is_special(address: str) -> bool:
    return any(ip_address(address.partition("%")[0]) in network for network in special_networks)


special, ordinary = within(SPECIAL), within(ORDINARY)
anywhere = st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(str) | special | ordinary
names = st.sampled_from(
    "example.com EXAMPLE.com. a.example.com localhost xn--bcher-kva.example bücher.example 127.1 * "
    "0x7f.1 2130706433 [::1] [::ffff:127.0.0.1] １２７.0.0.1 a..b . [fe80::1%25eth0] [::1 "  # noqa: RUF001 - full-width digits
    f"example.com\0.a exa\ud800mple.com example。com {'a' * 300}".split(" ")
)
literals = anywhere.map(lambda address: f"[{address}]" if ":" in address else address)
spelt = st.builds(
    "{}{}{}{}{}{}".format,
    st.sampled_from(["http://"] * 6 + ["https://", "HTTP://", "http:", "s3://", "data:,", "//"]),
    st.sampled_from([""] * 6 + ["user:secret@", "@", "a@b@"]),
    literals | literals | names | st.text(st.characters(), max_size=8),
    st.sampled_from([""] * 6 + [":80", ":0", ":", ":65536", ":-1", ":x", ":８０"]),  # noqa: RUF001 - full-width digits
    st.sampled_from(["", "/", "?", "#", "\\", "/\0", "/\ud800", "/ /", "/%"]),
    st.just("") | st.text(st.characters(), max_size=8),
)
uris = spelt | spelt | spelt | st.text(st.characters(), max_size=40)


@fuzzed("addresses")
@given(anywhere, ordinary)
def test_special_addresses_are_not_public_and_ordinary_ones_are(any_one: str, known: str) -> None:
    saw("addresses", [is_public(any_one)])
    assert not (is_public(any_one) and is_special(any_one))
    assert is_public(known)


@contextmanager
def nothing_to_reach(addresses: list[str]) -> Iterator[list[str]]:
    """Resolve every name to these addresses, which refuse connections; yield those dialled."""
    dialled: list[str] = []

    def look_up(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        if not addresses:
            raise socket.gaierror
        found = {each: socket.AF_INET6 if ":" in each else socket.AF_INET for each in addresses}
        return [(kind, socket.SOCK_STREAM, 6, "", (each, port)) for each, kind in found.items()]

    def connect(_self: socket.socket, address: Any) -> None:
        dialled.append(str(address[0]))
        raise ConnectionRefusedError(111, "refused")

    with patch("socket.getaddrinfo", look_up), patch.object(socket.socket, "connect", connect):
        yield dialled


fetch = Fetcher(max_bytes=1000, timeout_seconds=10)
narrow = Fetcher(max_bytes=1000, timeout_seconds=10, allowlist=ALLOWLIST)


@fuzzed("fetcher")
@given(uris, st.lists(anywhere, max_size=3), st.booleans())
def test_no_uri_leads_to_a_special_address(uri: str, addresses: list[str], any_host: bool) -> None:
    """The result is bytes or an expected error, whatever the name resolves to."""
    fetcher = fetch if any_host else narrow
    if uri.lower().startswith("s3://photos/"):
        return  # botocore opens its own connections
    with nothing_to_reach(addresses) as dialled:
        try:
            fetcher(uri)
        except ServingError as error:
            saw("fetcher", [error.status])
            assert 400 <= error.status < 500
            assert "secret" not in str(error)
        else:
            saw("fetcher", [200])
            assert uri[:5].lower() == "data:"
    assert not any(map(is_special, dialled)), dialled
    assert set(dialled) <= set(addresses)

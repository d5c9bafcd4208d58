"""Decide which IP addresses a fetch may dial: public ones that carry no other address."""

import ipaddress

# Networks that some release of Python's `is_global` accepts, although IANA's registries do not call
# them public or they carry another address.
# https://www.iana.org/assignments/iana-ipv4-special-registry
# https://www.iana.org/assignments/iana-ipv6-special-registry
_REFUSED = [
    ipaddress.ip_network("192.0.0.0/24"),  # protocol assignments
    ipaddress.ip_network("192.88.99.0/24"),  # 6to4 relays
    ipaddress.ip_network("2001::/23"),  # protocol assignments, Teredo
    ipaddress.ip_network("2002::/16"),  # 6to4, which carries an IPv4 address
    ipaddress.ip_network("3fff::/20"),  # documentation
]
# All public IPv6 addresses. Other networks are local or carry an IPv4 address: compatible, mapped
# or translated ones (RFC 2765, 6052, 8215).
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")


def is_public(address: str) -> bool:
    """Return whether an IP address, with or without a zone, is public."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if any(ip in network for network in _REFUSED if network.version == ip.version):
        return False
    if ip.version == 6 and ip not in _GLOBAL_UNICAST:
        return False
    return ip.is_global and not ip.is_multicast

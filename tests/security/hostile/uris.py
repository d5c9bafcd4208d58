"""Hostile URIs, grouped by what makes each one hostile, and the DNS names that they need."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path

from security.hostile.network import PICTURES, PUBLIC

METADATA = "169.254.169.254"
PUBLIC_4, _ = PUBLIC

# Answers that an attacker's name server could give.
_TO_ADDRESSES = f"""
    loopback.example=127.0.0.1 loopback6.example=::1 metadata.example={METADATA}
    metadata6.example=fd00:ec2::254 private.example=10.0.0.1 vpc.example=172.31.0.2
    shared.example=100.64.0.1 unspecified.example=0.0.0.0 mapped.example=::ffff:a9fe:a9fe
    nat64.example=64:ff9b::a9fe:a9fe 6to4.example=2002:7f00:1::
    teredo.example=2001:0:4136:e378:8000:63bf:80ff:fffe 127.0.0.1.nip.example=127.0.0.1
    sub.xn--bcher-kva.example=127.0.0.1
"""


def zone() -> Mapping[str, tuple[str, ...] | Iterator[tuple[str, ...]]]:
    """Return the test name server's answers. An iterator gives another answer each time."""
    return {
        **{name: (address,) for name, address in (p.split("=") for p in _TO_ADDRESSES.split())},
        "private-first.example": ("127.0.0.1", PUBLIC_4),
        "all-private.example": ("10.0.0.1", "127.0.0.1", METADATA),
        "private-of-both.example": ("127.0.0.1", "::1"),
        "alias.example": ("CNAME localhost",),
        "alias-of-metadata.example": ("CNAME metadata.example",),
        "other.example": (PUBLIC_4,),
        "mixed.example": (PUBLIC_4, "127.0.0.1"),
        "rebinding.example": cycle([(PUBLIC_4,), ("127.0.0.1",)]),
    }


HOSTILE: Mapping[str, Sequence[str]] = {
    **json.loads(Path(__file__).with_name("uris.json").read_text()),
    "lengths": (
        f"http://{'a' * 64}.example/",
        f"http://{'a' * 254}/",
        f"http://{'a.' * 2000}example/",
        f"http://{'a' * 1_000_000}/",
        f"http://{'1' * 5000}/",
        f"http://127.0.0.1/{'a' * 1_000_000}",
        f"http://{PICTURES}:{'8' * 5000}/",
        f"http://{PICTURES}:{'0' * 5000}8080/",
        f"http://{'user:' * 100_000}@127.0.0.1/",
        f"http://[{'0:' * 5000}1]/",
        f"{'http:' * 1000}//127.0.0.1/",
        "http://" + "\u00e4" * 5000 + ".example/",
    ),
}

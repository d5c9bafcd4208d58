"""No URI leads either face to an address that is not public.

Both faces run in an isolated network in which the test owns every address. A canary listens at each
address and the kernel reports every attempt to connect, so the test detects a hole and harms
nobody. A third server, with the guard off, proves that it would.
"""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest

from ops import local_servers
from ops.local_servers import process_environment
from security.hostile.network import PICTURES, PORTS, PUBLIC, Network, Zone, astray, inside

JSON = {"Content-Type": "application/json"}
SILENT = "silent.example"
FETCH_SECONDS = 3
REDIRECTS = (301, 302, 303, 307, 308)
METADATA = "169.254.169.254"
# Answers that an attacker's name server could give.
_TO_ADDRESSES = f"""
    loopback.example=127.0.0.1 loopback6.example=::1 metadata.example={METADATA}
    metadata6.example=fd00:ec2::254 private.example=10.0.0.1 vpc.example=172.31.0.2
    shared.example=100.64.0.1 unspecified.example=0.0.0.0 mapped.example=::ffff:a9fe:a9fe
    nat64.example=64:ff9b::a9fe:a9fe 6to4.example=2002:7f00:1::
    teredo.example=2001:0:4136:e378:8000:63bf:80ff:fffe 127.0.0.1.nip.example=127.0.0.1
    sub.xn--bcher-kva.example=127.0.0.1
"""


def zone() -> Zone:
    """Return the test name server's answers. An iterator gives another answer each time."""
    return {
        **{name: (address,) for name, address in (p.split("=") for p in _TO_ADDRESSES.split())},
        "private-first.example": ("127.0.0.1", PUBLIC[0]),
        "all-private.example": ("10.0.0.1", "127.0.0.1", METADATA),
        "private-of-both.example": ("127.0.0.1", "::1"),
        "alias.example": ("CNAME localhost",),
        "alias-of-metadata.example": ("CNAME metadata.example",),
        "other.example": (PUBLIC[0],),
        "mixed.example": (PUBLIC[0], "127.0.0.1"),
        "rebinding.example": cycle([(PUBLIC[0],), ("127.0.0.1",)]),
        SILENT: None,
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


class Answer(NamedTuple):
    uri: str
    status: int
    code: str
    message: str
    dialled: Sequence[Sequence[str | int]]  # protocol, address, port


@cache
def answers() -> Mapping[str, list[list[Answer]]]:
    """Return both faces' answers to each URI, by group. One network serves all tests."""
    found = inside(ask, groups())
    return {
        name: [[Answer(*one) for one in pair] for pair in asked] for name, asked in found.items()
    }


def groups() -> dict[str, list[str]]:
    hostile = [uri for uris in HOSTILE.values() for uri in uris]
    # Only URIs that a Location header can hold and that name a host of their own.
    locations = [uri for uri in hostile if re.fullmatch(r"[!-9;-~]+://[!-.0-~][!-~]{0,999}", uri)]
    public = f"http://{PICTURES}/cat.png"
    return {
        "hostile": hostile,
        "redirects": [redirect(uri, status) for uri, status in zip(locations, cycle(REDIRECTS))],
        "every status": [redirect(f"http://{METADATA}/", status) for status in REDIRECTS],
        "public": [
            public,
            f"https://{PICTURES}/cat.png",
            f"http://{PUBLIC[0]}/",
            f"https://[{PUBLIC[1]}]:443/",
            f"HTTP://user:password@{PICTURES.upper()}.:80/",
            redirect(public),
            redirect(f"https://{PICTURES}/cat.png"),
            redirect(redirect(redirect(public))),
        ],
        "wrong certificate": ["https://other.example/"],
        "mixed": ["http://mixed.example/"] * 4,
        "rebinding": ["http://rebinding.example/"] * 6,
        "rebinding redirect": [redirect("http://rebinding.example/", host="rebinding.example")],
        "silent name server": [f"http://{SILENT}/"],
    }


def redirect(uri: str, status: int = 302, host: str = PICTURES) -> str:
    return f"http://{host}/redirect?status={status}&to={quote(uri, safe='')}"


def ask(uris: Mapping[str, list[str]]) -> dict[str, list[list[Answer]]]:
    """Return both faces' answers and what each request dialled. Call it inside the network."""
    with Network.up(zone()) as network, ExitStack() as stack:
        environment = {
            **process_environment(),
            **network.environment,
            "WORKERS": "1",
            "FETCH_TIMEOUT_SECONDS": str(FETCH_SECONDS),
        }
        unguarded = {**environment, "FETCH_PRIVATE_ADDRESSES": "1"}
        both: list[local_servers.Face] = [
            stack.enter_context(local_servers.http_process(environment)),
            stack.enter_context(local_servers.lambda_process(environment)),
        ]
        hole = stack.enter_context(local_servers.http_process(unguarded))

        def asked(face: local_servers.Face, uri: str) -> Answer:
            body = json.dumps({"uri": uri}).encode()
            reply = face.send("POST", "/invocations", JSON, body)
            error = json.loads(reply.body).get("error", {})
            message = error.get("message", "")[:300]
            # The ports of the faces and of Lambda's runtime API have no canary.
            dialled = [d for d in network.dialled() if d.address != "127.0.0.1" or d.port in PORTS]
            return Answer(uri, reply.status, error.get("code", ""), message, dialled)

        for face in both:  # the emulator starts its function at the first request
            asked(face, "data:,")
        found = {name: [[asked(f, uri) for f in both] for uri in uris[name]] for name in uris}
        found["guard off"] = [[asked(hole, uri)] for uri in uris["hostile"]]
        return found


def refused(pair: list[Answer]) -> bool:
    refusals = ((400, "malformed_request"), (403, "uri_not_allowed"), (424, "uri_fetch_failed"))
    return all((answer.status, answer.code) in refusals for answer in pair)


def reached(pair: list[Answer]) -> set[tuple[str, str, int]]:
    return astray(dial for answer in pair for dial in answer.dialled)


def test_hostile_uris_reach_nothing() -> None:
    pairs = answers()["hostile"]
    assert len({pair[0].uri for pair in pairs}) >= 150
    assert [pair for pair in pairs if not refused(pair)] == []
    assert [pair for pair in pairs if pair[0][:4] != pair[1][:4]] == []  # both faces answer alike
    assert [pair for pair in pairs if pair[0].dialled or pair[1].dialled] == []
    print(f"\n{len(pairs)} hostile URIs of {len(HOSTILE)} kinds, 2 faces: 0 reach a canary")


def test_redirects_to_hostile_uris_are_refused() -> None:
    pairs = answers()["redirects"] + answers()["every status"]
    assert len(pairs) >= 150
    assert [pair for pair in pairs if not refused(pair) or pair[0].status == 400] == []
    assert [pair for pair in pairs if reached(pair)] == []
    assert all(pair[0].dialled and pair[1].dialled for pair in pairs)  # they were redirected
    print(f"\n{len(pairs)} redirects to them, 2 faces: 0 reach a canary")


def test_canaries_are_reached_with_the_guard_off() -> None:
    """The tests above would detect a hole."""
    found = {pair[0].uri: pair[0] for pair in answers()["guard off"]}
    assert not [answer for answer in found.values() if answer.status >= 500]
    led = [answer for answer in found.values() if reached([answer])]
    assert len(led) >= 150
    assert len([answer for answer in led if answer.status == 200]) >= 100
    canaries = {
        "http://127.0.0.1/latest/meta-data/": "127.0.0.1",
        f"http://{METADATA}/latest/meta-data/": METADATA,
        "http://[fd00:ec2::254]/latest/meta-data/": "fd00:ec2::254",
        "http://2130706433/": "127.0.0.1",
        "http://[::ffff:7f00:1]/": "127.0.0.1",
    }
    for uri, address in canaries.items():
        assert found[uri].dialled == [["tcp", address, 80]]
    print(f"\nWith the guard off, {len(led)} of the {len(found)} reach one")


def test_public_addresses_are_reached() -> None:
    for pair in answers()["public"]:
        assert [answer.status for answer in pair] == [200, 200], pair
        assert all(answer.dialled for answer in pair)
        assert not reached(pair)


@pytest.mark.parametrize(
    ("group", "status", "message", "ports"),
    [
        ("wrong certificate", 424, "TLS with other.example: CERTIFICATE_VERIFY_FAILED", [443]),
        ("rebinding redirect", 403, "rebinding.example is not a public address", [80]),
        ("silent name server", 424, f"{SILENT} was not found in time", []),
    ],
)
def test_refused_fetches(group: str, status: int, message: str, ports: list[int]) -> None:
    for answer in answers()[group][0]:
        assert answer.status == status
        assert message in answer.message
        assert answer.dialled == [["tcp", PUBLIC[0], port] for port in ports]


def test_a_name_with_public_and_private_addresses_leads_to_no_private_one() -> None:
    """The resolver may return them in any order."""
    for pair in answers()["mixed"]:
        assert all(answer.status in (200, 403) for answer in pair)
        assert not reached(pair)


def test_a_name_that_changes_its_address_after_the_check_leads_nowhere_else() -> None:
    """The address alternates between public and loopback; the checked address is dialled."""
    pairs = answers()["rebinding"]
    assert [answer.status for pair in pairs for answer in pair] == [200, 403] * 6
    assert [pair for pair in pairs if reached(pair)] == []

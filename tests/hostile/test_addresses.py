"""No URI of a stranger leads to an address that is not public, whichever face gets it.

Both faces run in a network of the test's own, where every address belongs to the test: a canary
listens behind each, and the kernel shows every dial, so a hole would be seen and would lead nowhere
else. A guard that is switched off shows that it would be seen.
"""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import quote

from hostile.network import PICTURES, PORTS, PUBLIC, Network, astray, inside
from hostile.uris import HOSTILE, METADATA, zone
from ops import faces
from ops.local import process_environment

JSON = {"Content-Type": "application/json"}
SILENT = "silent.example"
FETCH_SECONDS = 3
REDIRECTS = (301, 302, 303, 307, 308)


class Answer(NamedTuple):
    uri: str
    status: int
    code: str
    message: str
    dialled: Sequence[tuple[str, str, int]]
    seconds: float


@cache
def answers() -> Mapping[str, list[list[Answer]]]:
    """By group of URIs, each URI's answers from both faces. One network serves all tests."""
    found = inside(ask, groups())
    return {
        name: [[Answer(*map(_tuples, one)) for one in pair] for pair in pairs]
        for name, pairs in found.items()
    }


def _tuples(value: Any) -> Any:
    return [tuple(dial) for dial in value] if isinstance(value, list) else value


def groups() -> dict[str, list[str]]:
    hostile = [uri for uris in HOSTILE.values() for uri in uris]
    # Those that a header can hold, and that are no reference to the host that redirects.
    locations = [uri for uri in hostile if re.fullmatch(r"[!-9;-~]+://[!-.0-~][!-~]{0,999}", uri)]
    public = f"http://{PICTURES}/cat.png"
    return {
        "hostile": hostile,
        "redirects": [
            redirect(uri, REDIRECTS[i % len(REDIRECTS)]) for i, uri in enumerate(locations)
        ],
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
        "too far": [redirect(redirect(redirect(redirect(public))))],
        "downgrade": [redirect(public, scheme="https")],
        "another name's certificate": ["https://other.example/"],
        "mixed": ["http://mixed.example/"] * 4,
        "rebinding": ["http://rebinding.example/"] * 6,
        "rebinding redirect": [redirect("http://rebinding.example/", host="rebinding.example")],
        "silent name server": [f"http://{SILENT}/"],
        "trickle": [f"http://{PICTURES}/trickle"],
        "large": [f"http://{PICTURES}/large"],
    }


def redirect(uri: str, status: int = 302, host: str = PICTURES, scheme: str = "http") -> str:
    return f"{scheme}://{host}/redirect?status={status}&to={quote(uri, safe='')}"


def ask(uris: Mapping[str, list[str]]) -> dict[str, list[list[Answer]]]:
    """To be called inside: what both faces say of each URI, and what was dialled meanwhile."""
    with Network.up({**zone(), SILENT: None}) as network, ExitStack() as stack:
        environment = {
            **process_environment(),
            **network.environment,
            "WORKERS": "1",
            "FETCH_TIMEOUT_SECONDS": str(FETCH_SECONDS),
        }
        unguarded = {**environment, "FETCH_PRIVATE_ADDRESSES": "1"}
        both: list[faces.Face] = [
            stack.enter_context(faces.http_process(environment)),
            stack.enter_context(faces.lambda_process(environment)),
        ]
        hole = stack.enter_context(faces.http_process(unguarded))

        def asked(face: faces.Face, uri: str) -> Answer:
            body = json.dumps({"uri": uri}).encode()
            reply = face.send("POST", "/invocations", JSON, body)
            error = json.loads(reply.body).get("error", {})
            message = error.get("message", "")[:300]
            # The test's own requests, and what Lambda's runtime asks, go to ports of no canary.
            dialled = [d for d in network.dialled() if d.address != "127.0.0.1" or d.port in PORTS]
            return Answer(uri, reply.status, error.get("code", ""), message, dialled, reply.seconds)

        for face in both:  # the emulator starts its function with the first
            asked(face, "data:,")
        found = {name: [[asked(f, uri) for f in both] for uri in uris[name]] for name in uris}
        found["guard off"] = [[asked(hole, uri)] for uri in uris["hostile"]]
        return found


def refused(pair: list[Answer]) -> bool:
    return all(
        (answer.status, answer.code)
        in {(400, "malformed_request"), (403, "uri_not_allowed"), (424, "uri_fetch_failed")}
        for answer in pair
    )


def reached(pair: list[Answer]) -> set[tuple[str, str, int]]:
    return astray(dial for answer in pair for dial in answer.dialled)


def test_hostile_uris_reach_nothing(capsys: Any) -> None:
    pairs = answers()["hostile"]
    assert len({pair[0].uri for pair in pairs}) >= 150
    assert [pair for pair in pairs if not refused(pair)] == []
    assert [pair for pair in pairs if pair[0][:4] != pair[1][:4]] == []  # both say the same
    assert [pair for pair in pairs if pair[0].dialled or pair[1].dialled] == []
    with capsys.disabled():
        print(f"\n{len(pairs)} hostile URIs of {len(HOSTILE)} kinds, 2 faces: 0 reach a canary")


def test_redirects_to_each_are_refused(capsys: Any) -> None:
    pairs = answers()["redirects"] + answers()["every status"]
    assert len(pairs) >= 150
    assert [pair for pair in pairs if not refused(pair) or pair[0].status == 400] == []
    assert [pair for pair in pairs if reached(pair)] == []
    assert all(pair[0].dialled and pair[1].dialled for pair in pairs)  # the redirects were given
    with capsys.disabled():
        print(f"\n{len(pairs)} redirects to them, 2 faces: 0 reach a canary")


def test_with_the_guard_off_the_canaries_are_reached(capsys: Any) -> None:
    """Else the tests above would show nothing."""
    found = {pair[0].uri: pair[0] for pair in answers()["guard off"]}
    assert not [answer for answer in found.values() if answer.status >= 500]
    led = [answer for answer in found.values() if reached([answer])]
    assert len(led) >= 150
    assert len([answer for answer in led if answer.status == 200]) >= 100  # pictures, too
    for address in ("127.0.0.1", METADATA, "169.254.170.2", "169.254.170.23", "10.0.0.1"):
        assert found[f"http://{address}/latest/meta-data/"].dialled == [("tcp", address, 80)]
    for address in ("::1", "fd00:ec2::254"):
        assert found[f"http://[{address}]/latest/meta-data/"].dialled == [("tcp", address, 80)]
    for uri in ("http://2130706433/", "http://0177.0.0.1/", "http://[::ffff:7f00:1]/"):
        assert found[uri].dialled == [("tcp", "127.0.0.1", 80)]
    with capsys.disabled():
        print(f"\nWith the guard off, {len(led)} of the {len(found)} do")


def test_public_addresses_are_reached() -> None:
    """By name, by address, after redirects; over both protocols."""
    for pair in answers()["public"]:
        assert [answer.status for answer in pair] == [200, 200], pair
        assert all(answer.dialled for answer in pair)
        assert not reached(pair)


def test_more_than_three_redirects() -> None:
    for answer in answers()["too far"][0]:
        assert (answer.status, answer.message) == (424, "more than 3 redirects")
        assert len(answer.dialled) == 4


def test_a_redirect_from_https_to_http() -> None:
    for answer in answers()["downgrade"][0]:
        message = "a redirect from https to http is not followed"
        assert (answer.status, answer.message) == (403, message)
        assert answer.dialled == [("tcp", PUBLIC[0], 443)]


def test_a_certificate_of_another_name() -> None:
    for answer in answers()["another name's certificate"][0]:
        assert (answer.status, answer.code) == (424, "uri_fetch_failed")
        assert answer.message == "TLS with other.example: CERTIFICATE_VERIFY_FAILED"


def test_a_name_with_public_and_private_addresses() -> None:
    """In whichever order the resolver gives them."""
    for pair in answers()["mixed"]:
        assert all(answer.status in (200, 403) for answer in pair)
        assert not reached(pair)


def test_a_name_that_is_bound_anew_after_it_was_judged() -> None:
    """Its addresses take turns: public, loopback. What was judged is what is dialled."""
    statuses = [answer.status for pair in answers()["rebinding"] for answer in pair]
    assert statuses == [200, 403] * 6
    assert [pair for pair in answers()["rebinding"] if reached(pair)] == []


def test_a_name_that_is_bound_anew_between_two_redirects() -> None:
    for answer in answers()["rebinding redirect"][0]:
        assert (answer.status, answer.code) == (403, "uri_not_allowed")
        assert answer.dialled == [("tcp", PUBLIC[0], 80)]


def test_a_name_server_that_does_not_answer() -> None:
    for answer in answers()["silent name server"][0]:
        assert (answer.status, answer.message) == (424, f"{SILENT} was not found in time")
        assert answer.seconds < FETCH_SECONDS + 5


def test_a_body_that_trickles_or_does_not_end() -> None:
    for answer in answers()["trickle"][0]:
        assert (answer.status, answer.message) == (424, f"{PICTURES} did not answer in time")
        assert answer.seconds < FETCH_SECONDS + 5
    for answer in answers()["large"][0]:
        assert (answer.status, answer.code) == (413, "too_large")

"""Kinds of requests, each with its only right answer, to the byte.

They are the golden cases, two photographs, and bad upstreams of a `uri`. The idle server gives the
right answer, which must equal the golden answer and must not change by a byte.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ops.local_servers import HttpReply
from soak.client import Answer, Lane
from soak.server import HOST
from support import cases
from support.cases import PHOTOS

# Shares of the traffic. The golden cases, most of them errors, share the rest evenly.
PICTURES, UPSTREAM, LARGE, RUBBISH = 0.7, 0.02, 0.004, 0.01
_LARGE_BYTES = 1 << 20
_TRIES = 5
_TOO_LATE = b"did not answer in time"

# `late`: our own upstream, which shares the server's CPUs, did not answer a fetch in time.
Outcome = Literal["served", "refused", "late"]


class Wrong(Exception):
    """An answer that is neither right nor a deliberate refusal."""


@dataclass(frozen=True)
class Kind:
    name: str
    share: float
    message: bytes
    status: int
    case: cases.Case | None = None
    says: bytes = b""  # a part of the right answer
    right: bytes = b""

    def outcome(self, answer: Answer) -> Outcome:
        """Return how the request ended. Raise Wrong."""
        if (answer.status, answer.body) == (self.status, self.right):
            return "served"
        if answer.status == 503 and answer.retry_after:
            return "refused"
        if self._fetches and answer.status in (self.status, 424) and _TOO_LATE in answer.body:
            return "late"
        wanted = f"{self.status} {self.right[:200]!r}"
        raise Wrong(f"{self.name}: {answer.status} {answer.body[:200]!r}, not {wanted}")

    @property
    def _fetches(self) -> bool:
        return b"://127.0.0.1:" in self.message or b"s3://" in self.message


def message(method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}"] if method == "POST" else []
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def photograph(name: str = "cat.jpg") -> bytes:
    headers = {"Content-Type": "image/jpeg"}
    return message("POST", "/invocations", headers, (PHOTOS / name).read_bytes())


def chunked(body: bytes) -> bytes:
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
    return head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"


def kinds(places: Mapping[str, str]) -> list[Kind]:
    """Return the kinds of requests. `places` are the upstream's."""
    golden = [
        Kind(case.name, 0, _of(case, places), case.reply["status"], case)
        for case in cases.load()
        if case.private_addresses or not case.name.startswith("uris: ")
    ]
    large = [kind for kind in golden if len(kind.message) > _LARGE_BYTES]
    large.append(Kind("a chunked body larger than the limit", 0, chunked(bytes(5 << 20)), 413))
    small = [kind for kind in golden if kind not in large]
    pictures = [Kind(name, 0, photograph(name), 200) for name in ("cat.jpg", "rocket.jpg")]
    bad = {"hang": _TOO_LATE, "trickle": _TOO_LATE, "loop": b"redirects", "endless": b"larger"}
    bad |= dict.fromkeys(("truncated", "rubbish", "hang-up"), b"broke")
    upstream = []
    for path, says in bad.items():
        uri = json.dumps({"uri": f"{places['http']}/{path}"}).encode()
        asks = message("POST", "/invocations", {"Content-Type": "application/json"}, uri)
        status = 413 if path == "endless" else 424
        upstream.append(Kind(f"upstream: {path}", 0, asks, status, says=says))
    rubbish = [
        Kind("no HTTP", 0, b"\x16\x03\x01 rubbish\r\n\r\n", 400),
        Kind("a broken chunk", 0, chunked(b"x").replace(b"\r\n1\r\n", b"\r\nzz\r\n"), 400),
        Kind("large headers", 0, message("GET", "/ping", {"Large": "x" * 100_000}, b""), 431),
    ]
    shares = ((pictures, PICTURES), (upstream, UPSTREAM), (large, LARGE), (rubbish, RUBBISH))
    every = (*shares, (small, 1 - sum(share for _, share in shares)))
    return [replace(kind, share=share / len(group)) for group, share in every for kind in group]


async def learn(unlearnt: Sequence[Kind], port: int, places: Mapping[str, str]) -> list[Kind]:
    """Return the kinds with an idle server's answers. Raise AssertionError for a wrong one."""
    lane = Lane(HOST, port)
    learnt = []
    for kind in unlearnt:
        for tries_left in reversed(range(_TRIES)):  # the machine may be busy even now
            answer = await lane.ask(kind.message)
            try:
                _check(kind, answer, places)
                break
            except AssertionError:
                if not tries_left:
                    raise
        learnt.append(replace(kind, right=answer.body))
    lane.close()
    return learnt


def _check(kind: Kind, answer: Answer, places: Mapping[str, str]) -> None:
    assert answer.status == kind.status, f"{kind.name}: {answer}"
    assert kind.says in answer.body, f"{kind.name}: {answer}"
    if kind.case and "headers" not in kind.case.reply:
        kind.case.check(HttpReply(kind.status, {}, answer.body, 0.0), places)


def _of(case: cases.Case, places: Mapping[str, str]) -> bytes:
    return message(case.method, case.path, case.headers, case.body(places))

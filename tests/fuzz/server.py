"""A live server, what it may answer to anything at all, and what must be true of it afterwards."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cases import PHOTOS
from ops import faces
from ops.faces import ENTRY, HttpFace, Process
from ops.local import process_environment
from serving import errors
from serving.errors import ServingError
from upstream import Upstream

HANG_SECONDS = 30
_KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type)]
CODES = {(kind.status, kind.code) for kind in _KINDS if issubclass(kind, ServingError)}
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: [ -~]*)?")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def split_answers(stream: bytes, *, cut: bool, head: bool) -> list[Answer]:
    """The answers of a connection, in order.

    `cut`: it was reset, so the last one may be incomplete. `head`: a HEAD may have been asked, to
    which a length is given and no body. Raises AssertionError for what is no HTTP.
    """
    answers = []
    while stream:
        start, end, rest = stream.partition(b"\r\n\r\n")
        if not end:
            assert cut, f"half an answer: {stream[:200]!r}"
            break
        line, *fields = start.split(b"\r\n")
        found = _STATUS_LINE.fullmatch(line)
        assert found, f"no status line: {line[:200]!r}"
        headers = {}
        for text in fields:
            name, colon, value = text.decode("ascii").partition(":")
            assert colon and re.fullmatch(r"[\w-]+", name) and value.isprintable(), text
            headers[name.lower()] = value.strip()
        status = int(found[1])
        if status == 100:
            stream = rest
            continue
        length = int(headers["content-length"])
        if head and (not rest or rest.startswith(b"HTTP/1.")):
            length = 0
        if len(rest) < length:
            assert cut, f"half a body: {stream[:200]!r}"
            break
        answers.append(Answer(status, headers, rest[:length]))
        stream = rest[length:]
    return answers


def judge(answer: Answer) -> None:
    """Assert that anybody may get this answer, whatever was asked."""
    assert answer.status < 500 or answer.status == 503, answer
    assert b"Traceback" not in answer.body, answer
    assert b'File "' not in answer.body, answer
    if answer.status == 503:
        assert int(answer.headers["retry-after"]) >= 1
    if answer.status >= 400 and answer.body:
        assert answer.headers["content-type"] == "application/json", answer
        found = json.loads(answer.body)
        assert found.keys() == {"error"}, answer
        assert found["error"].keys() == {"code", "message"}, answer
        assert (answer.status, found["error"]["code"]) in CODES, answer
    elif answer.status >= 400:
        assert answer.headers["content-length"] == "0", answer
    else:
        assert answer.status == 200, answer
        if answer.headers.get("content-type") == "application/json" and answer.body:
            json.loads(answer.body)


@dataclass
class FuzzedServer:
    """A server of two workers, whose addresses lead to the upstream of the tests alone."""

    face: HttpFace
    process: Process
    places: dict[str, str]
    workers: frozenset[int] = field(default_factory=frozenset)

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.face.url.removeprefix("http://").partition(":")
        return host, int(port)

    def running_workers(self) -> frozenset[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return frozenset(map(int, children.read_text().split()))

    def check(self) -> None:
        """Assert that the same workers are right about a picture, and logged nothing worse."""
        for photo, label in (("cat.jpg", "tiger cat"), ("coffee.png", "espresso")):
            body = (PHOTOS / photo).read_bytes()
            reply = self.face.send("POST", "/invocations", {"Content-Type": "image/jpeg"}, body)
            assert (reply.status, json.loads(reply.body)["results"][0]["label"]) == (200, label)
        assert self.face.send("GET", "/ping", {}).status == 200
        assert self.running_workers() == self.workers
        for line in self.process.output.splitlines():
            assert line.startswith("{"), line
            record: dict[str, Any] = json.loads(line)
            assert record["level"] in ("INFO", "WARNING"), line
            assert record["message"] != "fault" and "traceback" not in record, line


@contextmanager
def fuzzed_server(upstream: Upstream) -> Iterator[FuzzedServer]:
    port = faces.free_port()
    command = [str(ENTRY), "serve", "--host", "127.0.0.1", "--port", str(port)]
    environment = {**process_environment(), **upstream.environment, "WORKERS": "2"}
    with faces.running(command, environment) as process:
        face = HttpFace(f"http://127.0.0.1:{port}")
        faces.wait_until_healthy(face, process)
        server = FuzzedServer(face, process, dict(upstream.places))
        server.workers = server.running_workers()
        assert len(server.workers) == 2
        yield server
        server.check()

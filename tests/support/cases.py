"""The golden cases: requests and the answers that every face must give.

Texts may hold `{bytes:FILE}`, `{head:FILE}` (its first 1,000 bytes), `{zeros:N}`, `{data:FILE}`,
`{sha256:FILE}` for a photograph or another file, and the upstream's `{http}`, `{https}`, `{host}`.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ops.local_servers import ROOT, HttpReply

GOLDEN = Path(__file__).parents[1] / "contract" / "golden"
PHOTOS = ROOT / "container" / "photos"
TOLERANCE = 1e-5  # for a probability on another CPU; faces must agree to the byte
ROUNDED = 2e-4  # for a number that a model rounds to four digits
EXAMPLE = '{"name": "a flower", "request": {"body": {}}, "reply": {"status": 400, "json": {}}}'


@dataclass(frozen=True)
class Case:
    name: str
    private_addresses: bool
    reply: Mapping[str, Any]
    files: Path
    content: Any  # the body: a text, or JSON
    method: str = "POST"
    path: str = "/invocations"
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_json(self) -> bool:
        """Return True if a direct invocation can carry it: JSON, and no header that matters."""
        return isinstance(self.content, dict | list) and "Accept" not in self.headers

    def event(self, places: Mapping[str, str]) -> Any:
        return json.loads(self.body(places))

    def body(self, places: Mapping[str, str]) -> bytes:
        if not isinstance(self.content, str):
            return self._fill(json.dumps(self.content), places).encode()
        if match := re.fullmatch(r"\{(bytes|head|zeros):(.*)\}", self.content):
            kind, what = match.groups()
            if kind == "zeros":
                return bytes(int(what))
            data = (self.files / what).read_bytes()
            return data[:1000] if kind == "head" else data
        return self._fill(self.content, places).encode()

    def check(self, reply: HttpReply, places: Mapping[str, str]) -> None:
        """Assert that a reply is this case's; the AssertionError shows both."""
        wanted = self.reply["status"]
        answered = f"status {reply.status}, {reply.body.decode(errors='replace')}"
        assert reply.status == wanted, f"answered: {answered}\nexpected: status {wanted}"
        for name, value in self.reply.get("headers", {}).items():
            given = reply.headers.get(name)
            assert given == value, f"answered: {name}: {given}\nexpected: {name}: {value}"
        if "text" in self.reply:
            assert reply.body.decode() == self.reply["text"]
        elif "lines" in self.reply:
            lines = reply.body.decode().split("\n")
            assert lines.pop() == ""
            self._check_json([json.loads(line) for line in lines], self.reply["lines"], places)
        else:
            self._check_json(json.loads(reply.body), self.reply["json"], places)

    def check_direct(self, answer: Any, places: Mapping[str, str]) -> None:
        """Assert that a direct invocation's answer is this case's."""
        self._check_json(answer, self.reply["json"], places)

    def _check_json(self, actual: Any, expected: Any, places: Mapping[str, str]) -> None:
        expected = json.loads(self._fill(json.dumps(expected), places))
        both = f"answered: {json.dumps(actual)}\nexpected: {json.dumps(expected)}"
        probabilities, wanted = _take_probabilities(actual), _take_probabilities(expected)
        assert actual == _nearly(expected), both
        near = pytest.approx([float(p) for p in wanted], rel=0, abs=TOLERANCE)
        assert [float(p) for p in probabilities] == near, both

    def _fill(self, text: str, places: Mapping[str, str]) -> str:
        def replace(match: re.Match[str]) -> str:
            kind, _, file = match[1].partition(":")
            if kind == "data":
                return data_uri(file, self.files)
            if kind == "sha256":
                return "sha256:" + hashlib.sha256((self.files / file).read_bytes()).hexdigest()
            return places[kind]

        return re.sub(r"\{((?:data|sha256):[\w./]+|https?|host)\}", replace, text)


def load() -> list[Case]:
    return [case for path in sorted(GOLDEN.glob("*.json")) for case in read(path, PHOTOS)]


def read(path: Path, files: Path) -> list[Case]:
    """Return a file's cases, which name files in `files`.

    Raise CollectError, which pytest prints without a traceback.
    """
    cases = []
    try:
        for found in json.loads(path.read_text()):
            name, reply = f"{path.stem}: {found['name']}", found["reply"]
            request = {"body": "", **found["request"]}
            if "status" not in reply or not {"json", "lines", "text"} & reply.keys():
                what = f"the reply of {found['name']!r} lacks status, json, lines or text"
                raise ValueError(what)
            private, content = found.get("private_addresses", False), request.pop("body")
            cases.append(Case(name, private, reply, files, content, **request))
    except (ValueError, TypeError, KeyError) as error:
        raise pytest.Collector.CollectError(
            f"{path}: {error!r}; it holds an array of objects such as {EXAMPLE}"
        ) from None
    return cases


def data_uri(file: str, files: Path = PHOTOS) -> str:
    return "data:image/jpeg;base64," + base64.b64encode((files / file).read_bytes()).decode()


def _nearly(expected: Any) -> Any:
    """Return the answer with every float replaced by an approximation."""
    if isinstance(expected, dict):
        return {name: _nearly(value) for name, value in expected.items()}
    if isinstance(expected, list):
        return [_nearly(value) for value in expected]
    if isinstance(expected, float):
        return pytest.approx(expected, rel=0, abs=ROUNDED)
    return expected


def _take_probabilities(answer: Any) -> list[str]:
    """Remove the `prob` of every result and return them, in order."""
    answers = answer if isinstance(answer, list) else [answer]
    results = [r for a in answers if isinstance(a, dict) for r in a.get("results", [])]
    return [result.pop("prob") for result in results]

"""The server keeps docs/openapi.yaml for requests that schemathesis generates from it."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
import yaml
from hypothesis import given
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi import checks

from ops.local_servers import ROOT, HttpReply
from security.fuzz.answers import HANG_SECONDS, judge
from security.fuzz.garbage import PICTURES, dices, mutated
from security.fuzz.plan import fuzzed, saw
from soak.server import Server

DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text())
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]

pictures = st.binary(max_size=300) | st.builds(mutated, dices, st.sampled_from(PICTURES))
rows = st.lists(st.sampled_from([b"{}", b'{"uri": "data:,"}', b"[", b"7"]) | st.binary(max_size=20))
for media_type in ("image/jpeg", "image/png", "image/webp", "application/x-image"):
    schemathesis.openapi.media_type(media_type, pictures)
schemathesis.openapi.media_type("application/jsonlines", rows.map(b"\n".join))
load_all_checks()

# schemathesis would not count 413 (too many records) as a refusal.
refusals = {"checks": {"negative_data_rejection": {"expected-statuses": ["4xx", 503]}}}
schema = schemathesis.openapi.from_dict(DOCUMENT, config=schemathesis.Config.from_dict(refusals))
INVOCATIONS = schema["/invocations"]["POST"]
ALLOWED = INVOCATIONS.as_strategy(GenerationMode.POSITIVE)
NOT_ALLOWED = INVOCATIONS.as_strategy(GenerationMode.NEGATIVE)


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as kept:
        yield kept


@fuzzed("schemathesis")
@given(case=ALLOWED | NOT_ALLOWED)
def test_answers_are_described(case: Case[Any], server: Server, session: requests.Session) -> None:
    response = case.call(base_url=server.face.url, session=session, timeout=HANG_SECONDS)
    headers = {name.lower(): values[0] for name, values in response.headers.items()}
    saw("schemathesis", [response.status_code])
    judge(HttpReply(response.status_code, headers, response.content, 0.0))
    case.validate_response(response, checks=CHECKS)

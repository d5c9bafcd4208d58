"""What docs/openapi.yaml allows, and what it does not, as schemathesis makes it."""

import random
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

from fuzz.bodies import PICTURES, mutated
from fuzz.plan import fuzzed, saw
from fuzz.server import HANG_SECONDS, Answer, FuzzedServer, judge
from ops.faces import ROOT

DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text())
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]

pictures = st.binary(max_size=300) | st.builds(
    lambda seed, picture: mutated(random.Random(seed), picture),  # noqa: S311 - not for a secret
    st.integers(),
    st.sampled_from(PICTURES),
)
lines = st.lists(
    st.sampled_from([b"{}", b'{"uri": "data:,"}', b"[", b"7"]) | st.binary(max_size=20)
)
for media_type in ("image/jpeg", "image/png", "image/webp", "application/x-image"):
    schemathesis.openapi.media_type(media_type, pictures)
schemathesis.openapi.media_type("application/jsonlines", lines.map(b"\n".join))
load_all_checks()

# Too many records are a 413, which schemathesis takes for no refusal by itself.
refusals = {"checks": {"negative_data_rejection": {"expected-statuses": ["4xx", 503]}}}
schema = schemathesis.openapi.from_dict(DOCUMENT, config=schemathesis.Config.from_dict(refusals))
OPERATIONS = [(path, method.upper()) for path, item in DOCUMENT["paths"].items() for method in item]
INVOCATIONS = schema["/invocations"]["POST"]


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as kept:
        yield kept


def send(case: Case[Any], server: FuzzedServer, session: requests.Session) -> None:
    response = case.call(base_url=server.face.url, session=session, timeout=HANG_SECONDS)
    headers = {name.lower(): values[0] for name, values in response.headers.items()}
    answer = Answer(response.status_code, headers, response.content)
    saw("schemathesis", [answer.status])
    judge(answer)
    case.validate_response(response, checks=CHECKS)


@fuzzed("schemathesis", 2)
@given(case=INVOCATIONS.as_strategy(GenerationMode.POSITIVE))
def test_what_it_allows(case: Case[Any], server: FuzzedServer, session: requests.Session) -> None:
    send(case, server, session)


@fuzzed("schemathesis", 2)
@given(case=INVOCATIONS.as_strategy(GenerationMode.NEGATIVE))
def test_what_it_does_not_allow(
    case: Case[Any], server: FuzzedServer, session: requests.Session
) -> None:
    send(case, server, session)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_operation(
    path: str, method: str, server: FuzzedServer, session: requests.Session
) -> None:
    send(schema[path][method].Case(), server, session)

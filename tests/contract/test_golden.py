"""Run the golden cases on each face, and compare each answer byte for byte with the pipeline's.

AWS's Runtime Interface Emulator replaces Lambda, `docker run IMAGE serve` replaces SageMaker, and
upstream.py replaces the internet and S3.
"""

import re

import pytest

from ops.local_servers import EmulatedLambda
from support import cases
from support.cases import Case
from support.farm import FORWARDING, KINDS, Farm

CASES = [pytest.param(case, id=case.name) for case in cases.load()]
FACES = [
    pytest.param(kind, marks=[pytest.mark.docker] if "container" in kind else [], id=kind)
    for kind in KINDS
]
# Headers about the connection. Lambda's own front end would add them.
TRANSPORT = {"connection", "content-length", "date", "server", "transfer-encoding"}
IDENTITY = "x-amzn-sagemaker-custom-attributes"


@pytest.mark.parametrize("case", CASES)
def test_pipeline(case: Case, farm: Farm) -> None:
    face, places = farm.reference("process", case.private_addresses), farm.upstream("").places
    case.check(face.send(case.method, case.path, case.headers, case.body(places)), places)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", FACES)
def test_http(case: Case, kind: str, farm: Farm) -> None:
    places = farm.upstream(kind).places
    call = (case.method, case.path, case.headers, case.body(places))
    reply = farm.face(kind, case.private_addresses).send(*call)
    case.check(reply, places)

    expected = farm.reference(kind, case.private_addresses).send(*call)
    assert reply.body == expected.body
    assert {k: v for k, v in reply.headers.items() if k not in TRANSPORT} == expected.headers
    model_id = reply.headers["x-model-id"]
    assert re.fullmatch("[0-9a-f]{64}", model_id)
    assert reply.headers["x-image-id"] == "local"
    assert reply.headers[IDENTITY] == f"image=local;model={model_id}"


@pytest.mark.parametrize("case", CASES)
def test_forwarding(case: Case, farm: Farm) -> None:
    """A function that forwards to the HTTP face, behind a stand-in for SageMaker's runtime."""
    places = farm.upstream("").places
    call = (case.method, case.path, case.headers, case.body(places))
    reply = farm.face(FORWARDING, case.private_addresses).send(*call)
    case.check(reply, places)

    is_forwarded = (case.method, case.path) == ("POST", "/invocations")
    assert reply.headers.get("x-served-by") == ("sagemaker" if is_forwarded else None)
    expected = farm.face("http process", case.private_addresses).send(*call)
    assert reply.body == expected.body
    names = ["content-type", "retry-after", "allow"]
    if is_forwarded and case.reply["status"] == 200:  # SageMaker passes no header of an error
        names += [IDENTITY, "x-image-id", "x-model-id"]
    assert [reply.headers.get(n) for n in names] == [expected.headers.get(n) for n in names]


@pytest.mark.parametrize("case", [param for param in CASES if param.values[0].is_json])
@pytest.mark.parametrize("kind", [*(p for p in FACES if "lambda" in p.values[0]), FORWARDING])
def test_direct_invocation(case: Case, kind: str, farm: Farm) -> None:
    """The event is the JSON request, the return value the JSON answer."""
    places = farm.upstream(kind).places
    face = farm.face(kind, case.private_addresses)
    assert isinstance(face, EmulatedLambda)
    case.check_direct(face.invoke(case.event(places)), places)

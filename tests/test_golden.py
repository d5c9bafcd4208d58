"""The golden cases on every face, and byte for byte the pipeline's own answer from each.

What is emulated: Lambda, by AWS's Runtime Interface Emulator; SageMaker, by `docker run IMAGE
serve`; the internet and S3, by upstream.py.
"""

import re

import pytest

import cases
from cases import Case
from farm import KINDS, Farm
from ops.faces import EmulatedLambda

CASES = [pytest.param(case, id=case.name) for case in cases.load()]
FACES = [
    pytest.param(kind, marks=[pytest.mark.docker] if "container" in kind else [], id=kind)
    for kind in KINDS
]
# What a server says of the connection, and Lambda's own front end would.
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
    assert re.fullmatch(r"image=local;model=[0-9a-f]{64}", reply.headers[IDENTITY])


@pytest.mark.parametrize("case", [param for param in CASES if param.values[0].is_json])
@pytest.mark.parametrize("kind", [param for param in FACES if "lambda" in param.values[0]])
def test_direct_invocation(case: Case, kind: str, farm: Farm) -> None:
    """The event is the JSON request, the return value the JSON answer."""
    places = farm.upstream(kind).places
    face = farm.face(kind, case.private_addresses)
    assert isinstance(face, EmulatedLambda)
    case.check_direct(face.invoke(case.event(places)), places)

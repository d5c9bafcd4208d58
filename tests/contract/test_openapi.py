"""Compare docs/openapi.yaml with the server: paths, statuses, codes, schemas and examples."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import openapi_spec_validator
import pytest
import yaml
from openapi_schema_validator import OAS31Validator

from ops.local_servers import ROOT, HttpReply
from serving.core import contract, errors
from serving.core.errors import ServingError
from serving.core.settings import DEFAULT_MAX_BODY_BYTES
from serving.fetch import client as fetch
from serving.inference import PAYLOAD_TYPES
from serving.model import image_headers as headers
from serving.service import METHODS
from support import cases
from support.cases import Case
from support.farm import Farm

FILE = ROOT / "docs" / "openapi.yaml"
DOCUMENT: Mapping[str, Any] = yaml.safe_load(FILE.read_text())
PATHS = DOCUMENT["paths"]
OTHERWISE = DOCUMENT["x-otherwise"]
INVOCATIONS = PATHS["/invocations"]["post"]
OPERATIONS = [(path, method) for path, item in PATHS.items() for method in item]


def resolve(node: Any) -> Any:
    """Return the target of a `$ref`. Within schemas, the validator follows them."""
    while "$ref" in node:
        found: Any = DOCUMENT
        for step in node["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        node = found
    return node


@cache
def response(path: str, method: str, status: int) -> Any:
    """Return the description of a status, the operation's or the general one. Raises KeyError."""
    listed = PATHS.get(path, {}).get(method.lower(), {}).get("responses", {})
    return resolve(listed.get(str(status)) or OTHERWISE[str(status)])


def conforms(value: Any, schema: Any) -> bool:
    # A schema's references start at the root, so add their targets there.
    return bool(OAS31Validator({**schema, "components": DOCUMENT["components"]}).is_valid(value))


def check(path: str, method: str, reply: HttpReply) -> None:
    """Assert that the document describes a reply's status, headers and body."""
    described = response(path, method, reply.status)
    for name, header in described["headers"].items():
        resolved = resolve(header)
        if not resolved.get("required") and name.lower() not in reply.headers:
            continue
        text, schema = reply.headers[name.lower()], resolved["schema"]
        assert conforms(int(text) if schema.get("type") == "integer" else text, schema), name
    if method == "HEAD" or "content" not in described:
        assert reply.body == b""
        return
    media_type = reply.headers["content-type"]
    schema = described["content"][media_type]["schema"]
    is_json = media_type == contract.JSON
    body = json.loads(reply.body) if is_json else reply.body.decode()
    assert conforms(body, schema), reply.body
    if media_type == contract.JSON_LINES:
        whole = described["content"][contract.JSON]["schema"]
        assert conforms([json.loads(line) for line in body.splitlines()], whole)


def error_codes() -> Iterator[tuple[int, str]]:
    """Yield each status with each of its codes."""
    for responses in (OTHERWISE, *(PATHS[p][m]["responses"] for p, m in OPERATIONS)):
        for status, described in responses.items():
            if status != "200":
                schema = resolve(described)["content"][contract.JSON]["schema"]
                code = schema["properties"]["error"]["properties"]["code"]
                yield from ((int(status), name) for name in code.get("enum", [code.get("const")]))


def test_it_is_valid_openapi() -> None:
    openapi_spec_validator.validate(dict(DOCUMENT))


def test_it_has_the_paths_and_methods_of_the_service() -> None:
    assert {path: sorted(m.upper() for m in item) for path, item in PATHS.items()} == {
        path: sorted(methods) for path, methods in METHODS.items()
    }


def test_it_has_every_error_and_no_other() -> None:
    found = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    kinds = [kind for kind in found if issubclass(kind, ServingError)]
    assert set(error_codes()) == {(kind.status, kind.code) for kind in kinds}
    names = {name for name in DOCUMENT["components"]["responses"] if hasattr(errors, name)}
    unavailable = {"Overloaded", "EndpointUnavailable"}
    assert names == {kind.__name__ for kind in kinds} - {"ServingError", *unavailable}


def test_it_has_every_media_type_and_limit() -> None:
    assert set(INVOCATIONS["requestBody"]["content"]) == {
        contract.JSON,
        contract.JSON_LINES,
        *PAYLOAD_TYPES,
    }
    schemas, text = DOCUMENT["components"]["schemas"], FILE.read_text()
    assert schemas["Records"]["maxItems"] == contract.MAX_RECORDS
    assert f"{contract.MAX_RECORDS:,} records" in text
    assert f"at most {contract.MAX_DEPTH} deep" in text
    assert f"at most {DEFAULT_MAX_BODY_BYTES // 1024**2} MiB" in text
    assert f"{headers.MAX_PIXELS // 10**6} million pixels and {headers.MAX_SCANS} scans" in text
    assert all(f"`{scheme}:`" in text for scheme in fetch.SCHEMES)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in cases.load()])
def test_golden_cases_conform(case: Case, farm: Farm) -> None:
    places = farm.upstream("").places
    face = farm.face("http process", case.private_addresses)
    check(
        case.path, case.method, face.send(case.method, case.path, case.headers, case.body(places))
    )


def examples(described: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield media type, name and example of a request's body or a response."""
    for media_type, content in described.get("content", {}).items():
        for name, example in content.get("examples", {}).items():
            yield media_type, name, example


class Example(NamedTuple):
    """A request in the document. The example of its answer has the same name."""

    name: str
    path: str
    method: str
    headers: Mapping[str, str]
    body: bytes


def load_examples() -> Iterator[Example]:
    accepted = {n: e["value"] for n, e in INVOCATIONS["parameters"][0]["examples"].items()}
    for media_type, name, example in examples(INVOCATIONS["requestBody"]):
        if file := example.get("externalValue"):
            body = (FILE.parent / file).read_bytes()
        elif media_type == contract.JSON:
            body = json.dumps(example["value"]).encode()
        else:
            body = example["value"].encode()
        headers = {"Content-Type": media_type, "Accept": accepted.get(name, "*/*")}
        yield Example(name, "/invocations", "POST", headers, body)
    yield Example("a server of two workers", "/execution-parameters", "GET", {}, b"")


EXAMPLES = list(load_examples())


@pytest.mark.parametrize(
    "example", [pytest.param(example, id=example.name) for example in EXAMPLES]
)
def test_examples_are_answered_as_shown(example: Example, farm: Farm) -> None:
    reply = farm.face("http process", False).send(
        example.method, example.path, example.headers, example.body
    )
    check(example.path, example.method, reply)
    is_json = reply.headers["content-type"] == contract.JSON
    answer = json.loads(reply.body) if is_json else reply.body.decode()
    assert [
        (int(status), media_type, shown["value"])
        for status, described in PATHS[example.path][example.method.lower()]["responses"].items()
        for media_type, name, shown in examples(resolve(described))
        if name == example.name
    ] == [(reply.status, reply.headers["content-type"], answer)]


def test_every_example_of_an_answer_has_its_request() -> None:
    components = DOCUMENT["components"]["responses"].values()
    shown = {name for described in components for _, name, _ in examples(described)}
    assert shown == {example.name for example in EXAMPLES}

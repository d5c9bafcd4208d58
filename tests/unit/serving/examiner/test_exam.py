"""Test the exam of an artifact and the comparison of answers."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from serving.artifact.resolve import Artifact
from serving.core.contract import IDENTITY, Reply, Request
from serving.core.errors import StartError
from serving.core.settings import Settings
from serving.examiner import exam
from serving.examiner.exam import difference
from serving.service import Service, model_of

TEXT = {"name": "a", "content_type": "application/json", "body": "{}"}


def test_the_exam_of_pictures_has_answers_and_mistakes(artifact_folder: Path) -> None:
    settings = Settings()
    model = model_of(settings)
    artifact = Artifact(artifact_folder, "id")
    service = Service(settings, artifact, model)
    service.start()
    questions = exam.of(artifact, model.payload_types)
    assert 4 <= len(questions) <= exam.MAX_QUESTIONS
    statuses = []
    for question in questions:
        headers = {"content-type": question.content_type}
        request = Request("POST", "/invocations", headers, question.body)
        statuses.append(service.respond(request).status)
    assert statuses == [200] * 6 + [422, 400]


def test_an_artifact_may_have_its_own_exam(tmp_path: Path) -> None:
    encoded = base64.b64encode(b"\xff").decode()
    written = [TEXT, {"name": "b", "content_type": "image/png", "base64": encoded}]
    (tmp_path / "golden.json").write_text(json.dumps(written))
    assert exam.of(Artifact(tmp_path, "id"), {"image/jpeg", "image/png"}) == [
        exam.Question("a", "application/json", b"{}"),
        exam.Question("b", "image/png", b"\xff"),
    ]


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("{", "Expecting property name"),
        ("[" * 100_000, "recursion"),
        ("[]", "array of 1 to 16 requests"),
        (json.dumps([TEXT] * 17), "array of 1 to 16 requests"),
        (json.dumps([{**TEXT, "body": {}}]), "name, content_type, and body or base64"),
        ('[{"name": "a", "content_type": "image/png", "base64": "?"}]', "base64"),
    ],
)
def test_an_invalid_exam(tmp_path: Path, written: str, why: str) -> None:
    path = tmp_path / "golden.json"
    path.write_text(written)
    with pytest.raises(StartError) as raised:
        exam.read(path)
    message = str(raised.value)
    assert message.startswith(f"{path} is not an exam: ")
    assert why in message
    assert "\n" not in message


def identified(status: int, body: bytes, identity: str | None) -> Reply:
    return Reply(status, body, ((IDENTITY, identity),) if identity else ())


def answer(value: Any, status: int = 200, identity: str | None = "image=a;model=b") -> Reply:
    return identified(status, json.dumps(value).encode(), identity)


def results(*found: tuple[str, Any]) -> Any:
    return {"results": [{"label": label, "prob": prob} for label, prob in found]}


DOG = ("dog", "0.25")
EXPECTED = answer(results(("cat", "0.5"), DOG))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (EXPECTED, ""),
        (answer(json.loads(EXPECTED.body), identity=None), ""),
        (answer(results(("cat", "0.500009"), ("dog", 0.25))), ""),
        (answer(results(("cat", "0.50002"), DOG)), "prob 0.50002 instead of 0.5"),
        (answer(results(("cat", "nan"), DOG)), "prob nan instead of 0.5"),
        (answer(results(("dog", "0.5"), ("cat", "0.25"))), "label dog instead of cat"),
        (answer({"results": []}), "results [] instead of "),
        (answer({}, status=500), "status 500 instead of 200"),
        (identified(200, EXPECTED.body, "image=a;model=c"), "it is 'image=a;model=c' instead of"),
        (identified(200, b"\xff", "image=a;model=b"), "the answer b'\\xff' instead of "),
    ],
)
def test_differences(given: Reply, words: str) -> None:
    assert difference(EXPECTED, given).startswith(words)
    assert bool(difference(EXPECTED, given)) == bool(words)


def test_json_lines_are_compared_line_by_line() -> None:
    lines = identified(200, b'{"a": 1}\n{"a": 2}\n', None)
    assert difference(lines, identified(200, b'{"a":1}\n{"a":2.000001}\n', None)) == ""
    assert difference(lines, identified(200, b'{"a":1}\n{"a":3}\n', None)) == "a 3 instead of 2"

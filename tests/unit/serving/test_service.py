"""Test the pipeline with a fake model: readiness, load, faults, batches."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from serving.artifact.resolve import Artifact
from serving.core.contract import Reply, Request
from serving.core.errors import MalformedRequest
from serving.core.settings import Settings
from serving.model.custom_model import adapt
from serving.service import Service


class Doubling(ModuleType):
    """A model that doubles `n`. A test can block it or break it."""

    def __init__(self) -> None:
        super().__init__("doubling")
        self.broken = False
        self.entered, self.released = threading.Semaphore(0), threading.Event()
        self.released.set()

    infer_batch: Any = None

    def load_model(self, model_path: Path) -> Path:
        return model_path

    def infer(self, request: Any, net: Path) -> dict[str, Any]:
        self.entered.release()
        assert self.released.wait(10)
        if self.broken:
            raise RuntimeError("secret detail")
        if not isinstance(request.get("n"), int | float):
            raise MalformedRequest("n must be a number")
        return {"twice": 2 * request["n"], "net": str(net)}

    def warm_up(self, net: Path) -> None:
        if self.broken:
            raise RuntimeError("still broken")
        assert net == Path("folder")


@pytest.fixture
def model() -> Iterator[Doubling]:
    model = Doubling()
    yield model
    model.released.set()


@pytest.fixture
def service(model: Doubling) -> Service:
    artifact = Artifact(Path("folder"), "id")
    return Service(Settings(max_waiting=2), artifact, adapt(model), patience_seconds=0.1)


def started(model: Doubling, infer_batch: Callable[[list[Any], Path], Iterable[Any]]) -> Service:
    model.infer_batch = infer_batch
    service = Service(Settings(), Artifact(Path("folder"), "id"), adapt(model))
    service.start()
    return service


def post(service: Service, value: Any) -> Reply:
    return service.respond(Request("POST", "/invocations", {}, json.dumps(value).encode()))


def ping(service: Service) -> Reply:
    return service.respond(Request("GET", "/ping"))


def code(reply: Reply) -> str:
    return str(json.loads(reply.body)["error"]["code"])


def codes(reply: Reply) -> list[str | None]:
    """Return the error code of each answer, or None if it has no error."""
    return [answer.get("error", {}).get("code") for answer in json.loads(reply.body)]


def test_not_ready_before_the_model_is_loaded(service: Service) -> None:
    assert (ping(service).status, code(ping(service))) == (503, "not_ready")
    early = post(service, {"n": 1})
    assert (early.status, code(early)) == (503, "not_ready")
    assert ("Retry-After", "1") in early.headers

    service.start()
    assert (ping(service).status, ping(service).body) == (200, b"")
    assert json.loads(post(service, {"n": 1}).body) == {"twice": 2, "net": "folder"}


def test_a_request_waits_for_a_model_that_is_nearly_loaded(model: Doubling) -> None:
    service = Service(Settings(), Artifact(Path("folder"), "id"), adapt(model))
    starting = threading.Timer(0.2, service.start)
    starting.start()
    assert ping(service).status == 503
    assert post(service, {"n": 1}).status == 200
    starting.join()


def test_a_failed_warm_up_is_never_ready(service: Service, model: Doubling) -> None:
    model.broken = True
    with pytest.raises(RuntimeError, match="still broken"):
        service.start()
    assert ping(service).status == 503


def test_overload_refuses_requests_and_answers_pings(service: Service, model: Doubling) -> None:
    service.start()
    model.released.clear()
    replies: list[Reply] = []
    waiting = []
    for _ in range(2):
        waiting.append(threading.Thread(target=lambda: replies.append(post(service, {"n": 1}))))
        waiting[-1].start()
        assert model.entered.acquire(timeout=10)

    refused = post(service, {"n": 1})
    assert (refused.status, code(refused)) == (503, "overloaded")
    assert ("Retry-After", "1") in refused.headers
    assert ping(service).status == 200

    model.released.set()
    for thread in waiting:
        thread.join(10)
    assert [reply.status for reply in replies] == [200, 200]
    assert post(service, {"n": 1}).status == 200


def test_a_fault_hides_its_cause_and_the_next_ping_checks_the_model(
    service: Service, model: Doubling, caplog: pytest.LogCaptureFixture
) -> None:
    service.start()
    model.broken = True
    fault = post(service, {"n": 1})
    assert (fault.status, code(fault)) == (500, "internal_error")
    assert b"secret" not in fault.body
    assert "secret detail" in caplog.text
    assert ping(service).status == 503
    model.broken = False
    assert ping(service).status == 200


def test_a_model_may_answer_a_batch_at_once(model: Doubling) -> None:
    def infer_batch(requests: list[Any], _net: Path) -> list[Any]:
        return [MalformedRequest("odd") if r["n"] % 2 else {"n": r["n"]} for r in requests]

    reply = post(started(model, infer_batch), [{"n": 2}, None, {"n": 3}, {"n": 4}])
    assert codes(reply) == [None, "malformed_request", "malformed_request", None]
    answers = json.loads(reply.body)
    assert [answers[0], answers[3]] == [{"n": 2}, {"n": 4}]


def test_an_exception_in_a_batch_fails_its_record_or_all_that_follow(
    model: Doubling, caplog: pytest.LogCaptureFixture
) -> None:
    def infer_batch(requests: list[Any], _net: Path) -> Iterator[Any]:
        yield {"n": 1}
        yield RuntimeError("secret detail")
        yield {"n": float("inf")}
        yield {"n": 4}
        raise RuntimeError

    reply = post(started(model, infer_batch), [{}] * 6)
    fault = "internal_error"
    assert codes(reply) == [None, fault, fault, None, fault, fault]
    assert b"secret" not in reply.body
    assert "secret detail" in caplog.text


def test_a_batch_of_one_is_a_single_request(model: Doubling) -> None:
    service = started(model, lambda requests, net: pytest.fail("two or more"))
    assert json.loads(post(service, [{"n": 1}]).body) == [{"twice": 2, "net": "folder"}]
    assert json.loads(post(service, []).body) == []


def test_a_batch_of_too_few_answers_is_a_fault(model: Doubling) -> None:
    service = started(model, lambda requests, net: [])
    reply = post(service, [{"n": 2}, {"n": 3}, None])
    assert codes(reply) == ["internal_error", "internal_error", "malformed_request"]

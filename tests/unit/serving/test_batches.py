"""Test batches of pictures: concurrent fetches, their limits, and the same answers as alone.

Tests control when the upstream answers, so nothing depends on timing.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving import inference
from serving.artifact.resolve import Artifact
from serving.core.contract import Reply, Request
from serving.core.errors import UndecodableImage
from serving.core.settings import Settings
from serving.fetch.client import Fetcher
from serving.fetch.prefetch import DEPTH, PLACES, Prefetcher
from serving.inference import Net
from serving.model.classifier import Classifier
from serving.model.custom_model import Model
from serving.model.engines import Tensor
from serving.model.images import decode
from serving.service import Service
from support.cases import PHOTOS, data_uri
from support.upstream import Handler, listening

CAT = (PHOTOS / "cat.jpg").read_bytes()
SECONDS = 10  # after this time, a hanging test fails


class Gate:
    """An upstream that calls `opens` before each answer and counts concurrent requests."""

    def __init__(self) -> None:
        self.opens: Callable[[str], object] = lambda path: None
        self.inside = self.most = 0
        self.changed = threading.Condition()
        self.url = ""

    def answer(self, path: str) -> bytes:
        with self.changed:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.changed.notify_all()
        self.opens(path)
        photo = PHOTOS / path[1:].partition("?")[0]
        with self.changed:  # before the client gets the answer and sends another request
            self.inside -= 1
        return photo.read_bytes() if photo.is_file() else b"no image"

    def wait_for(self, requests: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.inside >= requests, SECONDS)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()

    class Answering(Handler):
        def reply(self, _body: bytes) -> None:
            self.answer(200, gate.answer(self.path))

    with listening(Answering) as gate.url:
        yield gate


@pytest.fixture(scope="module")
def classifier(artifact_folder: Path) -> Classifier:
    return Classifier.load(artifact_folder)


@pytest.fixture
def net(classifier: Classifier) -> Net:
    fetch = Fetcher(max_bytes=4 * 1024**2, timeout_seconds=SECONDS, private_addresses=True)
    return Net(classifier, fetch, Prefetcher())


def started(net: Net) -> Service:
    model = Model(lambda _folder: net, inference.infer, inference.infer_batch)
    service = Service(Settings(), Artifact(Path("folder"), "id"), model)
    service.start()
    return service


def post(service: Service, value: Any) -> Reply:
    body = json.dumps(value).encode()
    return service.respond(Request("POST", "/invocations", {}, body))


def codes(reply: Reply) -> list[str]:
    """Return the error code or the first label of each answer."""
    assert reply.status == 200
    return [
        answer["error"]["code"] if "error" in answer else answer["results"][0]["label"]
        for answer in json.loads(reply.body)
    ]


def with_forward(net: Net, forward: Callable[[Tensor], Tensor]) -> Net:
    old = net.classifier
    return net._replace(classifier=Classifier(forward, old.transform, old.labels))


def test_a_batch_has_the_bytes_of_single_requests_in_order(net: Net, gate: Gate) -> None:
    service, url = started(net), gate.url
    uris = [
        *(f"{url}/rocket.jpg", f"{url}/nothing", data_uri("coffee.png"), "ftp://host/x"),
        *(f"{url}/cat.jpg", "http://no-such-host.invalid/", f"{url}/rocket.jpg"),
        *(f"{url}/coffee.png", f"{url}/astronaut.webp", ""),
    ]
    arrived = iter([1, 2, 3, 4, 5, 6])
    later = threading.Event()

    def first_comes_last(path: str) -> None:
        if next(arrived) == 6:
            later.set()
        if path == "/rocket.jpg":
            assert later.wait(SECONDS)

    gate.opens = first_comes_last
    together = post(service, [{"uri": uri} for uri in uris]).body
    gate.opens = lambda path: None
    alone = [post(service, {"uri": uri}).body for uri in uris]
    assert together == b"[" + b",".join(alone) + b"]"
    assert b"undecodable_image" in alone[1]

    lines = "\n".join(json.dumps({"uri": uri}) for uri in uris).encode()
    headers = {"content-type": "application/jsonlines"}
    reply = service.respond(Request("POST", "/invocations", headers, lines))
    assert reply.body == b"".join(body + b"\n" for body in alone)


def prefetch_threads() -> int:
    return sum(thread.name.startswith("prefetch") for thread in threading.enumerate())


def test_all_batches_share_a_limit_and_each_makes_progress(net: Net, gate: Gate) -> None:
    """Two batches take every place. Another fetches in its own thread, one by one."""
    others = prefetch_threads()  # earlier tests left these
    opened = threading.Event()
    gate.opens = lambda path: opened.wait(SECONDS) if "held" in path else None
    service = started(net)
    held = [{"uri": f"{gate.url}/cat.jpg?held"}] * DEPTH
    replies: list[Reply] = []
    callers = [
        threading.Thread(target=lambda: replies.append(post(service, held)))
        for _ in range(PLACES // DEPTH)
    ]
    for caller in callers:
        caller.start()
    gate.wait_for(PLACES)

    free = [{"uri": f"{gate.url}/cat.jpg"}] * 3
    assert codes(post(service, free)) == ["tiger cat"] * 3
    assert gate.most == PLACES + 1
    opened.set()
    for caller in callers:
        caller.join(SECONDS)
    assert [codes(reply) for reply in replies] == [["tiger cat"] * DEPTH] * len(callers)

    assert prefetch_threads() - others <= PLACES
    barrier = threading.Barrier(DEPTH, timeout=SECONDS)
    gate.opens = lambda path: barrier.wait()  # the places are free again
    assert codes(post(service, held)) == ["tiger cat"] * DEPTH


def test_a_slow_picture_does_not_delay_the_others(net: Net, gate: Gate) -> None:
    """The first picture arrives after the inference of all others."""
    others = 3 * DEPTH
    inferred = threading.Semaphore(0)

    def forward(batch: Tensor) -> Tensor:
        inferred.release()
        return net.classifier.forward(batch)

    def hang(path: str) -> None:
        if path == "/rocket.jpg":
            assert all(inferred.acquire(timeout=SECONDS) for _ in range(others))

    gate.opens = hang
    uris = [f"{gate.url}/rocket.jpg", *[f"{gate.url}/cat.jpg"] * others]
    reply = post(started(with_forward(net, forward)), [{"uri": uri} for uri in uris])
    assert codes(reply) == ["missile", *["tiger cat"] * others]


@pytest.mark.parametrize("where", ["fetch", "forward"])
def test_one_crash_is_one_fault_in_order(
    net: Net, gate: Gate, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Crashing(Fetcher):
        def __call__(self, uri: str) -> bytes:
            if where == "fetch" and "coffee" in uri:
                raise RuntimeError("secret detail")
            return super().__call__(uri)

    coffee = net.classifier.transform(decode((PHOTOS / "coffee.png").read_bytes()))

    def forward(batch: Tensor) -> Tensor:
        if where == "forward" and np.array_equal(batch, coffee):
            raise RuntimeError("secret detail")
        return net.classifier.forward(batch)

    fetch = Crashing(net.fetcher.max_bytes, SECONDS, private_addresses=True)
    service = started(with_forward(net, forward)._replace(fetcher=fetch))
    names = ["cat.jpg", "coffee.png", "rocket.jpg", "nothing"]
    reply = post(service, [{"uri": f"{gate.url}/{name}"} for name in names])
    assert codes(reply) == ["tiger cat", "internal_error", "missile", "undecodable_image"]
    assert b"secret" not in reply.body
    (fault,) = [record for record in caplog.records if record.exc_info]
    assert "secret detail" in caplog.text
    assert fault.exc_info
    assert fault.exc_info[2] is not None


@contextmanager
def counted(data: bytes) -> Iterator[tuple[Callable[[], bytes], list[int]]]:
    """Yield a function that copies `data`, and the current and highest number of copies."""
    lock, there = threading.RLock(), [0, 0]

    class Body(bytes):
        def __del__(self) -> None:
            with lock:
                there[0] -= 1

    def make() -> bytes:
        with lock:
            there[0] += 1
            there[1] = max(there)
        return Body(data)

    yield make, there


@dataclass(frozen=True)
class Making(Fetcher):
    make: Callable[[], bytes] = bytes

    def __call__(self, uri: str) -> bytes:
        return self.make()


@pytest.mark.parametrize("data", [CAT, b"no image"], ids=["pictures", "errors"])
def test_few_pictures_are_in_memory_at_once(net: Net, data: bytes) -> None:
    """The errors of a batch do not keep theirs either."""
    with counted(data) as (make, there):
        fetch = Making(1, 1, make=make)
        answers = inference.infer_batch(["http://a/"] * 50, net._replace(fetcher=fetch))
        if data != CAT:
            assert {type(answer) for answer in answers} == {UndecodableImage}
        assert there[0] <= 1
        assert DEPTH <= there[1] <= DEPTH + 2  # one is in inference, one on the way to it


def test_pictures_without_a_fetch_need_no_thread(net: Net) -> None:
    class Unused(Prefetcher):
        def __call__(self, *_: object) -> Any:
            pytest.fail("no thread is needed")

    service = started(net._replace(prefetcher=Unused()))
    assert post(service, []).body == b"[]"
    assert codes(post(service, [{"uri": data_uri("cat.jpg")}])) == ["tiger cat"]
    inline = [{"uri": data_uri("cat.jpg")}, {"uri": 7}, {"uri": data_uri("rocket.jpg")}]
    assert codes(post(service, inline)) == ["tiger cat", "malformed_request", "missile"]


def test_a_caller_that_stops_early_frees_its_places() -> None:
    prefetcher, opened = Prefetcher(), threading.Event()

    def held() -> bool:
        return opened.wait(SECONDS)

    for _ in range(PLACES // DEPTH):
        outcomes = prefetcher([lambda: True, *[held] * 20])
        assert next(outcomes)[1]()
        outcomes.close()  # type: ignore[attr-defined]
    number, outcome = next(prefetcher([threading.get_ident] * 2))
    opened.set()
    assert (number, outcome()) == (0, threading.get_ident())  # its own thread: no place was free
    assert all(prefetcher._places.acquire(timeout=SECONDS) for _ in range(PLACES))

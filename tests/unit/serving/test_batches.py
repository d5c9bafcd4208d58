"""Test batches of pictures: concurrent fetches, their limits, and the same answers as alone.

Tests control when the upstream answers, so nothing depends on timing.
"""

import json
import threading
from collections.abc import Callable, Iterator
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
from serving.model.custom_model import ModelFunctions
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
    model = ModelFunctions(lambda _folder: net, inference.infer, inference.infer_batch)
    service = Service(Settings(), Artifact(Path("folder"), "id"), model)
    service.start()
    return service


def post(service: Service, value: Any) -> Reply:
    body = json.dumps(value).encode()
    return service.respond(Request("POST", "/invocations", {}, body))


def labels(reply: Reply) -> list[str]:
    """Return the first label of each answer."""
    assert reply.status == 200
    return [answer["results"][0]["label"] for answer in json.loads(reply.body)]


def with_forward(net: Net, forward: Callable[[Tensor], Tensor]) -> Net:
    old = net.classifier
    return net._replace(classifier=Classifier(forward, old.transform, old.labels))


def test_a_batch_has_the_bytes_of_single_requests_in_order(net: Net, gate: Gate) -> None:
    """A slow picture, or one on which the model crashes, does not affect the others."""
    url, inferred = gate.url, threading.Semaphore(0)
    crashing = net.classifier.transform(decode((PHOTOS / "astronaut.webp").read_bytes()))
    uris = [
        *(f"{url}/rocket.jpg", f"{url}/nothing", data_uri("coffee.png"), "ftp://host/x"),
        *(f"{url}/cat.jpg", "http://no-such-host.invalid/", f"{url}/astronaut.webp", ""),
        *[f"{url}/coffee.png"] * DEPTH,
    ]

    def forward(batch: Tensor) -> Tensor:
        inferred.release()
        if np.array_equal(batch, crashing):
            raise RuntimeError("secret detail")
        return net.classifier.forward(batch)

    def first_comes_last(path: str) -> None:  # after the inference of the others
        if path == "/rocket.jpg":
            assert all(inferred.acquire(timeout=SECONDS) for _ in range(DEPTH + 3))

    service = started(with_forward(net, forward))
    gate.opens = first_comes_last
    together = post(service, [{"uri": uri} for uri in uris]).body
    gate.opens = lambda path: None
    alone = [post(service, {"uri": uri}).body for uri in uris]
    assert together == b"[" + b",".join(alone) + b"]"
    assert b"undecodable_image" in alone[1]
    assert b"internal_error" in alone[6]
    assert b"secret" not in together

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
    assert labels(post(service, free)) == ["tiger cat"] * 3
    assert gate.most == PLACES + 1
    opened.set()
    for caller in callers:
        caller.join(SECONDS)
    assert [labels(reply) for reply in replies] == [["tiger cat"] * DEPTH] * len(callers)

    assert prefetch_threads() - others <= PLACES
    barrier = threading.Barrier(DEPTH, timeout=SECONDS)
    gate.opens = lambda path: barrier.wait()  # the places are free again
    assert labels(post(service, held)) == ["tiger cat"] * DEPTH


@pytest.mark.parametrize("data", [CAT, b"no image"], ids=["pictures", "errors"])
def test_few_pictures_are_in_memory_at_once(net: Net, data: bytes) -> None:
    """The errors of a batch do not keep theirs either."""
    lock, there = threading.RLock(), [0, 0]  # now, and at most

    class Picture(bytes):
        def __del__(self) -> None:
            with lock:
                there[0] -= 1

    class Making(Fetcher):
        def __call__(self, uri: str) -> bytes:
            with lock:
                there[0] += 1
                there[1] = max(there)
            return Picture(data)

    answers = inference.infer_batch(["http://a/"] * 50, net._replace(fetcher=Making(1, 1)))
    if data != CAT:
        assert {type(answer) for answer in answers} == {UndecodableImage}
    assert there[0] <= 1
    assert DEPTH <= there[1] <= DEPTH + 2  # one is in inference, one on the way to it

"""Several pictures in one request: fetched at once, within bounds, and answered as if alone.

The upstream here answers when a test lets it, so nothing is timed.
"""

import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cases import PHOTOS, data_uri
from serving import inference, logs
from serving.ahead import DEPTH, PLACES, Ahead
from serving.artifact import Artifact
from serving.classifier import Classifier
from serving.contract import Reply, Request
from serving.engines import Tensor
from serving.errors import ServingError, UndecodableImage
from serving.fetch import Fetcher
from serving.images import Pixels, decode
from serving.inference import Net
from serving.service import Service
from serving.settings import Settings, UriAllowlist

CAT = (PHOTOS / "cat.jpg").read_bytes()
SECONDS = 10  # until a test that hangs fails


class Gate(threading.Thread):
    """An upstream whose answers wait for `opens`, and which counts the requests that are there."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.opens: Callable[[str], object] = lambda path: None
        self.inside = self.most = 0
        self.changed = threading.Condition()
        gate = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with gate.changed:
                    gate.inside += 1
                    gate.most = max(gate.most, gate.inside)
                    gate.changed.notify_all()
                status, photo = 200, PHOTOS / self.path[1:].partition("?")[0]
                try:
                    gate.opens(self.path)
                except threading.BrokenBarrierError:
                    status = 500
                body = photo.read_bytes() if photo.is_file() else b"no image"
                with gate.changed:  # before the client can be told, and ask for the next
                    gate.inside -= 1
                with suppress(OSError):  # it has gone
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 64

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def run(self) -> None:
        self.server.serve_forever(0.01)

    def wait_for(self, requests: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.inside >= requests, SECONDS)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    gate.start()
    yield gate
    gate.server.shutdown()
    gate.server.server_close()


@pytest.fixture(scope="module")
def classifier(artifact_folder: Path) -> Classifier:
    return Classifier.load(artifact_folder)


@pytest.fixture
def net(classifier: Classifier) -> Net:
    fetch = Fetcher(max_bytes=4 * 1024**2, timeout_seconds=SECONDS, private_addresses=True)
    return Net(classifier, fetch, Ahead())


class Model:
    """The default model, around a network that a test has made."""

    PAYLOAD_TYPES = inference.PAYLOAD_TYPES

    def __init__(self, net: Net) -> None:
        self.net = net
        self.infer, self.infer_batch = inference.infer, inference.infer_batch

    def load_model(self, _folder: Path) -> Net:
        return self.net


def started(net: Net) -> Service:
    service = Service(Settings(), Artifact(Path("folder"), "id"), Model(net))  # type: ignore[arg-type]
    service.start()
    return service


def post(service: Service, value: Any) -> Reply:
    body = json.dumps(value).encode()
    return service.respond(Request("POST", "/invocations", {}, body))


def codes(reply: Reply) -> list[str]:
    """Of each answer: its error's, or its first label."""
    assert reply.status == 200
    return [
        answer["error"]["code"] if "error" in answer else answer["results"][0]["label"]
        for answer in json.loads(reply.body)
    ]


def forwarding(net: Net, forward: Callable[[Tensor], Tensor]) -> Net:
    return net._replace(classifier=replace(net.classifier, forward=forward))


def test_the_bytes_of_single_requests_in_their_order(net: Net, gate: Gate) -> None:
    service = started(net)
    uris = [
        f"{gate.url}/rocket.jpg",
        f"{gate.url}/nothing",
        data_uri("coffee.png"),
        "ftp://host/x",
        f"{gate.url}/cat.jpg",
        "http://no-such-host.invalid/",
        f"{gate.url}/rocket.jpg",
        f"{gate.url}/coffee.png",
        f"{gate.url}/astronaut.webp",
        "",
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


def test_several_are_fetched_at_once_and_no_more_than_that(net: Net, gate: Gate) -> None:
    """Each request of the upstream is answered when DEPTH of them are there."""
    barrier = threading.Barrier(DEPTH, timeout=SECONDS)
    gate.opens = lambda path: barrier.wait()
    uris = [{"uri": f"{gate.url}/cat.jpg"}] * (5 * DEPTH)
    assert codes(post(started(net), uris)) == ["tiger cat"] * len(uris)
    assert gate.most == DEPTH


def ahead_threads() -> int:
    return sum(thread.name.startswith("ahead") for thread in threading.enumerate())


def test_all_batches_together_are_bounded_and_each_goes_on(net: Net, gate: Gate) -> None:
    """Two batches have every place; two more fetch in their own threads, one by one."""
    others = ahead_threads()  # of what earlier tests loaded
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

    assert ahead_threads() - others <= PLACES
    barrier = threading.Barrier(DEPTH, timeout=SECONDS)
    gate.opens = lambda path: barrier.wait()  # the places are free again
    assert codes(post(service, held)) == ["tiger cat"] * DEPTH


def test_one_that_hangs_keeps_no_other_back(net: Net, gate: Gate) -> None:
    """The first picture comes when all others have been inferred."""
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
    reply = post(started(forwarding(net, forward)), [{"uri": uri} for uri in uris])
    assert codes(reply) == ["missile", *["tiger cat"] * others]


def test_one_that_hangs_until_its_deadline(net: Net, gate: Gate) -> None:
    over = threading.Event()
    gate.opens = lambda path: over.wait(SECONDS) if path == "/rocket.jpg" else None
    impatient = net._replace(fetch=replace(net.fetch, timeout_seconds=0.5))
    uris = [f"{gate.url}/{name}" for name in ("cat.jpg", "rocket.jpg", "coffee.png")]
    reply = post(started(impatient), [{"uri": uri} for uri in uris])
    over.set()
    assert codes(reply) == ["tiger cat", "uri_fetch_failed", "espresso"]
    assert json.loads(reply.body)[1]["error"]["message"] == "127.0.0.1 did not answer in time"


@pytest.mark.parametrize("where", ["fetch", "forward"])
def test_a_crash_of_one_is_a_fault_in_its_place(
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

    fetch = Crashing(net.fetch.max_bytes, SECONDS, private_addresses=True)
    service = started(forwarding(net, forward)._replace(fetch=fetch))
    names = ["cat.jpg", "coffee.png", "rocket.jpg", "nothing"]
    reply = post(service, [{"uri": f"{gate.url}/{name}"} for name in names])
    assert codes(reply) == ["tiger cat", "internal_error", "missile", "undecodable_image"]
    assert b"secret" not in reply.body
    (fault,) = [record for record in caplog.records if record.exc_info]
    assert "secret detail" in caplog.text
    assert fault.exc_info
    assert fault.exc_info[2] is not None


def test_the_request_id_is_that_of_the_batch(net: Net) -> None:
    seen: list[tuple[str, str]] = []

    class Watched(Fetcher):
        def __call__(self, uri: str) -> bytes:
            seen.append((threading.current_thread().name[:5], logs.request_id.get()))
            return CAT

    token = logs.request_id.set("the batch")
    try:
        inference.infer_batch(["http://a/", "http://b/"], net._replace(fetch=Watched(1, 1)))
    finally:
        logs.request_id.reset(token)
    assert seen == [("ahead", "the batch")] * 2


def test_a_long_batch_lets_other_callers_in_between(net: Net) -> None:
    turns: list[str] = []
    began, waits = threading.Event(), threading.Event()
    grey = data_uri("coffee.png")

    def forward(batch: Tensor) -> Tensor:
        turns.append(threading.current_thread().name)
        began.set()
        assert waits.wait(SECONDS)
        return net.classifier.forward(batch)

    held = forwarding(net, forward)
    batch = threading.Thread(
        target=inference.infer_batch, args=([grey] * 5, held), name="batch", daemon=True
    )
    batch.start()
    assert began.wait(SECONDS)
    single = threading.Thread(target=inference.infer, args=(grey, held), name="single", daemon=True)
    single.start()
    while not held.classifier._turn._waiting:
        single.join(0.001)
    waits.set()
    batch.join(SECONDS)
    single.join(SECONDS)
    assert turns == ["batch", "single", *["batch"] * 4]


@contextmanager
def counted(data: bytes) -> Iterator[tuple[Callable[[], bytes], list[int]]]:
    """Copies of `data`, and how many of them are there now and were at most."""
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
    """Neither do the errors of a batch hold on to theirs."""
    with counted(data) as (make, there):
        fetch = Making(1, 1, make=make)
        answers = inference.infer_batch(["http://a/"] * 50, net._replace(fetch=fetch))
        if data != CAT:
            assert {type(answer) for answer in answers} == {UndecodableImage}
        assert there[0] <= 1
        assert DEPTH <= there[1] <= DEPTH + 2  # one is inferred, one on its way there


def test_large_pictures_are_decoded_ahead_where_there_are_cores(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []

    def noted(data: bytes) -> Pixels:
        decoded.append(threading.current_thread().name[:5])
        return decode(data)

    monkeypatch.setattr("serving.classifier.decode", noted)
    noise = np.random.default_rng(1).integers(0, 256, (500, 500, 3), np.uint8)
    large = cv2.imencode(".png", noise)[1].tobytes()
    assert len(large) > 200_000

    for threads, data, where in (
        (1, large, "MainT"),
        (2, CAT, "MainT"),
        (2, large, "ahead"),
    ):
        cored = net._replace(
            classifier=replace(net.classifier, threads=threads),
            fetch=Making(1, 1, make=lambda data=data: data),  # type: ignore[misc]
        )
        decoded.clear()
        answers = inference.infer_batch(["http://a/"] * 4, cored)
        assert decoded == [where] * 4
        assert answers == [inference.infer("http://a/", cored)] * 4


def test_what_does_not_wait_needs_no_thread(net: Net) -> None:
    class Unused(Ahead):
        def __call__(self, *_: object) -> Any:
            pytest.fail("there is nothing to gain")

    service = started(net._replace(ahead=Unused()))
    assert post(service, []).body == b"[]"
    assert codes(post(service, [{"uri": data_uri("cat.jpg")}])) == ["tiger cat"]
    inline = [{"uri": data_uri("cat.jpg")}, {"uri": 7}, {"uri": data_uri("rocket.jpg")}]
    assert codes(post(service, inline)) == ["tiger cat", "malformed_request", "missile"]


def test_a_caller_that_goes_away_gives_its_places_back() -> None:
    ahead, opened = Ahead(), threading.Event()

    def held() -> bool:
        return opened.wait(SECONDS)

    for _ in range(PLACES // DEPTH):
        outcomes = ahead([lambda: True, *[held] * 20])
        assert next(outcomes)[1]()
        outcomes.close()  # type: ignore[attr-defined]
    number, outcome = next(ahead([threading.get_ident] * 2))
    opened.set()
    assert (number, outcome()) == (0, threading.get_ident())  # no place was free: by itself
    assert all(ahead._places.acquire(timeout=SECONDS) for _ in range(PLACES))


def test_many_fetches_share_one_s3_client(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[float] = []

    class Client:
        def get_object(self, **_: str) -> dict[str, Any]:
            barrier.wait()
            return {"Body": Body(CAT)}

    class Body(io.BytesIO):
        def iter_chunks(self, size: int) -> Iterator[bytes]:
            yield self.read()

    def client(timeout_seconds: float) -> Client:
        made.append(timeout_seconds)
        return Client()

    barrier = threading.Barrier(DEPTH, timeout=SECONDS)
    monkeypatch.setattr("serving.fetch.s3_client", client)
    fetch = replace(net.fetch, allowlist=UriAllowlist.parse("s3://photos"))
    uri = "s3://photos/cat.jpg"
    answers = inference.infer_batch([uri] * DEPTH, net._replace(fetch=fetch))
    assert answers == [{**inference.infer(data_uri("cat.jpg"), net), "uri": uri}] * DEPTH
    assert made == [SECONDS]


def test_what_is_raised_is_what_a_single_one_raises(net: Net) -> None:
    def alone(uri: str) -> tuple[type, str]:
        with pytest.raises(ServingError) as failure:
            inference.infer(uri, net)
        return failure.type, str(failure.value)

    uris = ["", "ftp://x/", "http://", "data:,x", "https://no-such-host.invalid/"]
    together = inference.infer_batch(uris, net)
    assert [(type(answer), str(answer)) for answer in together] == [alone(uri) for uri in uris]

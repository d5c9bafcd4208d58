"""Call the deployed targets as clients do, once or constantly."""

import base64
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from integration.deploy.cloud import REGION, Cloud
from ops.inputs import Input

PAUSE_SECONDS = 0.05
_http = urllib3.PoolManager(retries=False, timeout=120, maxsize=8)


@dataclass(frozen=True)
class Answer:
    """A target's answer. `attributes` name the image and the model; a function that forwards adds
    the header `served_by`.
    """

    status: int
    body: bytes
    attributes: str = ""
    served_by: str = field(default="", compare=False)

    @property
    def model(self) -> str:
        return dict(part.split("=") for part in self.attributes.split(";"))["model"]


def ask_url(cloud: Cloud, url: str, body: bytes, content_type: str, *, sign: bool = True) -> Answer:
    """POST to a function URL, signed as AWS requires."""
    headers = {"Host": urlsplit(url).netloc, "Content-Type": content_type}
    if sign:
        request = AWSRequest("POST", f"{url}invocations", headers=headers, data=body)
        SigV4Auth(Credentials("test", "test"), "lambda", REGION).add_auth(request)
        headers = dict(request.headers.items())
    # No DNS has the host's name: the control plane finds the function by the Host header.
    reply = _http.request("POST", f"{cloud.url}/invocations", headers=headers, body=body)
    attributes = reply.headers.get("X-Amzn-SageMaker-Custom-Attributes", "")
    return Answer(reply.status, reply.data, attributes, reply.headers.get("X-Served-By", ""))


def ask_endpoint(runtime: Any, name: str, body: bytes, content_type: str) -> Answer:
    """Invoke an endpoint. Return the container's answer, also from a ModelError."""
    try:
        reply = runtime.invoke_endpoint(EndpointName=name, ContentType=content_type, Body=body)
    except ClientError as error:
        whole = error.response
        if whole["Error"]["Code"] != "ModelError":
            raise
        return Answer(whole["OriginalStatusCode"], whole["OriginalMessage"].encode())
    return Answer(200, reply["Body"].read(), reply.get("CustomAttributes", ""))


def ask_function(client: Any, name: str, photo: Input) -> Any:
    data = base64.b64encode(photo.body).decode()
    event = {"uri": f"data:{photo.content_type};base64,{data}"}
    reply = client.invoke(FunctionName=name, Payload=json.dumps(event))
    answer = reply["Payload"].read()
    assert "FunctionError" not in reply, f"{name}: {answer!r}"
    return json.loads(answer)


@dataclass
class Loop:
    """A client that calls one target repeatedly.

    `models` are the model ids that answered, in order, without repetition. `bodies` are the
    distinct answers to its one request; `served` counts the answers by who gave them.
    """

    name: str
    asked: int = 0
    lost: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    bodies: set[bytes] = field(default_factory=set)
    served: Counter[str] = field(default_factory=Counter)
    _told: int = 0

    def told(self) -> str:
        """Return what happened since the last call. Raise AssertionError for a lost request."""
        asked, self._told = self.asked - self._told, self.asked
        assert self.asked > 0, self.name
        assert self.lost == [], f"{self.name} lost {len(self.lost)}: {self.lost[:3]}"
        return f"{self.name}: {asked} asked, 0 lost"

    def ask(self, call: Callable[[], Answer]) -> None:
        self.asked += 1
        try:
            answer = call()
            assert answer.status == 200, f"{answer.status} {answer.body[:200]!r}"
        except Exception as error:  # the client has no answer, whatever the error is
            self.lost.append(f"{type(error).__name__}: {error}")
            return
        self.bodies.add(answer.body)
        self.served[answer.served_by] += 1
        if self.models[-1:] != [answer.model]:
            self.models.append(answer.model)


@contextmanager
def looping(name: str, call: Callable[[], Answer]) -> Iterator[Loop]:
    """Call until the block ends; anything but status 200 counts as a lost request."""
    loop, stop = Loop(name), threading.Event()

    def run() -> None:
        while not stop.wait(PAUSE_SECONDS):
            loop.ask(call)

    thread = threading.Thread(target=run, name=name)
    thread.start()
    try:
        yield loop
    finally:
        stop.set()
        thread.join()

"""How clients call the deployed targets, and one that never stops calling."""

import base64
import json
import threading
import time
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

from deploy.cloud import REGION, Cloud
from ops.local import Picture

PAUSE_SECONDS = 0.05
_http = urllib3.PoolManager(retries=False, timeout=120, maxsize=8)
_CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"


@dataclass(frozen=True)
class Answer:
    """What a target answered; `identity` names the image and the model that did."""

    status: int
    body: bytes
    identity: dict[str, str] = field(default_factory=dict)


def ask_url(cloud: Cloud, url: str, body: bytes, content_type: str, *, sign: bool = True) -> Answer:
    """POST to a function URL, signed as its callers have to."""
    host = urlsplit(url).netloc
    headers = {"Host": host, "Content-Type": content_type}
    if sign:
        request = AWSRequest("POST", f"{url}invocations", headers=headers, data=body)
        credentials = Credentials("test", "test")
        SigV4Auth(credentials, "lambda", REGION).add_auth(request)
        headers = dict(request.headers.items())
    # The name is in no DNS: the control plane tells functions by the Host header.
    reply = _http.request("POST", f"{cloud.url}/invocations", headers=headers, body=body)
    return Answer(reply.status, reply.data, _identity(reply.headers.get(_CUSTOM_ATTRIBUTES)))


def ask_endpoint(runtime: Any, name: str, body: bytes, content_type: str) -> Answer:
    """sagemaker-runtime's InvokeEndpoint; a ModelError is the container's answer again."""
    try:
        reply = runtime.invoke_endpoint(EndpointName=name, ContentType=content_type, Body=body)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ModelError":
            raise
        whole = error.response
        return Answer(whole["OriginalStatusCode"], whole["OriginalMessage"].encode())
    return Answer(200, reply["Body"].read(), _identity(reply.get("CustomAttributes")))


def ask_function(client: Any, name: str, photo: Picture) -> Any:
    """Invoke a function with its own event; the JSON that it returned."""
    data = base64.b64encode(photo.body).decode()
    event = {"uri": f"data:{photo.content_type};base64,{data}"}
    reply = client.invoke(FunctionName=name, Payload=json.dumps(event))
    assert "FunctionError" not in reply, f"{name}: {reply['Payload'].read()!r}"
    return json.loads(reply["Payload"].read())


class Loop:
    """A client that calls one target again and again."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked = 0
        self.lost: list[str] = []
        self.models: list[str] = []
        """The model ids that answered, in that order, without repetition."""
        self._told = (0, 0)

    def told(self) -> str:
        """What happened since it was last asked."""
        asked, lost = self.asked, len(self.lost)
        text = f"{self.name}: {asked - self._told[0]} asked, {lost - self._told[1]} lost"
        self._told = (asked, lost)
        return text

    def record(self, answer: Answer) -> None:
        self.asked += 1
        if answer.status != 200:
            self.lost.append(f"{answer.status} {answer.body[:200]!r}")
            return
        model = answer.identity["model"]
        if self.models[-1:] != [model]:
            self.models.append(model)


@contextmanager
def looping(name: str, ask: Callable[[], Answer]) -> Iterator[Loop]:
    """Call `ask` until the block ends; anything but an answer of status 200 is a lost request."""
    loop, stop = Loop(name), threading.Event()

    def run() -> None:
        while not stop.is_set():
            try:
                loop.record(ask())
            except Exception as error:  # whatever it is, the client has no answer
                loop.asked += 1
                loop.lost.append(f"{type(error).__name__}: {error}")
            time.sleep(PAUSE_SECONDS)

    thread = threading.Thread(target=run, name=name)
    thread.start()
    try:
        yield loop
    finally:
        stop.set()
        thread.join()


def _identity(attributes: str | None) -> dict[str, str]:
    parts = [part.partition("=") for part in (attributes or "").split(";") if part]
    return {name: value for name, _, value in parts}

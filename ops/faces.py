"""Both faces of the image, started here as processes or as containers, and how to talk to them.

They are started the way AWS starts them: by `entry.sh`, with `serve` or with no argument.
"""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import urllib3

ROOT = Path(__file__).resolve().parent.parent
ENTRY = ROOT / "container" / "entry.sh"
EMULATOR_PATH = "/2015-03-31/functions/function/invocations"
START_SECONDS = 60
STOP_SECONDS = 35  # the faces promise to end within 30 s of SIGTERM
_DOCKER_RUN = ("docker", "run", "--rm", "--platform", "linux/amd64")

_http = urllib3.PoolManager(retries=False, timeout=60)


class FaceError(Exception):
    """A face did not start; the message ends with its last words."""


@dataclass(frozen=True)
class Reply:
    """An HTTP answer. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


class Face(Protocol):
    @property
    def name(self) -> str: ...

    def send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
    ) -> Reply: ...


@dataclass(frozen=True)
class HttpFace:
    """What SageMaker talks to."""

    url: str
    name: str = "SageMaker face"

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        started = time.perf_counter()
        reply = _http.request(method, self.url + path, headers=dict(headers), body=body or None)
        seconds = time.perf_counter() - started
        lower = {name.lower(): value for name, value in reply.headers.items()}
        return Reply(reply.status, lower, reply.data, seconds)


@dataclass(frozen=True)
class EmulatedLambda:
    """The Lambda face under the Runtime Interface Emulator, which takes one request at a time."""

    url: str
    name: str = "Lambda face"

    def invoke(self, event: Any) -> Any:
        """A direct invocation: the event, and what the function returned."""
        return json.loads(self._post(json.dumps(event).encode()).data)

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        """The same HTTP request as the function-URL event (payload 2.0) that Lambda makes of it."""
        encoded = json.dumps(url_event(method, path, headers, body)).encode()
        started = time.perf_counter()
        answer = json.loads(self._post(encoded).data)
        return url_reply(answer, time.perf_counter() - started)

    def _post(self, event: bytes) -> urllib3.BaseHTTPResponse:
        return _http.request("POST", self.url + EMULATOR_PATH, body=event)


def url_event(method: str, path: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """What Lambda makes of an HTTP request to a function's URL: payload format 2.0."""
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {name.lower(): value for name, value in headers.items()},
        "requestContext": {"http": {"method": method, "path": path}},
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }


def url_reply(answer: Any, seconds: float) -> Reply:
    """The HTTP reply in what a function answers to such an event. Raises FaceError."""
    if not isinstance(answer, dict) or "statusCode" not in answer:
        raise FaceError(f"the Lambda face failed: {answer}")
    lower = {name.lower(): value for name, value in answer["headers"].items()}
    return Reply(answer["statusCode"], lower, answer["body"].encode(), seconds)


def require_image(image: str) -> None:
    """Raises FaceError that says what to do where `docker run` of the image could not work."""
    if not shutil.which("docker"):
        raise FaceError("there is no docker on the PATH: https://docs.docker.com/engine/install")
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        raise FaceError("the Docker engine does not answer; start it, or look at `docker info`")
    command = ["docker", "image", "inspect", image]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        raise FaceError(f"there is no image {image}; `make image IMAGE={image}` builds it")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def http_process(
    environment: Mapping[str, str], arguments: Sequence[str] = (), port: int | None = None
) -> Iterator[HttpFace]:
    """`entry.sh serve` as a process; healthy when this yields. Raises FaceError."""
    port = port or free_port()
    command = [str(ENTRY), "serve", "--host", "127.0.0.1", "--port", str(port), *arguments]
    with running(command, environment) as process:
        face = HttpFace(f"http://127.0.0.1:{port}")
        wait_until_healthy(face, process)
        yield face


@contextmanager
def lambda_process(environment: Mapping[str, str]) -> Iterator[EmulatedLambda]:
    """`entry.sh` under the emulator as a process. Raises FaceError."""
    port = free_port()
    options = f"--runtime-interface-emulator-address 127.0.0.1:{port}"
    options += f" --runtime-api-address 127.0.0.1:{free_port()}"
    settings = {**lambda_settings(), "RIE_OPTIONS": options, **environment}
    with running([str(ENTRY)], settings) as process:
        wait_until_open(port, process)
        yield EmulatedLambda(f"http://127.0.0.1:{port}")


@contextmanager
def http_container(image: str, options: Sequence[str] = ()) -> Iterator[HttpFace]:
    """`docker run IMAGE serve`; healthy when this yields. Raises FaceError."""
    port = free_port()
    command = [*_DOCKER_RUN, "-p", f"127.0.0.1:{port}:8080", *options, image, "serve"]
    with running(command, {}) as process:
        face = HttpFace(f"http://127.0.0.1:{port}")
        wait_until_healthy(face, process)
        yield face


@contextmanager
def lambda_container(image: str, options: Sequence[str] = ()) -> Iterator[EmulatedLambda]:
    """`docker run IMAGE`, which runs the handler under the emulator. Raises FaceError."""
    port = free_port()
    command = [*_DOCKER_RUN, "-p", f"127.0.0.1:{port}:8080"]
    for name, value in lambda_settings().items():
        command += ["--env", f"{name}={value}"]
    with running([*command, *options, image], {}) as process:
        wait_until_open(port, process)
        yield EmulatedLambda(f"http://127.0.0.1:{port}")


def lambda_settings() -> dict[str, str]:
    """What Lambda sets and the emulator reads: 1,769 MB are one vCPU."""
    return {
        "AWS_LAMBDA_FUNCTION_NAME": "local",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
        "AWS_LAMBDA_FUNCTION_TIMEOUT": "60",
    }


class Process:
    """A child process that writes its output to a file."""

    def __init__(self, child: subprocess.Popen[bytes], log: Path) -> None:
        self._child, self._log = child, log

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def check(self) -> None:
        """Raises FaceError if it has ended."""
        if (status := self._child.poll()) is not None:
            words = self.output.strip().splitlines()
            raise FaceError(f"ended with status {status}: {words[-1] if words else '(no output)'}")

    def stop(self) -> int:
        """SIGTERM, as AWS sends it; the exit status."""
        self._child.terminate()
        try:
            return self._child.wait(STOP_SECONDS)
        finally:
            if self._child.poll() is None:
                os.killpg(self._child.pid, signal.SIGKILL)
                self._child.wait()


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Process]:
    """A process in a session of its own, stopped at the end whatever happens."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("wb") as output:
            child = subprocess.Popen(
                command,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process = Process(child, log)
        try:
            yield process
        finally:
            process.stop()


def wait_until_healthy(face: HttpFace, process: Process) -> None:
    """Poll /ping as SageMaker does. Raises FaceError when the process ends or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        process.check()
        try:
            if face.send("GET", "/ping", {}).status == 200:
                return
        except urllib3.exceptions.HTTPError:
            pass  # nothing listens yet
        time.sleep(0.05)
    raise FaceError(f"not healthy after {START_SECONDS} s: {process.output[-500:]}")


def wait_until_open(port: int, process: Process) -> None:
    """The emulator has no health check: it starts the function at its first event."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        process.check()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise FaceError(f"no emulator on port {port} after {START_SECONDS} s: {process.output[-500:]}")

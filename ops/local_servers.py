"""Run both faces on this machine as processes or containers, and call them.

They start as on AWS: by `entry.sh`, with `serve` or without an argument.
"""

import base64
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

ROOT = Path(__file__).resolve().parent.parent
ENTRY = ROOT / "container" / "entry.sh"
EMULATOR_PATH = "/2015-03-31/functions/function/invocations"
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MAX_EVENT_BYTES = 6 * 1024**2
START_SECONDS = 60
STOP_SECONDS = 35  # the faces promise to end within 30 s of SIGTERM
DOCKER_RUN = ("docker", "run", "--rm")
# The stack's names for the architectures that Docker, Linux and macOS report.
ARCHITECTURES = {"amd64": "x86_64", "arm64": "arm64", "aarch64": "arm64"}

_http = urllib3.PoolManager(retries=False, timeout=60)
Headers = Mapping[str, str]


class FaceError(Exception):
    """A face did not start or answer; the message may end with its last output."""


@dataclass(frozen=True)
class HttpReply:
    """An HTTP reply with header names in lower case."""

    status: int
    headers: Headers
    body: bytes
    seconds: float


@dataclass(frozen=True)
class HttpFace:
    """The HTTP server that SageMaker calls."""

    url: str

    def send(self, method: str, path: str, headers: Headers, body: bytes = b"") -> HttpReply:
        started = time.perf_counter()
        reply = _http.request(method, self.url + path, headers=dict(headers), body=body or None)
        seconds = time.perf_counter() - started
        lower = {name.lower(): value for name, value in reply.headers.items()}
        return HttpReply(reply.status, lower, reply.data, seconds)


@dataclass(frozen=True)
class EmulatedLambda:
    """The Lambda face under the Runtime Interface Emulator, which serves one request at a time."""

    url: str

    def invoke(self, event: Any) -> Any:
        return _http.request("POST", self.url + EMULATOR_PATH, body=json.dumps(event)).json()

    def send(self, method: str, path: str, headers: Headers, body: bytes = b"") -> HttpReply:
        """Send the request as a function URL's event."""
        started = time.perf_counter()
        event = url_event(method, path, headers, body)
        if len(event["body"]) > MAX_EVENT_BYTES:  # the emulator would truncate it
            message = f"Request must be smaller than {MAX_EVENT_BYTES} bytes"
            return HttpReply(413, {}, json.dumps({"message": message}).encode(), 0.0)
        return url_reply(self.invoke(event), time.perf_counter() - started)


Face = HttpFace | EmulatedLambda


def url_event(method: str, path: str, headers: Headers, body: bytes) -> dict[str, Any]:
    """Return the event of a request to a function's URL, in payload format 2.0."""
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {name.lower(): value for name, value in headers.items()},
        "requestContext": {"http": {"method": method, "path": path}},
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }


def url_reply(answer: Any, seconds: float) -> HttpReply:
    """Return the HTTP reply in a function's answer to such an event. Raise FaceError."""
    if not isinstance(answer, dict) or "statusCode" not in answer:
        raise FaceError(f"the Lambda face failed: {answer}")
    lower = {name.lower(): value for name, value in answer["headers"].items()}
    return HttpReply(answer["statusCode"], lower, answer["body"].encode(), seconds)


def require_image(image: str) -> None:
    """Raise FaceError, with what to do, if Docker cannot run the image."""
    if not shutil.which("docker"):
        raise FaceError("there is no docker on the PATH: https://docs.docker.com/engine/install")
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        raise FaceError("the Docker engine does not answer; start it, or look at `docker info`")
    command = ["docker", "image", "inspect", image]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        raise FaceError(f"there is no image {image}; `make image IMAGE={image}` builds it")


def architecture_of(image: str) -> str:
    command = ["docker", "image", "inspect", "--format", "{{.Architecture}}", image]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return ARCHITECTURES.get(found, found)


def machine() -> str:
    return ARCHITECTURES.get(platform.machine(), platform.machine())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def process_environment(model_folder: str | Path | None = None) -> dict[str, str]:
    """Return the variables of the image's ENV for a face of this checkout. Raise FaceError.

    `model_folder`, or else MODEL_FOLDER, selects another kind of model.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if not (model_folder := model_folder or os.environ.get("MODEL_FOLDER")):
        name = os.environ.get("MODEL_NAME") or "efficientnet_lite0"
        return {"PATH": path, "MODEL_NAME": name, "ARTIFACTS_DIR": str(ROOT / "build/artifacts")}
    folder = Path(model_folder).resolve()
    inference, packages = folder / "inference.py", ROOT / "build" / "packages" / folder.name
    if not inference.is_file():
        raise FaceError(f"the model folder {model_folder} has no inference.py")
    variables = {"INFERENCE": str(inference), "ARTIFACTS_DIR": str(folder)}
    return {"PATH": path, **variables, "MODEL_NAME": "artifact", "PYTHONPATH": str(packages)}


@contextmanager
def http_process(
    environment: Mapping[str, str], arguments: Sequence[str] = ()
) -> Iterator[HttpFace]:
    """Run `entry.sh serve` and yield once it is healthy. Raise FaceError."""
    port = free_port()
    command = [str(ENTRY), "serve", "--host", "127.0.0.1", "--port", str(port), *arguments]
    with running(command, environment) as process:
        yield wait_until_healthy(HttpFace(f"http://127.0.0.1:{port}"), process)


@contextmanager
def http_container(image: str, options: Sequence[str] = ()) -> Iterator[HttpFace]:
    """Run `docker run IMAGE serve` and yield once it is healthy. Raise FaceError."""
    port = free_port()
    command = [*DOCKER_RUN, "-p", f"127.0.0.1:{port}:8080", *options, image, "serve"]
    with running(command, {}) as process:
        yield wait_until_healthy(HttpFace(f"http://127.0.0.1:{port}"), process)


@contextmanager
def lambda_process(environment: Mapping[str, str]) -> Iterator[EmulatedLambda]:
    """Run `entry.sh` under the emulator. Raise FaceError."""
    port = free_port()
    options = f"--runtime-interface-emulator-address 127.0.0.1:{port}"
    options += f" --runtime-api-address 127.0.0.1:{free_port()}"
    settings = {**lambda_settings(), "RIE_OPTIONS": options, **environment}
    with running([str(ENTRY)], settings) as process:
        wait_until_open(port, process)
        yield EmulatedLambda(f"http://127.0.0.1:{port}")


@contextmanager
def lambda_container(image: str, options: Sequence[str] = ()) -> Iterator[EmulatedLambda]:
    """Run `docker run IMAGE`, the handler under the emulator. Raise FaceError."""
    port = free_port()
    settings = [f"--env={name}={value}" for name, value in lambda_settings().items()]
    command = [*DOCKER_RUN, "-p", f"127.0.0.1:{port}:8080", *settings, *options, image]
    with running(command, {}) as process:
        wait_until_open(port, process)
        yield EmulatedLambda(f"http://127.0.0.1:{port}")


def lambda_settings() -> dict[str, str]:
    """Return the variables that Lambda sets and the emulator reads; 1,769 MB are one vCPU."""
    return {
        "AWS_LAMBDA_FUNCTION_NAME": "local",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
        "AWS_LAMBDA_FUNCTION_TIMEOUT": "60",
    }


class Process(subprocess.Popen[bytes]):
    """A child process that writes its output to a file."""

    log: Path

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def check(self) -> None:
        """Raise FaceError if the process has ended."""
        if (status := self.poll()) is not None:
            lines = self.output.strip().splitlines() or ["(no output)"]
            errors = [line for line in lines if '"ERROR"' in line]
            raise FaceError(f"ended with status {status}: {(errors or lines)[-1]}")

    def stop(self) -> int:
        """Send SIGTERM, as AWS does; return the exit status."""
        self.terminate()
        try:
            return self.wait(STOP_SECONDS)
        finally:
            if self.poll() is None:
                os.killpg(self.pid, signal.SIGKILL)
                self.wait()


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Process]:
    """Run a process in its own session, and always stop it at the end."""
    with tempfile.NamedTemporaryFile() as log:
        process = Process(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        process.log = Path(log.name)
        try:
            yield process
        finally:
            process.stop()


def wait_until_healthy(face: HttpFace, process: Process) -> HttpFace:
    """Poll /ping as SageMaker does, and return the face. Raise FaceError."""

    def is_healthy() -> bool:
        try:
            return face.send("GET", "/ping", {}).status == 200
        except urllib3.exceptions.HTTPError:
            return False  # the server does not listen yet

    wait_until(is_healthy, process, "not healthy")
    return face


def wait_until_open(port: int, process: Process) -> None:
    """Wait for any HTTP answer: Docker opens a port before its server listens. Raise FaceError."""

    def is_open() -> bool:
        try:
            return bool(_http.request("GET", f"http://127.0.0.1:{port}/").status)
        except urllib3.exceptions.HTTPError:
            return False

    wait_until(is_open, process, f"nothing listens on port {port}")


def wait_until(
    is_ready: Callable[[], bool], process: Process, failure: str, seconds: int = 0
) -> None:
    """Wait until `is_ready()`. Raise FaceError if the process ends or the time is over."""
    seconds = seconds or START_SECONDS
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        process.check()
        if is_ready():
            return
        time.sleep(0.05)
    raise FaceError(f"{failure} after {seconds} s: {process.output[-500:]}")

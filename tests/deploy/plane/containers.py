"""One instance of an endpoint: a container that really runs the image as SageMaker does."""

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import urllib3

PORT = 8080
PING_SECONDS = 2
INVOCATION_SECONDS = 60
STOP_SECONDS = 30
LABEL = "sagemaker.instance"

_http = urllib3.PoolManager(retries=False, maxsize=32)


class Unhealthy(Exception):
    """A container never answered /ping with 200."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Container:
    """A running `docker run IMAGE serve`. `image` is what runs, by digest, as Docker says."""

    identifier: str
    url: str
    image: str
    specified: str = ""
    keep_logs: Callable[[str], None] = print
    """Takes what the container wrote, when it is stopped."""

    def wait_until_healthy(self, seconds: float) -> None:
        """Poll /ping. Raises Unhealthy after that time, or as soon as the container has ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if docker("inspect", self.identifier, "--format", "{{.State.Running}}") != "true":
                raise Unhealthy("the container has ended")
            try:
                if _http.request("GET", f"{self.url}/ping", timeout=PING_SECONDS).status == 200:
                    return
            except urllib3.exceptions.HTTPError:
                pass  # it does not listen yet
            time.sleep(0.1)
        raise Unhealthy(f"/ping did not answer 200 within {seconds:g} s")

    def invoke(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Raises urllib3's HTTPError where the container does not answer."""
        url = f"{self.url}/invocations"
        reply = _http.request(
            "POST", url, headers=dict(headers), body=body, timeout=INVOCATION_SECONDS
        )
        names = {name.lower(): value for name, value in reply.headers.items()}
        return Answer(reply.status, names, reply.data)

    def stop(self) -> None:
        """SIGTERM, 30 s, SIGKILL; then nothing of it is left but its logs."""
        docker("stop", "--time", str(STOP_SECONDS), self.identifier)
        self.keep_logs(docker("logs", self.identifier))
        docker("rm", "--force", "--volumes", self.identifier)


def start(
    image: str, *, instance: str, environment: Mapping[str, str], model: Path, name: str
) -> Container:
    """Pull `image` (what Docker calls it, by digest) and start it with `model` mounted."""
    docker("pull", "--quiet", image)
    options = ["--detach", "--name", name, "--label", f"{LABEL}={instance}"]
    options += ["--publish", f"127.0.0.1::{PORT}", "--volume", f"{model}:/opt/ml/model:ro"]
    for variable, value in environment.items():
        options += ["--env", f"{variable}={value}"]
    identifier = docker("run", *options, image, "serve")
    [details] = json.loads(docker("inspect", identifier))
    published = details["NetworkSettings"]["Ports"]
    if not published:
        # It has ended already; wait_until_healthy says so.
        return Container(identifier, "http://127.0.0.1:9", image)
    port = published[f"{PORT}/tcp"][0]["HostPort"]
    [runs] = json.loads(docker("image", "inspect", details["Image"]))
    repository = image.partition("@")[0]
    [digest] = {known for known in runs["RepoDigests"] if known.startswith(f"{repository}@")}
    return Container(identifier, f"http://127.0.0.1:{port}", digest)


def docker(*arguments: str) -> str:
    """What `docker ARGUMENTS` prints. Raises RuntimeError with that where it fails."""
    done = subprocess.run(
        ["docker", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"docker {arguments[0]}: {done.stdout.strip()}")
    return done.stdout.strip()

"""Run an endpoint's instances: containers that run the image as SageMaker does."""

import io
import json
import os
import secrets
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import urllib3
from ministack.core.container_reaper import instance_id
from ministack.core.responses import get_region
from urllib3 import BaseHTTPResponse

from integration.deploy.plane.account import Account
from integration.deploy.plane.rules import Properties
from support.docker import docker

PORT = 8080
PING_SECONDS, INVOCATION_SECONDS, STOP_SECONDS = 2, 60, 30
LABEL = "sagemaker.instance"

_http = urllib3.PoolManager(retries=False, maxsize=32)


class Unhealthy(Exception):
    """A container never answered /ping with 200."""


@dataclass(frozen=True)
class Container:
    """A running `docker run IMAGE serve`.

    `image` is what Docker runs, by digest, and `specified` what the model names. `keep_logs` gets
    the container's output when it stops.
    """

    identifier: str
    url: str
    image: str
    specified: str
    keep_logs: Callable[[str], None]

    def wait_until_healthy(self, seconds: float) -> None:
        """Poll /ping. Raise Unhealthy after that time, or as soon as the container has ended."""
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

    def invoke(self, headers: Mapping[str, str], body: bytes) -> BaseHTTPResponse:
        """Return the container's answer. Raise urllib3's HTTPError if there is none."""
        place, sent = f"{self.url}/invocations", dict(headers)
        return _http.request("POST", place, body, headers=sent, timeout=INVOCATION_SECONDS)

    def stop(self) -> None:
        """Stop it as SageMaker does (SIGTERM, 30 s, SIGKILL), keep its logs, and remove it."""
        docker("stop", "--time", str(STOP_SECONDS), self.identifier)
        self.keep_logs(docker("logs", self.identifier, stderr=subprocess.STDOUT))
        docker("rm", "--force", "--volumes", self.identifier)


@dataclass(frozen=True)
class Launcher:
    """Starts the containers of an account's models; `folder` takes their unpacked model data."""

    account: Account
    folder: Path

    def __call__(self, endpoint_name: str, variant_name: str, model: Properties) -> Container:
        for unsupported in ("VpcConfig", "EnableNetworkIsolation", "Containers"):
            if model.get(unsupported):
                raise NotImplementedError(f"{unsupported} is not emulated")
        primary = model["PrimaryContainer"]
        image = self.account.local(self.account.resolve(primary["Image"]))
        name = f"i-{secrets.token_hex(8)}"
        group = f"/aws/sagemaker/Endpoints/{endpoint_name}"

        def keep_logs(text: str) -> None:
            # As on AWS, they are lost if the role may not write them.
            if self.account.may_log(model["ExecutionRoleArn"], group):
                self.account.write_logs(group, f"{variant_name}/{name}", text)

        docker("pull", "--quiet", image)
        data = self._unpacked(primary.get("ModelDataUrl"))
        options = ["--detach", "--name", name, "--label", f"{LABEL}={instance_id()}"]
        options += ["--publish", f"127.0.0.1::{PORT}", "--volume", f"{data}:/opt/ml/model:ro"]
        inherited = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        environment = {"AWS_REGION": get_region(), **{name: os.environ[name] for name in inherited}}
        environment |= primary.get("Environment", {})
        options += [f"--env={variable}={value}" for variable, value in environment.items()]
        identifier = docker("run", *options, image, "serve")
        [details] = json.loads(docker("inspect", identifier))
        digests = docker("inspect", details["Image"], "--format", '{{join .RepoDigests " "}}')
        repository = image.partition("@")[0]
        [digest] = {known for known in digests.split() if known.startswith(f"{repository}@")}
        # A container that has ended already publishes no port; wait_until_healthy reports it.
        published = details["NetworkSettings"]["Ports"].get(f"{PORT}/tcp") or [{"HostPort": "9"}]
        url = f"http://127.0.0.1:{published[0]['HostPort']}"
        return Container(identifier, url, self.account.public(digest), primary["Image"], keep_logs)

    def _unpacked(self, url: str | None) -> Path:
        """Unpack the model data into a new folder, which stays empty if there is none."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        folder.chmod(0o755)  # the container may run as any user
        if url:
            archive = self.account.read_object(url)
            if archive is None:
                raise RuntimeError(f"{url} is gone")
            with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
                tar.extractall(folder, filter="data")
        return folder

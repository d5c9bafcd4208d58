"""Run the local control plane as a process, and the CDK's CLI against it."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import boto3
import urllib3
from botocore.config import Config

from ops.local_servers import ROOT, FaceError, Process, free_port, running, wait_until_open
from support.docker import docker
from support.upstream import bridge_address

REGION = "us-east-1"
PLANE_PYTHON = ROOT / ".venv-aws" / "bin" / "python"
_HOSTNAME = "deploy-test"
_LABELS = {"lambda": "ministack.instance", "sagemaker": "sagemaker.instance"}
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": REGION}


@dataclass(frozen=True)
class Cloud:
    """A running control plane. Containers reach it at `address`."""

    port: int
    address: str
    process: Process

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.port}"

    @property
    def registry(self) -> str:
        """Return the registry's address on loopback, where Docker needs no TLS."""
        return f"127.0.0.1:{self.port}"

    def containers(self, *kinds: str) -> list[str]:
        """Return the containers, running or not, of these kinds: `lambda`, `sagemaker`."""
        return _containers(self.port, *kinds)

    def running_digests(self, *kinds: str) -> set[str]:
        """Return the digests of the images that those containers were started from."""
        images = docker("inspect", *self.containers(*kinds), "--format", "{{.Image}}").split()
        names = docker("image", "inspect", *images, "--format", '{{join .RepoDigests "\\n"}}')
        ours = [name for name in names.split() if name.startswith(f"{self.registry}/")]
        return {name.partition("@")[2] for name in ours}

    def environment(self) -> Mapping[str, str]:
        """Return variables that lead a command to this control plane, never to a real account."""
        inherited = {n: v for n, v in os.environ.items() if not n.startswith(("AWS_", "CDK_"))}
        return {
            **inherited,
            **CREDENTIALS,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": self.url,
            "NO_PROXY": self.address,
            "no_proxy": self.address,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }

    def control(self, name: str) -> None:
        """Call a control that only tests have: `hour`, `take-back`, `keep`, `skew` or `mend`."""
        urllib3.request("POST", f"{self.url}/_plane/{name}", retries=False)

    def client(self, service: str) -> Any:
        # Retries would hide a lost request.
        config = Config(retries={"total_max_attempts": 1}, read_timeout=120, proxies={})
        place = {"endpoint_url": self.url, "region_name": REGION}
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        return boto3.client(service, config=config, **place, **keys)


@contextmanager
def cloud() -> Iterator[Cloud]:
    """Start the control plane; at the end stop it and remove its containers and images."""
    if not PLANE_PYTHON.exists():
        raise FaceError(f"there is no {PLANE_PYTHON}; `make test-deploy` makes it")
    port, address = free_port(), bridge_address()
    held = _images()
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **CREDENTIALS,
            "PYTHONPATH": str(ROOT / "tests"),
            "AWS_ENDPOINT_URL": f"http://{address}:{port}",
            "GATEWAY_PORT": str(port),
            "MINISTACK_HOSTNAME": _HOSTNAME,
            "MINISTACK_REGION": REGION,
            "LAMBDA_EXECUTOR": "docker",
            "LAMBDA_STRICT": "1",
            "LAMBDA_WARM_TTL_SECONDS": "3600",  # no container ends during a test
            "IOT_MTLS_ENABLED": "0",
            "S3_PERSIST": "0",
        }
        Path(folder).chmod(0o755)  # containers read the models in it as any user
        command = [str(PLANE_PYTHON), "-m", "integration.deploy.plane"]
        command += [str(port), address, folder]
        try:
            with running(command, environment) as process:
                wait_until_open(port, process)
                yield Cloud(port, address, process)
        finally:
            if containers := _containers(port):
                docker("rm", "--force", "--volumes", *containers)
            pushed = {name for name in _images() - held if name.startswith(f"127.0.0.1:{port}/")}
            built = {f"cdkasset-{name.rpartition(':')[2]}:latest" for name in pushed}
            # The layers stay as a cache for the next build.
            if images := pushed | (built & _images()) - held:
                docker("rmi", "--force", "--no-prune", *images)


def _containers(port: int, *kinds: str) -> list[str]:
    labels = [f"label={_LABELS[kind]}={_HOSTNAME}:{port}" for kind in kinds or _LABELS]
    found = [docker("ps", "--all", "--quiet", "--filter", label) for label in labels]
    return " ".join(found).split()


def _images() -> set[str]:
    listed = docker("images", "--digests", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}")
    return {
        f"{repository}:{tag}" if tag != "<none>" else f"{repository}@{digest}"
        for repository, tag, digest in (line.split() for line in listed.splitlines())
    }


class CdkError(Exception):
    """The CDK failed; the message is its output."""


@dataclass(frozen=True)
class Cdk:
    """The CDK's CLI on a project. `folder` keeps the cloud assembly of each context."""

    cloud: Cloud
    folder: Path
    project: Path = ROOT

    def run(self, *arguments: str, **context: str) -> str:
        """Return its output. Raise CdkError."""
        name = sha256(repr((self.project, sorted(context.items()))).encode()).hexdigest()
        assembly = self.folder / name
        command = ["cdk", *arguments, "--no-notices"]
        if (assembly / "manifest.json").exists():
            command += ["--app", str(assembly)]
        else:
            command += ["--output", str(assembly)]
            command += [f"--context={key}={value}" for key, value in context.items()]
        environment = {
            "DOCKER_BUILDKIT": "0",  # a Docker without BuildKit builds too
            **self.cloud.environment(),
            "CDK_DOCKER": str(Path(__file__).with_name("docker")),
            "LOCAL_REGISTRY": self.cloud.registry,
            "CDK_DISABLE_CLI_TELEMETRY": "true",
        }
        done = subprocess.run(
            command,
            cwd=self.project,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise CdkError(done.stdout)
        return done.stdout

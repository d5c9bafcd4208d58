"""The local control plane as a process, and the CDK's command line in front of it."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from ops.faces import ROOT, FaceError, Process, free_port, running, wait_until_open
from upstream import bridge_address

REGION = "us-east-1"
PLANE_PYTHON = ROOT / ".venv-aws" / "bin" / "python"
HERE = Path(__file__).resolve().parent
_HOSTNAME = "deploy-test"
_LABELS = {"lambda": "ministack.instance", "sagemaker": "sagemaker.instance"}
_BUILT = "cdkasset-"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": REGION}


@dataclass(frozen=True)
class Cloud:
    """A running control plane; `address` is where containers reach it too."""

    port: int
    address: str
    process: Process

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.port}"

    @property
    def registry(self) -> str:
        """Docker trusts a registry without TLS on loopback alone."""
        return f"127.0.0.1:{self.port}"

    def containers(self, *kinds: str) -> list[str]:
        """The containers, running or not, of the kinds `lambda` and `sagemaker`."""
        labels = [_LABELS[kind] for kind in kinds or _LABELS]
        return _containers(_instance(self.port), *labels)

    def running_digests(self, *kinds: str) -> set[str]:
        """The digests, as Docker says, of what those containers were started from."""
        images = {docker("inspect", c, "--format", "{{.Image}}") for c in self.containers(*kinds)}
        listed = docker("image", "inspect", *images, "--format", "{{json .RepoDigests}}")
        return {
            name.partition("@")[2]
            for line in listed.splitlines()
            for name in json.loads(line)
            if name.startswith(f"{self.registry}/")
        }

    def environment(self) -> Mapping[str, str]:
        """What a command is run with that is to find this control plane and nothing else."""
        # Nothing of the caller's may lead it to an account of theirs.
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

    def client(self, service: str) -> Any:
        # No retries: a lost request has to be seen.
        config = Config(retries={"total_max_attempts": 1}, read_timeout=120, proxies={})
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106
            config=config,
        )


@contextmanager
def cloud() -> Iterator[Cloud]:
    """Start the control plane; stop it and remove its containers and images whatever happens."""
    if not PLANE_PYTHON.exists():
        raise FaceError(f"there is no {PLANE_PYTHON}; `make test-deploy` makes it")
    port, address = free_port(), bridge_address()
    held = _references()
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **CREDENTIALS,
            "PYTHONPATH": str(HERE.parent),
            "AWS_ENDPOINT_URL": f"http://{address}:{port}",
            "GATEWAY_PORT": str(port),
            "MINISTACK_HOSTNAME": _HOSTNAME,
            "MINISTACK_REGION": REGION,
            "LAMBDA_EXECUTOR": "docker",
            "LAMBDA_STRICT": "1",
            "LAMBDA_WARM_TTL_SECONDS": "3600",  # none ends between two looks at it
            "IOT_MTLS_ENABLED": "0",
            "S3_PERSIST": "0",
        }
        Path(folder).chmod(0o755)  # containers read the models in it as any user
        command = [str(PLANE_PYTHON), "-m", "deploy.plane", str(port), address, folder]
        try:
            with running(command, environment) as process:
                wait_until_open(port, process)
                yield Cloud(port, address, process)
        finally:
            _remove(
                _containers(_instance(port), *_LABELS.values()),
                _made_for(f"127.0.0.1:{port}", held),
            )


def _instance(port: int) -> str:
    """What every container of a control plane is labelled with."""
    return f"{_HOSTNAME}:{port}"


def _containers(instance: str, *labels: str) -> list[str]:
    found = (
        docker("ps", "--all", "--quiet", "--filter", f"label={label}={instance}")
        for label in labels
    )
    return [identifier for told in found for identifier in told.split()]


def _references() -> set[str]:
    """The names under which Docker holds what the CDK builds and what is pulled from a registry."""
    listed = docker("images", "--digests", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}")
    return {
        f"{repository}:{tag}" if tag != "<none>" else f"{repository}@{digest}"
        for repository, tag, digest in (line.split() for line in listed.splitlines())
        if repository.startswith(("127.0.0.1:", _BUILT))
    }


def _made_for(registry: str, held: set[str]) -> set[str]:
    """Those of the registry's images, and of the builds that were pushed to it, not `held`."""
    new = _references() - held
    pushed = {name for name in new if name.startswith(f"{registry}/")}
    built = {f"{_BUILT}{name.rpartition(':')[2]}:latest" for name in pushed}
    return pushed | (built & new)


def _remove(containers: Sequence[str], references: set[str]) -> None:
    """The layers stay: they are the cache of the next build."""
    if containers:
        docker("rm", "--force", "--volumes", *containers)
    if references:
        docker("rmi", "--force", "--no-prune", *references)


def docker(*arguments: str) -> str:
    return subprocess.run(
        ["docker", *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


class CdkError(Exception):
    """The CDK ended with another status than 0; the message is what it printed."""


@dataclass(frozen=True)
class Cdk:
    """The CDK's CLI on a project, against a control plane. `folder` takes what it writes."""

    cloud: Cloud
    folder: Path
    project: Path = ROOT

    def run(self, *arguments: str, **context: str) -> str:
        """Its output. Raises CdkError."""
        command = ["cdk", *arguments, "--no-notices", "--output", str(self.folder / "cdk.out")]
        for key, value in context.items():
            command += ["--context", f"{key}={value}"]
        done = subprocess.run(
            command,
            cwd=self.project,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise CdkError(done.stdout)
        return done.stdout

    def _environment(self) -> Mapping[str, str]:
        return {
            "DOCKER_BUILDKIT": "0",  # a Docker without BuildKit builds too
            **self.cloud.environment(),
            "CDK_DOCKER": str(HERE / "docker"),
            "LOCAL_REGISTRY": self.cloud.registry,
            "CDK_DISABLE_CLI_TELEMETRY": "true",
        }

"""The faces on which the golden cases run, each started once in a session."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from integration.clients.stand_in import Aws, forwarding, served
from ops import local_servers
from ops.local_servers import ENTRY, ROOT, EmulatedLambda, Face, HttpFace, HttpReply, Process
from serving.artifact.resolve import resolve
from serving.core.contract import Request
from serving.core.settings import Settings
from serving.service import Service, model_of
from support.upstream import Upstream

_STARTS: Mapping[str, Callable[..., AbstractContextManager[Face]]] = {
    "http process": local_servers.http_process,
    "lambda process": local_servers.lambda_process,
    "http container": local_servers.http_container,
    "lambda container": local_servers.lambda_container,
}
KINDS = tuple(_STARTS)
FORWARDING = "forwarding lambda process"

# Lambda makes the root file system read-only except for /tmp, runs as another user than root and
# limits the memory; SageMaker mounts the artifact.
LAMBDA_LIKE = (
    "--read-only",
    "--tmpfs=/tmp",
    "--user=10001:10001",
    "--memory=1769m",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
)
_MODEL = f"--volume={ROOT}/build/artifacts/efficientnet_lite0:/opt/ml/model:ro"
SAGEMAKER_LIKE = (_MODEL, "--memory=4g")


@contextmanager
def emulated(
    environment: Mapping[str, str], *arguments: str, entry: Path = ENTRY
) -> Iterator[tuple[EmulatedLambda, Process]]:
    """Run the Lambda face under the emulator; yield it and its process, which has the log."""
    port = local_servers.free_port()
    options = f"--runtime-interface-emulator-address 127.0.0.1:{port}"
    options += f" --runtime-api-address 127.0.0.1:{local_servers.free_port()}"
    settings = {**local_servers.process_environment(), **local_servers.lambda_settings()}
    settings |= {"RIE_OPTIONS": options, **environment}
    with local_servers.running([str(entry), *arguments], settings) as process:
        local_servers.wait_until_open(port, process)
        yield EmulatedLambda(f"http://127.0.0.1:{port}"), process


@dataclass(frozen=True)
class InProcess:
    """The pipeline without a face, whose answers the faces must not change."""

    environment: Mapping[str, str]
    service: Service
    name: str = "in-process"

    @classmethod
    def start(cls, environment: Mapping[str, str]) -> "InProcess":
        settings = Settings.from_environment(environment)
        with patch.dict(os.environ, environment):
            service = Service(settings, resolve(settings), model_of(settings))
            service.start()
        return cls(environment, service)

    def send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
    ) -> HttpReply:
        lower = {name.lower(): value for name, value in headers.items()}
        with patch.dict(os.environ, self.environment):
            reply = self.service.respond(Request(method, path, lower, body))
        return HttpReply(reply.status, {k.lower(): v for k, v in reply.headers}, reply.body, 0.0)


@dataclass
class Farm:
    """Faces by kind, with or without access to the upstream."""

    fixture: Callable[[str], Any]
    stack: ExitStack  # stops them
    _faces: dict[tuple[str, bool, str], Face] = field(default_factory=dict)

    def upstream(self, kind: str) -> Upstream:
        found: Upstream = self.fixture(f"{'bridge' if 'container' in kind else 'local'}_upstream")
        return found

    def face(self, kind: str, private_addresses: bool) -> Face:
        return self._get(kind, private_addresses, kind)

    def reference(self, kind: str, private_addresses: bool) -> Face:
        """Return the pipeline in this process, with the upstream of faces of that kind."""
        return self._get("in-process", private_addresses, kind)

    def _get(self, kind: str, private_addresses: bool, upstream_of: str) -> Face:
        key = (kind, private_addresses, self.upstream(upstream_of).places["host"])
        if key not in self._faces:
            self._faces[key] = self._start(kind, private_addresses, self.upstream(upstream_of))
        return self._faces[key]

    def _start(self, kind: str, private_addresses: bool, upstream: Upstream) -> Face:
        environment = {"WORKERS": "2", **(upstream.environment if private_addresses else {})}
        if "container" not in kind:
            environment = {**local_servers.process_environment(), **environment}
            if kind == "in-process":
                return InProcess.start(environment)
            if kind == FORWARDING:
                http = self.face("http process", private_addresses)
                assert isinstance(http, HttpFace)
                aws = self.stack.enter_context(served(Aws(http, EmulatedLambda(""))))
                start = local_servers.lambda_process({**environment, **forwarding(aws.url)})
                return self.stack.enter_context(start)
            return self.stack.enter_context(_STARTS[kind](environment))
        options = [f"--volume={upstream.authority}:/authority.pem:ro"]
        if private_addresses:
            environment["SSL_CERT_FILE"] = "/authority.pem"
        options += [f"--env={name}={value}" for name, value in environment.items()]
        likeness = SAGEMAKER_LIKE if kind == "http container" else LAMBDA_LIKE
        started = _STARTS[kind](self.fixture("image"), [*likeness, *options])
        return self.stack.enter_context(started)

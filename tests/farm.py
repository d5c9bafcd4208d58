"""The faces on which the golden cases run, each started once a session."""

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from ops import faces
from ops.faces import ROOT, Face, Reply
from ops.local import process_environment
from serving.artifact import resolve
from serving.contract import Request
from serving.service import Service
from serving.settings import Settings
from upstream import Upstream

KINDS = ("http process", "lambda process", "http container", "lambda container")

# As AWS runs them: Lambda's root file system is read-only but for /tmp, its user is not root and
# its memory is bounded; SageMaker mounts the artifact.
LAMBDA_LIKE = (
    "--read-only",
    "--tmpfs=/tmp",
    "--user=10001:10001",
    "--memory=1769m",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
)
SAGEMAKER_LIKE = (
    f"--volume={ROOT}/build/artifacts/efficientnet_lite0:/opt/ml/model:ro",
    "--memory=4g",
)


@dataclass(frozen=True)
class InProcess:
    """The pipeline without a face: what the faces must not change."""

    environment: Mapping[str, str]
    service: Service
    name: str = "in-process"

    @classmethod
    def start(cls, environment: Mapping[str, str]) -> "InProcess":
        settings = Settings.from_environment(environment)
        service = Service(settings, resolve(settings))
        with patch.dict(os.environ, environment):
            service.start()
        return cls(environment, service)

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        lower = {name.lower(): value for name, value in headers.items()}
        with patch.dict(os.environ, self.environment):
            reply = self.service.respond(Request(method, path, lower, body))
        return Reply(reply.status, {k.lower(): v for k, v in reply.headers}, reply.body, 0.0)


@dataclass
class Farm:
    """Faces by kind, with the upstream that each can reach or without it."""

    fixture: Callable[[str], Any]
    _stack: ExitStack = field(default_factory=ExitStack)
    _faces: dict[tuple[str, bool, str], Face] = field(default_factory=dict)

    def __enter__(self) -> "Farm":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def upstream(self, kind: str) -> Upstream:
        name = "bridge_upstream" if "container" in kind else "local_upstream"
        found: Upstream = self.fixture(name)
        return found

    def face(self, kind: str, private_addresses: bool) -> Face:
        return self._get(kind, private_addresses, kind)

    def reference(self, kind: str, private_addresses: bool) -> Face:
        """The pipeline in this process, with the upstream of faces of that kind."""
        return self._get("in-process", private_addresses, kind)

    def _get(self, kind: str, private_addresses: bool, upstream_of: str) -> Face:
        key = (kind, private_addresses, self.upstream(upstream_of).places["host"])
        if key not in self._faces:
            self._faces[key] = self._start(kind, private_addresses, self.upstream(upstream_of))
        return self._faces[key]

    def _start(self, kind: str, private_addresses: bool, upstream: Upstream) -> Face:
        environment = {"WORKERS": "2", **(upstream.environment if private_addresses else {})}
        if "container" not in kind:
            environment = {**process_environment(), **environment}
            if kind == "in-process":
                return InProcess.start(environment)
            start = faces.http_process if kind == "http process" else faces.lambda_process
            return self._stack.enter_context(start(environment))
        options = [f"--volume={upstream.authority}:/authority.pem:ro"]
        if private_addresses:
            environment["SSL_CERT_FILE"] = "/authority.pem"
        options += [f"--env={name}={value}" for name, value in environment.items()]
        image = self.fixture("image")
        if kind == "http container":
            return self._stack.enter_context(
                faces.http_container(image, [*SAGEMAKER_LIKE, *options])
            )
        return self._stack.enter_context(faces.lambda_container(image, [*LAMBDA_LIKE, *options]))

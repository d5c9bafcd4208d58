"""What every deployment test shares: the CDK, clients who call all the while, a printed table."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from cases import PHOTOS
from deploy.clients import (
    Answer,
    Loop,
    ask_endpoint,
    ask_function,
    ask_url,
    looping,
)
from deploy.cloud import Cdk, Cloud
from deploy.deployment import Deployment
from ops.faces import ROOT
from ops.local import read

PATHS = [str(PHOTOS / name) for name in ("cat.jpg", "coffee.png", "rocket.jpg", "astronaut.webp")]
PICTURES = [read(path) for path in PATHS]


class Walk:
    """The steps' common ground: the deployment, its clients, and the table that is printed."""

    def __init__(self, plane: Cloud, folder: Path) -> None:
        self.plane = plane
        self.cdk = Cdk(plane, folder)
        self.deployed = Deployment(plane)
        self.loops: list[Loop] = []
        self._functions = plane.client("lambda")
        self._runtime = plane.client("sagemaker-runtime")
        self._since = time.monotonic()

    def deploy(self, context: Mapping[str, str], project: Path = ROOT) -> None:
        cdk = replace(self.cdk, project=project)
        cdk.run("deploy", "--require-approval", "never", **context)

    def destroy(self, context: Mapping[str, str]) -> None:
        self.cdk.run("destroy", "--force", **context)

    def done(self, step: str, *digests: str) -> None:
        """Print the step, and fail where a client's request was lost in it."""
        seconds, self._since = time.monotonic() - self._since, time.monotonic()
        [digest] = set(digests) or {""}
        told = "; ".join(loop.told() for loop in self.loops)
        print(f"{seconds:4.0f} s  {step:<42} {digest[:19]:<19}  {told}", flush=True)
        for loop in self.loops:
            assert loop.asked > 0, loop.name
            assert loop.lost == [], f"{loop.name} lost {len(loop.lost)}: {loop.lost[:3]}"

    @contextmanager
    def client(self, target: str) -> Iterator[Loop]:
        """Somebody who calls that target all the while."""
        outputs = self.deployed.outputs
        photo = (PICTURES[0].body, PICTURES[0].content_type)
        ask = (
            partial(self.ask_url, outputs["FunctionUrl"], *photo)
            if target == "lambda"
            else partial(self.ask_endpoint, outputs["EndpointName"], *photo)
        )
        with looping(target, ask) as loop:
            self.loops.append(loop)
            yield loop
        self.loops.remove(loop)

    def ask_url(self, url: str, body: bytes, kind: str) -> Answer:
        return ask_url(self.plane, url, body, kind)

    def ask_endpoint(self, name: str, body: bytes, kind: str) -> Answer:
        return ask_endpoint(self._runtime, name, body, kind)

    def answers_of_lambda(self) -> list[Answer]:
        """The pictures' answers by URL; the same by alias and by the bare function."""
        url, alias = self.deployed.outputs["FunctionUrl"], self.deployed.alias
        answers = []
        for photo in PICTURES:
            answer = self.ask_url(url, photo.body, photo.content_type)
            assert answer.status == 200
            for name in (alias, self.deployed.function):
                assert ask_function(self._functions, name, photo) == json.loads(answer.body)
            answers.append(answer)
        return answers

    def answers_to_ops(self) -> list[Any]:
        """What `python -m ops invoke` prints of every picture, on whatever target it finds."""
        command = [sys.executable, "-m", "ops", "invoke", *PATHS, "--json"]
        command += ["--wait", "60"]
        environment = self.plane.environment()
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def answers_of_sagemaker(self) -> list[Answer]:
        name = self.deployed.endpoint
        return [self.ask_endpoint(name, photo.body, photo.content_type) for photo in PICTURES]

"""Steps that the deployment tests share: the CDK, constant clients, a printed table."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from integration.deploy.clients import Answer, Loop, ask_endpoint, ask_function, ask_url, looping
from integration.deploy.cloud import Cdk, Cloud
from integration.deploy.deployment import Deployment
from ops.inputs import read_input
from ops.local_servers import ROOT, wait_until
from support.cases import PHOTOS
from support.programs import run

PATHS = [str(PHOTOS / name) for name in ("cat.jpg", "coffee.png", "rocket.jpg", "astronaut.webp")]
PICTURES = [read_input(path) for path in PATHS]


class Walk:
    """One deployment, its clients, and a printed table of steps."""

    def __init__(self, plane: Cloud, folder: Path) -> None:
        self.plane = plane
        self.cdk = Cdk(plane, folder)
        self.deployed = Deployment(plane)
        self.loops: list[Loop] = []
        self._functions = plane.client("lambda")
        self.ask_url = partial(ask_url, plane)
        self.ask_endpoint = partial(ask_endpoint, plane.client("sagemaker-runtime"))
        self._since = time.monotonic()

    def deploy(self, context: Mapping[str, str], project: Path = ROOT) -> None:
        deploy = ("deploy", "--require-approval", "never")
        replace(self.cdk, project=project).run(*deploy, **context)

    def destroy(self, context: Mapping[str, str], project: Path = ROOT) -> None:
        replace(self.cdk, project=project).run("destroy", "--force", **context)

    def done(self, step: str, *digests: str) -> None:
        """Print the step, and fail where a client lost a request in it."""
        seconds, self._since = time.monotonic() - self._since, time.monotonic()
        [digest] = set(digests) or {""}
        told = "; ".join(loop.told() for loop in self.loops)
        print(f"{seconds:4.0f} s  {step:<42} {digest[:19]:<19}  {told}", flush=True)

    def digests(self) -> list[str]:
        """Return the digests that AWS's calls and Docker report of each target."""
        told = [self.deployed.lambda_digest(), self.deployed.endpoint_digest()]
        return told + sorted(self.plane.running_digests())

    def wait_until(self, is_so: Callable[[], bool], failure: str) -> None:
        """Wait for what comes after an answer, as logs and alarms do."""
        wait_until(is_so, self.plane.process, failure)

    @contextmanager
    def client(self, target: str) -> Iterator[Loop]:
        """Call that target constantly while the block runs."""
        outputs, photo = self.deployed.outputs, PICTURES[0]
        call = (
            partial(self.ask_url, outputs["FunctionUrl"])
            if target == "lambda"
            else partial(self.ask_endpoint, outputs["EndpointName"])
        )
        with looping(target, partial(call, photo.body, photo.content_type)) as loop:
            self.loops.append(loop)
            yield loop
        self.loops.remove(loop)

    def answers_of_lambda(self) -> list[Answer]:
        """Return the pictures' answers by URL, which those by alias and function must equal."""
        url, alias = self.deployed.outputs["FunctionUrl"], self.deployed.alias
        answers = []
        for photo in PICTURES:
            answer = self.ask_url(url, photo.body, photo.content_type)
            assert answer.status == 200, answer
            for name in (alias, self.deployed.function):
                assert ask_function(self._functions, name, photo) == json.loads(answer.body)
            answers.append(answer)
        return answers

    def answers_to_ops(self) -> list[Any]:
        """Return what `python -m ops invoke` prints of every picture, on the target it finds."""
        status, out = self.ops("invoke", *PATHS, "--json", "--wait", "60")
        assert status == 0, out
        return [json.loads(line) for line in out.splitlines()]

    def ops(self, *arguments: str) -> tuple[int, str]:
        """Return the exit status and the output of `python -m ops ARGUMENTS`."""
        command = [sys.executable, "-m", "ops", *arguments]
        done = run(command, env=self.plane.environment())
        assert done.returncode in (0, 1), done.stdout + done.stderr
        return done.returncode, done.stdout or done.stderr

    def answers_of_sagemaker(self) -> list[Answer]:
        name = self.deployed.endpoint
        return [self.ask_endpoint(name, photo.body, photo.content_type) for photo in PICTURES]


# Dimensions of the new side of an update.
OF_THE_NEW = {"EndpointConfigName", "ExecutedVersion"}


@contextmanager
def in_alarm(plane: Cloud, metric: str, *, new: bool) -> Iterator[None]:
    """Set the alarm of that metric, of an update's new side or of the target, to ALARM."""
    cloudwatch = plane.client("cloudwatch")
    [name] = [
        alarm["AlarmName"]
        for alarm in cloudwatch.describe_alarms()["MetricAlarms"]
        if alarm.get("MetricName") == metric
        if new is any(d["Name"] in OF_THE_NEW for d in alarm["Dimensions"])
    ]
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="planted")
    try:
        yield
    finally:
        cloudwatch.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="planted")

"""The examiner stops what differs and raises its alarm, and `python -m ops parity` names it.

CloudFormation's custom resources, CodeDeploy's hook and the schedule really call its function, in a
container of the deployed image. An hour passes when a test says so. `test_walk` says what is
emulated. `ops parity` invokes functions directly, since the names of URLs are in no DNS here.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from integration.deploy.cloud import CdkError, Cloud
from integration.deploy.deployment import STACK, inventory, left_over
from integration.deploy.model_data import BUCKET, delete_bucket
from integration.deploy.plants import PLANTS, Base, Plant
from integration.deploy.test_walk import serving
from integration.deploy.walk import Walk
from ops.local_servers import ROOT
from support.cases import PHOTOS
from support.programs import copied_project

pytestmark = pytest.mark.docker

CONTEXT = {"mode": "both"}
CHANGED = {**CONTEXT, "uri_allowlist": "example.com"}
EXAMS = int(os.environ.get("EXAMS", "10"))  # of a healthy stack; `make test-deploy` asks for 50
# The image answers wrongly in the function, and nowhere else.
WRONG = """

_right = infer


def infer(request, net):
    answer = _right(request, net)
    if "LambdaFunction" in environ.get("AWS_LAMBDA_FUNCTION_NAME", ""):
        answer["results"].reverse()
    return answer
"""


def test_what_the_examiner_stops(plane: Cloud, tmp_path: Path) -> None:
    print()
    before = inventory(plane)
    wrong = copied_project(tmp_path / "wrong", WRONG)
    walk = Walk(plane, tmp_path)
    a_first_version_that_answers_wrongly(walk, wrong)
    walk.deploy(CONTEXT)
    digest = walk.deployed.lambda_digest()
    walk.done("mode=both: examined", digest, *walk.digests())
    parity_of_both(walk, digest)
    a_healthy_stack_raises_nothing(walk)
    with walk.client("lambda") as on_lambda, walk.client("sagemaker") as on_sagemaker:
        an_update_that_sagemaker_takes_back(walk)
        a_version_that_answers_wrongly(walk, wrong)
        assert [len(loop.models) for loop in (on_lambda, on_sagemaker)] == [1, 1]
    base = Base(plane, walk.deployed.outputs["ImageUri"])
    for plant in PLANTS:
        folder = tmp_path / plant.__name__
        folder.mkdir()
        a_skew(walk, plant(base, folder), plant.__name__, deploys=plant is PLANTS[0])
    walk.destroy(CONTEXT)
    delete_bucket(plane, BUCKET)
    assert left_over(plane, before) == {}
    walk.done("destroy")


def a_first_version_that_answers_wrongly(walk: Walk, wrong: Path) -> None:
    with pytest.raises(CdkError, match=r"version 1: a photograph of a cat: label .* instead of"):
        walk.deploy({"mode": "lambda"}, wrong)
    assert walk.plane.client("lambda").list_functions()["Functions"] == []
    walk.destroy({"mode": "lambda"}, wrong)
    walk.done("a first version that answers wrongly: no alias")


def parity_of_both(walk: Walk, digest: str) -> None:
    status, out = walk.ops("parity", "--function")
    assert (status, out.splitlines()[-1]) == (0, "The same: 16 inputs, Lambda and SageMaker.")
    assert checks(out) == checks(documented_output())
    print(out)
    report = parity(walk)
    assert (report["status"], report["same"]) == (0, True), report["checks"]
    assert all(d["identical"] for told in report["inputs"] for d in told["differences"])
    # As Docker says of the containers.
    assert walk.plane.running_digests() == {digest}
    assert [target["digests"] for target in report["targets"]] == [[digest], [digest]]
    assert len({target["model"] for target in report["targets"]}) == 1
    checked = ("image", "model", "settings", "answers", "registry", "endpoint config")
    found = {check["check"]: check["state"] for check in report["checks"]}
    assert found == dict.fromkeys(checked, "ok")
    walk.done("mode=both: parity", digest)


def parity(walk: Walk, *arguments: str) -> Any:
    """Return the JSON report of `python -m ops parity`, with the exit status."""
    asked = ("parity", "--json", "--repeats", "1", "--function", *arguments)
    status, out = walk.ops(*asked)
    return {**json.loads(out), "status": status}


def documented_output() -> str:
    """Return what docs/05 shows for this command."""
    text = (ROOT / "docs" / "05-deployment.md").read_text()
    return text.partition("$ python -m ops parity --function\n")[2].partition("```")[0]


def checks(out: str) -> list[str]:
    """Return the lines of what was compared, without digests."""
    lines = [line for line in out.splitlines() if line.startswith("- ")]
    return [re.sub(r"\b[0-9a-f]{8,}\b", "…", line) for line in lines]


def a_healthy_stack_raises_nothing(walk: Walk) -> None:
    exams = len(logged(walk))
    for _ in range(EXAMS):
        an_hour_passes(walk)
        assert in_alarm(walk) == []
    lines = logged(walk)[exams:]
    assert len(lines) == EXAMS
    assert all('"skews": 0' in line for line in lines)
    walk.done(f"{EXAMS} exams: no alarm")


def an_update_that_sagemaker_takes_back(walk: Walk) -> None:
    """CloudFormation takes it for success; the function is never touched."""
    before = walk.deployed.lambda_state(), serving(walk.deployed)
    walk.plane.control("take-back")
    try:
        with pytest.raises(CdkError, match="SageMaker rolled back its update") as raised:
            walk.deploy(CHANGED)
    finally:
        walk.plane.control("keep")
    assert "ping health check" not in str(raised.value)
    assert (walk.deployed.lambda_state(), serving(walk.deployed)) == before
    walk.done("an update that SageMaker takes back: stopped", walk.deployed.lambda_digest())


def a_version_that_answers_wrongly(walk: Walk, wrong: Path) -> None:
    version = walk.deployed.version()
    with pytest.raises(CdkError, match="the hook BeforeAllowTraffic has failed"):
        walk.deploy(CONTEXT, wrong)
    assert walk.deployed.version() == version
    walk.wait_until(lambda: "label" in logged(walk)[-1], "no exam found it")
    assert '"trigger": "Hook"' in logged(walk)[-1]
    walk.done("a version that answers wrongly: no traffic", walk.deployed.lambda_digest())


def a_skew(walk: Walk, plant: Plant, name: str, *, deploys: bool) -> None:
    with planted(walk, plant):
        an_hour_passes(walk)
        walk.wait_until(lambda: in_alarm(walk) == ["Skew"], "no alarm")
        told = logged(walk)[-1]
        report = parity(walk, walk.deployed.alias, "--inputs", str(PHOTOS))
        assert (report["status"], report["skews"]) == (1, plant.skews), report["checks"]
        assert plant.says in " ".join(check["says"] for check in report["checks"])
        if deploys:  # once: all plants raise the same alarm
            with pytest.raises(CdkError, match=r"CodeDeploy rolled back: \S*Skew\S* in ALARM"):
                walk.deploy(CHANGED)
    an_hour_passes(walk)
    walk.wait_until(lambda: in_alarm(walk) == [], "still in alarm")
    walk.done(f"{name.replace('_', ' ')}: {told.partition('differences')[2][4:80]}")


@contextmanager
def planted(walk: Walk, plant: Plant) -> Iterator[None]:
    """Let the alias lead to a version with the plant, behind the stack's back."""
    client, function = walk.plane.client("lambda"), walk.deployed.function
    version = walk.deployed.version()
    about = client.get_function(FunctionName=walk.deployed.alias)["Configuration"]
    told = {**about["Environment"]["Variables"], **plant.environment}
    client.update_function_configuration(FunctionName=function, Environment={"Variables": told})
    client.update_function_code(FunctionName=function, ImageUri=plant.image)
    other = client.publish_version(FunctionName=function)["Version"]
    assert other != version
    client.update_alias(FunctionName=function, Name="live", FunctionVersion=other)
    try:
        yield
    finally:
        client.update_alias(FunctionName=function, Name="live", FunctionVersion=version)


def an_hour_passes(walk: Walk) -> None:
    """Let an hour pass, and wait for its exam."""
    exams = len(logged(walk))
    walk.plane.control("hour")
    walk.wait_until(lambda: len(logged(walk)) > exams, "no exam")


def in_alarm(walk: Walk) -> list[str]:
    """Return the metrics whose alarms ring."""
    alarms = walk.plane.client("cloudwatch").describe_alarms(StateValue="ALARM")
    return [alarm["MetricName"] for alarm in alarms["MetricAlarms"]]


def logged(walk: Walk) -> list[str]:
    """Return the lines of all exams, in order."""
    stack = walk.plane.client("cloudformation").describe_stack_resources(StackName=STACK)
    [group] = [
        resource["PhysicalResourceId"]
        for resource in stack["StackResources"]
        if resource["ResourceType"] == "AWS::Logs::LogGroup"
        and "Examiner" in resource["LogicalResourceId"]
    ]
    found = (
        walk.plane.client("logs").get_paginator("filter_log_events").paginate(logGroupName=group)
    )
    events = [event for page in found for event in page["events"]]
    events.sort(key=lambda event: event["timestamp"])
    return [e["message"] for e in events if '"message": "exam"' in e["message"]]

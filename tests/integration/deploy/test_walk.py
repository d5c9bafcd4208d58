"""Take a deployment through its whole life with the real CDK CLI, under constant load.

Real: the app, the CDK's CLI and its templates, the image's build and push, the registry, the
containers of functions and endpoints, their digests, every request and its answer.

Emulated by MiniStack and `plane`: AWS's APIs and CloudFormation. IAM decides only whether the roles
may pull the image, read the model, see the rollback alarms, write the endpoint's log and an
asynchronous answer. Function URLs require a signature but do not verify it; no DNS has their names,
so `ops invoke` is not run against one. A Lambda environment is the image under the Runtime
Interface Emulator on a read-only root, without Lambda's limits of memory and time. An endpoint's
instance, serverless or not, is one container on this machine. Rollouts wait for a second, not for
minutes, and a container that ends is not restarted. CodeDeploy calls its hook and moves an alias
in one step. Alarms of AWS's own metrics change only by SetAlarmState. There is no scaling, data
capture, notification, VPC or network isolation.
"""

import json
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from integration.deploy.clients import Answer, Loop
from integration.deploy.cloud import CdkError, Cloud
from integration.deploy.deployment import Deployment, inventory, left_over
from integration.deploy.model_data import BUCKET, PREFIX, delete_bucket, upload
from integration.deploy.walk import Walk, in_alarm
from support.docker import docker
from support.programs import copied_project

pytestmark = pytest.mark.docker

BROKEN = "\n\ndef load_model(model_path):\n    raise RuntimeError('broken model')\n"


def test_the_walk(plane: Cloud, tmp_path: Path, artifact_folder: Path) -> None:
    print()
    walk = Walk(plane, tmp_path)
    before = inventory(plane)
    digest, baked = only_lambda(walk)
    with ExitStack() as endpoint_clients:
        with walk.client("lambda") as on_lambda:
            both(walk, digest, baked)
            the_move(walk, digest, on_lambda)
            both(walk, digest, baked)
            on_sagemaker = endpoint_clients.enter_context(walk.client("sagemaker"))
            rolled_back_by_alarms(walk, digest)
            artifact = upload(plane, artifact_folder, tmp_path)
            answers = another_model(walk, digest, artifact)
            models = [baked[0].model, artifact["model_id"]]
            # Each client saw one change, which was not reverted.
            assert on_lambda.models == on_sagemaker.models == models
            broken = copied_project(tmp_path / "broken", BROKEN)
            function = walk.deployed.lambda_state()
            a_broken_image(walk, digest, answers, {"mode": "both", **artifact}, broken)
            assert walk.deployed.lambda_state() == function  # the endpoint rejects the image first
            assert walk.answers_of_lambda() == answers
            assert {*walk.digests()} == {digest}
        serves = serving(walk.deployed)
        only_sagemaker(walk, digest, answers, artifact)
        assert serving(walk.deployed) == serves
        a_broken_image(walk, digest, answers, {"mode": "sagemaker", **artifact}, broken)
        assert on_sagemaker.models == models
    walk.destroy({"mode": "sagemaker", **artifact})
    delete_bucket(plane, BUCKET)
    assert left_over(plane, before) == {}
    assert plane.containers() == []
    walk.done("destroy: no resource, no container left")


def only_lambda(walk: Walk) -> tuple[str, list[Answer]]:
    walk.deploy({"mode": "lambda"})
    answers = walk.answers_of_lambda()
    url = walk.deployed.outputs["FunctionUrl"]
    assert walk.ask_url(url, b"", "image/jpeg", sign=False).status == 403
    digest = walk.deployed.lambda_digest()
    assert walk.plane.running_digests("lambda") == {digest}
    walk.done("mode=lambda", digest)
    return digest, answers


def both(walk: Walk, digest: str, baked: list[Answer]) -> None:
    walk.deploy({"mode": "both"})
    assert walk.answers_of_sagemaker() == walk.answers_of_lambda() == baked
    refused = b'{"uri": "http://169.254.169.254/"}'
    outputs = walk.deployed.outputs
    by_url = walk.ask_url(outputs["FunctionUrl"], refused, "application/json")
    by_endpoint = walk.ask_endpoint(outputs["EndpointName"], refused, "application/json")
    assert by_url.status == 403
    assert (by_endpoint.status, by_endpoint.body) == (by_url.status, by_url.body)
    walk.done("mode=both", digest, *walk.digests())


def the_move(walk: Walk, digest: str, on_url: Loop) -> None:
    """Move from the function to the endpoint and back while clients call one URL."""
    url, bodies = walk.deployed.outputs["FunctionUrl"], set(on_url.bodies)
    a_skew_stops_the_shift(walk, digest)
    shared = {"mode": "both", "sagemaker_percent": "10"}
    walk.deploy(shared)
    served = served_now(on_url, 200)
    # The mean is 20 of 200, the standard deviation 4.2.
    assert 3 <= served["sagemaker"] <= 37, served
    assert served.keys() == {"lambda", "sagemaker"}
    walk.done("a tenth on SageMaker", digest, *walk.digests())
    walk.deploy({**shared, "sagemaker_percent": "100"})
    assert served_now(on_url).keys() == {"sagemaker"}
    walk.done("all on SageMaker, by a function without model", digest, *walk.digests())
    walk.deploy({"mode": "sagemaker", "keep_url": "true", "spill": "true"})
    assert served_now(on_url).keys() == {"sagemaker"}
    walk.done("mode=sagemaker, with the URL and spill", digest, *walk.digests())
    docker("stop", *walk.plane.containers("sagemaker"))
    assert served_now(on_url).keys() == {"lambda-spill"}
    walk.done("the endpoint's containers stopped: spilled", digest, walk.deployed.lambda_digest())
    walk.deploy({"mode": "lambda"})
    assert served_now(on_url).keys() == {""}
    assert walk.plane.client("sagemaker").list_endpoints()["Endpoints"] == []
    assert walk.deployed.outputs["FunctionUrl"] == url
    assert on_url.bodies == bodies
    walk.done("back to mode=lambda", digest, walk.deployed.lambda_digest())


def a_skew_stops_the_shift(walk: Walk, digest: str) -> None:
    """The examiner checks the endpoint before any call reaches the version that forwards."""
    version = walk.deployed.version()
    walk.plane.control("skew")
    try:
        with pytest.raises(CdkError, match="the hook BeforeAllowTraffic has failed"):
            walk.deploy({"mode": "both", "sagemaker_percent": "10"})
    finally:
        walk.plane.control("mend")
    assert walk.deployed.version() == version
    assert walk.deployed.stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    walk.done("a skew in the endpoint: no call forwarded", digest, *walk.digests())


def served_now(on_url: Loop, calls: int = 50) -> Mapping[str, int]:
    """Return who gives the next answers, without the one that may be in progress."""
    asked = on_url.asked + 1
    while on_url.asked <= asked:
        time.sleep(0.05)
    before = Counter(on_url.served)
    while on_url.asked < asked + calls:
        time.sleep(0.05)
    return on_url.served - before


def rolled_back_by_alarms(walk: Walk, digest: str) -> None:
    changed = {"mode": "both", "uri_allowlist": "example.com"}
    before = walk.deployed.version(), serving(walk.deployed)
    expected = {"Invocation5XXErrors": "in ALARM", "Duration": "CodeDeploy rolled back"}
    for metric, message in expected.items():
        with in_alarm(walk.plane, metric, new=True), pytest.raises(CdkError, match=message):
            walk.deploy(changed)
        version, (config, _, _) = walk.deployed.version(), serving(walk.deployed)
        assert (version, config) == (before[0], before[1][0])
        walk.done(f"an alarm of {metric}: rolled back", digest, walk.deployed.endpoint_digest())


def another_model(walk: Walk, digest: str, artifact: dict[str, str]) -> list[Answer]:
    deployments = walk.deployed.rollouts()
    walk.deploy({"mode": "both", **artifact})
    answers = walk.answers_of_sagemaker()
    assert answers == walk.answers_of_lambda()
    assert all(PREFIX.encode() in answer.body for answer in answers)
    assert walk.deployed.rollouts() == deployments + 1
    walk.done("mode=both, another model", digest, *walk.digests())
    return answers


def only_sagemaker(walk: Walk, digest: str, answers: list[Answer], model: dict[str, str]) -> None:
    walk.deploy({"mode": "sagemaker", **model})
    [examiner] = walk.plane.client("lambda").list_functions()["Functions"]
    assert "Examiner" in examiner["FunctionName"]
    assert walk.answers_of_sagemaker() == answers
    assert walk.answers_to_ops() == [json.loads(answer.body) for answer in answers]
    walk.done("mode=sagemaker", digest, walk.deployed.endpoint_digest())


def a_broken_image(
    walk: Walk, digest: str, answers: list[Answer], context: dict[str, str], project: Path
) -> None:
    """The endpoint's container fails, so the deployment fails and is rolled back."""
    before = serving(walk.deployed)
    with pytest.raises(CdkError, match="did not pass the ping health check"):
        walk.deploy(context, project)
    assert walk.deployed.stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    group = f"/aws/sagemaker/Endpoints/{walk.deployed.endpoint}"
    logged = walk.plane.client("logs").filter_log_events(logGroupName=group)["events"]
    assert any("broken model" in event["message"] for event in logged)
    assert serving(walk.deployed) == before
    assert walk.answers_of_sagemaker() == answers
    rolled_back = f"mode={context['mode']}, a broken image: rolled back"
    walk.done(rolled_back, digest, walk.deployed.endpoint_digest())


def serving(deployed: Deployment) -> tuple[str, Any, list[str]]:
    told = deployed.endpoint_description()
    assert told["EndpointStatus"] == "InService"
    containers = deployed.cloud.containers("sagemaker")
    return told["EndpointConfigName"], told["ProductionVariants"], containers

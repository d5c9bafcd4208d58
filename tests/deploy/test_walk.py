"""The whole life of a deployment, by the real CDK CLI, with clients that call all the while.

Real: the app as it is, the CDK's CLI and its templates, the image's build and push, the registry,
the containers of functions and endpoints, their digests, every request and its answer.

Emulated, by MiniStack and by `deploy.plane`: AWS's own APIs and CloudFormation. IAM decides
nothing but whether the roles may pull the image, read the model, see the rollback alarms, write
the endpoint's log and an asynchronous answer. Function URLs want a signature and do not verify it;
their host names are in no DNS, so `ops invoke` is not run against one. A Lambda environment is the
image under the Runtime Interface Emulator on a read-only root, without Lambda's limits of memory
and time. An endpoint's instance, serverless or not, is one container on this machine. Rollouts
wait for a second, not for minutes, and a container that ends is not started again; CodeDeploy
moves an alias in one step; alarms of metric maths change only by SetAlarmState. Nothing scales, no
traffic is captured, nobody is notified, and VPCs and network isolation are not run:
`test_refusals` holds what is known of AWS's rules for them.
"""

import json
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from deploy import model_data
from deploy.clients import Answer, ask_url
from deploy.cloud import CdkError, Cloud
from deploy.deployment import Deployment, inventory
from deploy.walk import Walk
from ops.faces import ROOT

pytestmark = pytest.mark.docker

BUCKET = "models-of-the-deploy-test"


def test_the_walk(plane: Cloud, tmp_path: Path, artifact_folder: Path) -> None:
    print()
    walk = Walk(plane, tmp_path)
    before = inventory(plane)
    digest, baked = only_lambda(walk)
    with ExitStack() as endpoint_clients:
        with walk.client("lambda") as on_lambda:
            both(walk, digest, baked)
            on_sagemaker = endpoint_clients.enter_context(walk.client("sagemaker"))
            artifact = upload(plane, artifact_folder, tmp_path)
            answers = another_model(walk, digest, artifact)
            models = [baked[0].identity["model"], artifact["model_id"]]
            # Each client saw one change and no way back.
            assert on_lambda.models == on_sagemaker.models == models
            broken = broken_project(tmp_path)
            broken_in_both(walk, digest, answers, broken, artifact)
        serves = serving(walk.deployed)
        only_sagemaker(walk, digest, answers, artifact)
        assert serving(walk.deployed) == serves
        broken_on_sagemaker(walk, digest, answers, broken, artifact)
        assert on_sagemaker.models == models
    walk.destroy({"mode": "sagemaker", **artifact})
    delete_bucket(plane)
    assert inventory(plane) == before
    assert plane.containers() == []
    walk.done("destroy: no resource, no container left")


def only_lambda(walk: Walk) -> tuple[str, list[Answer]]:
    walk.deploy({"mode": "lambda"})
    answers = walk.answers_of_lambda()
    url = walk.deployed.outputs["FunctionUrl"]
    assert ask_url(walk.plane, url, b"", "image/jpeg", sign=False).status == 403
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
    walk.done("mode=both", digest, *digests(walk))


def another_model(walk: Walk, digest: str, artifact: dict[str, str]) -> list[Answer]:
    deployments = walk.deployed.rollouts()
    walk.deploy({"mode": "both", **artifact})
    answers = walk.answers_of_sagemaker()
    assert answers == walk.answers_of_lambda()
    assert all(model_data.PREFIX.encode() in answer.body for answer in answers)
    assert walk.deployed.rollouts() == deployments + 1
    walk.done("mode=both, another model", digest, *digests(walk))
    return answers


def broken_in_both(
    walk: Walk, digest: str, answers: list[Answer], broken: Path, artifact: dict[str, str]
) -> None:
    """The endpoint proves an image before Lambda gets it: the function was never touched."""
    before = walk.deployed.lambda_state(), serving(walk.deployed)
    expect_failure(walk, broken, {"mode": "both", **artifact})
    assert (walk.deployed.lambda_state(), serving(walk.deployed)) == before
    assert walk.answers_of_sagemaker() == walk.answers_of_lambda() == answers
    walk.done("mode=both, a broken image: rolled back", digest, *digests(walk))


def only_sagemaker(
    walk: Walk, digest: str, answers: list[Answer], artifact: dict[str, str]
) -> None:
    walk.deploy({"mode": "sagemaker", **artifact})
    assert not walk.plane.client("lambda").list_functions()["Functions"]
    assert walk.plane.containers("lambda") == []
    assert walk.answers_of_sagemaker() == answers
    assert walk.answers_to_ops() == [json.loads(answer.body) for answer in answers]
    walk.done("mode=sagemaker", digest, walk.deployed.endpoint_digest())


def broken_on_sagemaker(
    walk: Walk, digest: str, answers: list[Answer], broken: Path, artifact: dict[str, str]
) -> None:
    before = serving(walk.deployed)
    expect_failure(walk, broken, {"mode": "sagemaker", **artifact})
    assert serving(walk.deployed) == before
    assert walk.answers_of_sagemaker() == answers
    walk.done(
        "mode=sagemaker, a broken image: rolled back", digest, walk.deployed.endpoint_digest()
    )


def digests(walk: Walk) -> list[str]:
    """What AWS's calls say that each target runs, and what Docker says."""
    told = [walk.deployed.lambda_digest(), walk.deployed.endpoint_digest()]
    return told + sorted(walk.plane.running_digests())


def upload(plane: Cloud, artifact_folder: Path, folder: Path) -> dict[str, str]:
    """Another artifact in the account's bucket, as the context that names it."""
    archive, identifier = model_data.make(artifact_folder, folder)
    plane.client("s3").create_bucket(Bucket=BUCKET)
    plane.client("s3").put_object(Bucket=BUCKET, Key="model.tar.gz", Body=archive.read_bytes())
    return {"model_data": f"s3://{BUCKET}/model.tar.gz", "model_id": identifier}


def delete_bucket(plane: Cloud) -> None:
    plane.client("s3").delete_object(Bucket=BUCKET, Key="model.tar.gz")
    plane.client("s3").delete_bucket(Bucket=BUCKET)


def broken_project(folder: Path) -> Path:
    """The project as a user might break it: nothing but its model does not load."""
    project = folder / "broken"
    for name in ("container", "infra"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("app.py", "cdk.json"):
        shutil.copy(ROOT / name, project)
    with (project / "container" / "serving" / "inference.py").open("a") as inference:
        inference.write(
            '\n\ndef load_model(model_path):\n    raise RuntimeError("this model is broken")\n'
        )
    return project


def expect_failure(walk: Walk, project: Path, context: Mapping[str, str]) -> None:
    """The deployment fails since the endpoint's container does, and is rolled back."""
    with pytest.raises(CdkError, match="did not pass the ping health check"):
        walk.deploy(context, project)
    assert walk.deployed.stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    # The endpoint's log group has the reason.
    group = f"/aws/sagemaker/Endpoints/{walk.deployed.endpoint}"
    logged = walk.plane.client("logs").filter_log_events(logGroupName=group)["events"]
    assert any("this model is broken" in event["message"] for event in logged)


def serving(deployed: Deployment) -> object:
    """What of the endpoint a failed update must not have touched: config, images, containers."""
    told = deployed.endpoint_description()
    assert told["EndpointStatus"] == "InService"
    return (
        told["EndpointConfigName"],
        told["ProductionVariants"],
        deployed.cloud.containers("sagemaker"),
    )

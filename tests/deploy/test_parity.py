"""`python -m ops parity` after `mode=both`, and five skews planted in what a function runs.

The stack is the app's own; the planted functions are a stack beside it, and are compared with its
endpoint. What is emulated is said in `test_walk`; the function is asked by lambda:InvokeFunction,
since the host names of URLs are in no DNS here.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cases import PHOTOS
from deploy import model_data
from deploy.cloud import Cloud, docker
from deploy.walk import Walk
from ops.faces import ROOT
from serving import manifest

pytestmark = pytest.mark.docker

PLANTED, FUNCTION, BUCKET = "Planted", "planted", "planted-models"
CONTEXT = {"mode": "both"}


@dataclass
class Stack:
    """The deployed stack, and the planted one beside it."""

    walk: Walk
    plane: Cloud

    def parity(self, *arguments: str) -> tuple[int, str]:
        """Exit status and output of `python -m ops parity`."""
        done = subprocess.run(
            [sys.executable, "-m", "ops", "parity", *arguments],
            cwd=ROOT,
            env=self.plane.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (0, 1), done.stdout + done.stderr
        return done.returncode, done.stdout

    def report(self, *arguments: str) -> Any:
        """The same as JSON, with its exit status."""
        status, out = self.parity("--json", "--repeats", "1", *arguments)
        return {**json.loads(out), "status": status}

    @property
    def image(self) -> str:
        """The deployed image in ECR, by tag."""
        return self.walk.deployed.outputs["ImageUri"]

    def derived(self, folder: Path, name: str, dockerfile: str) -> str:
        """The URI of an image that is built on the deployed one and pushed beside it."""
        repository = self.plane.registry + "/" + self.image.partition("/")[2].partition(":")[0]
        tag = self.image.rpartition(":")[2]
        (folder / "Dockerfile").write_text(f"FROM {repository}:{tag}\n{dockerfile}\n")
        # Docker's own manifests, which Lambda takes and SageMaker would.
        subprocess.run(
            ["docker", "build", "--quiet", "--tag", f"{repository}:{name}", str(folder)],
            check=True,
            capture_output=True,
            env={**self.plane.environment(), "DOCKER_BUILDKIT": "0"},
        )
        docker("push", "--quiet", f"{repository}:{name}")
        return f"{self.image.rpartition(':')[0]}:{name}"

    @contextmanager
    def planted(self, image: str, environment: Mapping[str, str]) -> Iterator[None]:
        """A function of that image and of what the deployed one is told, but for `environment`."""
        client = self.plane.client("cloudformation")
        lambdas = self.plane.client("lambda")
        about = lambdas.get_function(FunctionName=self.walk.deployed.alias)["Configuration"]
        told = {**about["Environment"]["Variables"], **environment}
        template = json.dumps({"Resources": _resources(image, told)})
        client.create_stack(
            StackName=PLANTED, TemplateBody=template, Capabilities=["CAPABILITY_IAM"]
        )
        try:
            client.get_waiter("stack_create_complete").wait(
                StackName=PLANTED, WaiterConfig={"Delay": 1, "MaxAttempts": 120}
            )
            yield
        finally:
            client.delete_stack(StackName=PLANTED)
            client.get_waiter("stack_delete_complete").wait(
                StackName=PLANTED, WaiterConfig={"Delay": 1, "MaxAttempts": 120}
            )


def _resources(image: str, environment: Mapping[str, str]) -> dict[str, Any]:
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": "lambda.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    reads = {
        "Effect": "Allow",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{BUCKET}/*",
    }
    policy = {"PolicyName": "reads", "PolicyDocument": {"Statement": [reads]}}
    role = {"AssumeRolePolicyDocument": {"Statement": [trust]}, "Policies": [policy]}
    function = {
        "FunctionName": FUNCTION,
        "PackageType": "Image",
        "Code": {"ImageUri": image},
        "Role": {"Fn::GetAtt": ["Role", "Arn"]},
        "Environment": {"Variables": dict(environment)},
        "MemorySize": 1769,
        "Timeout": 60,
    }
    return {
        "Role": {"Type": "AWS::IAM::Role", "Properties": role},
        "Function": {"Type": "AWS::Lambda::Function", "Properties": function},
    }


@dataclass
class Plant:
    """What the planted function runs, and which skews are to be found."""

    skews: list[str]
    says: str
    image: str = ""
    """The deployed one where it is empty."""
    environment: dict[str, str] = field(default_factory=dict)


def other_image(stack: Stack, folder: Path) -> Plant:
    return Plant(["image"], "sha256:", stack.derived(folder, "label", "LABEL planted=yes"))


def other_artifact(stack: Stack, folder: Path) -> Plant:
    source = ROOT / "build" / "artifacts" / "efficientnet_lite0"
    archive, identifier = model_data.make(source, folder)
    s3 = stack.plane.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="model.tar.gz", Body=archive.read_bytes())
    environment = {"MODEL_DATA_URL": f"s3://{BUCKET}/model.tar.gz", "MODEL_ID": identifier}
    return Plant(
        ["model", "settings", "answers"],
        "Cause: the model and the settings",
        environment=environment,
    )


def changed_constant(stack: Stack, folder: Path) -> Plant:
    text = (ROOT / "container" / "serving" / "images.py").read_text()
    assert text.count("np.float32(255)") == 1
    (folder / "images.py").write_text(text.replace("np.float32(255)", "np.float32(256)"))
    copied = "COPY images.py /opt/program/serving/\nRUN rm -rf /opt/program/serving/__pycache__"
    return Plant(
        ["image", "answers"],
        "Cause: the image, in its code or libraries: the model is the same",
        stack.derived(folder, "constant", copied),
    )


def older_setting(_stack: Stack, _folder: Path) -> Plant:
    says = "URI_ALLOWLIST: 'example.com' on Lambda, '*' on SageMaker"
    return Plant(["settings"], says, environment={"URI_ALLOWLIST": "example.com"})


def perturbed_weight(stack: Stack, folder: Path) -> Plant:
    """The last tensor, by a thousandth of each weight; in the image, with its manifest in order."""
    source = ROOT / "build" / "artifacts" / "efficientnet_lite0"
    copy = folder / "artifact"
    shutil.copytree(source, copy)
    weights = np.fromfile(copy / "model.onnx.data", np.float32)
    weights[-2000:] *= np.float32(1.001)
    weights.tofile(copy / "model.onnx.data")
    manifest.write(copy, manifest.read(source))
    image = stack.derived(folder, "weight", "COPY artifact /opt/artifacts/efficientnet_lite0")
    return Plant(["image", "model", "answers"], "Cause: the image and the model", image)


PLANTS: tuple[Callable[[Stack, Path], Plant], ...] = (
    other_image,
    other_artifact,
    changed_constant,
    older_setting,
    perturbed_weight,
)


def test_parity(plane: Cloud, tmp_path: Path) -> None:
    print()
    walk = Walk(plane, tmp_path)
    stack = Stack(walk, plane)
    walk.deploy(CONTEXT)
    try:
        both_are_the_same(stack)
        for plant in PLANTS:
            folder = tmp_path / plant.__name__
            folder.mkdir()
            is_found(stack, plant(stack, folder), plant.__name__)
    finally:
        walk.destroy(CONTEXT)
    s3 = plane.client("s3")
    s3.delete_object(Bucket=BUCKET, Key="model.tar.gz")
    s3.delete_bucket(Bucket=BUCKET)


def both_are_the_same(stack: Stack) -> None:
    status, out = stack.parity("--function")
    assert (status, out.splitlines()[-1]) == (0, "The same: 16 inputs, Lambda and SageMaker.")
    assert checks(out) == checks(readme_block())
    print(out)
    report = stack.report("--function")
    assert (report["status"], report["same"]) == (0, True), report["checks"]
    assert all(d["identical"] for told in report["inputs"] for d in told["differences"])
    # As Docker says of the containers.
    [running] = stack.plane.running_digests()
    assert [target["digests"] for target in report["targets"]] == [[running], [running]]
    assert len({target["model"] for target in report["targets"]}) == 1
    assert {check["check"]: check["state"] for check in report["checks"]} == {
        "image": "ok",
        "model": "ok",
        "settings": "ok",
        "answers": "ok",
        "registry": "ok",
        "endpoint config": "ok",
    }
    stack.walk.done("mode=both: parity", running)


def readme_block() -> str:
    """What README says that this command prints."""
    text = (ROOT / "README.md").read_text()
    return text.partition("$ python -m ops parity --function\n")[2].partition("```")[0]


def checks(out: str) -> list[str]:
    """The list of what was compared, without digests."""
    lines = [line for line in out.splitlines() if line.startswith("- ")]
    return [re.sub(r"\b[0-9a-f]{8,}\b", "…", line) for line in lines]


def is_found(stack: Stack, plant: Plant, name: str) -> None:
    with stack.planted(plant.image or stack.image, plant.environment):
        report = stack.report("--function", FUNCTION, "--inputs", str(PHOTOS))
    assert report["status"] == 1
    assert report["skews"] == plant.skews, report["checks"]
    assert plant.says in " ".join(check["says"] for check in report["checks"])
    stack.walk.done(f"{name.replace('_', ' ')}: {', '.join(report['skews'])}", "")

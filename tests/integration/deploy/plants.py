"""Plant five skews: a function runs something other than what the stack deployed."""

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from integration.deploy.cloud import Cloud
from integration.deploy.model_data import upload
from ops.local_servers import ROOT
from serving.artifact import manifest
from support.docker import docker

ARTIFACT = ROOT / "build" / "artifacts" / "efficientnet_lite0"


@dataclass(frozen=True)
class Base:
    """The deployed image, in ECR by its tag."""

    plane: Cloud
    image: str

    def derived(self, folder: Path, name: str, dockerfile: str) -> str:
        """Build an image on the deployed one, push it beside it, and return its URI."""
        repository = self.plane.registry + "/" + self.image.partition("/")[2].partition(":")[0]
        tag = self.image.rpartition(":")[2]
        (folder / "Dockerfile").write_text(f"FROM {repository}:{tag}\n{dockerfile}\n")
        command = ["docker", "build", "--quiet", "--tag", f"{repository}:{name}", str(folder)]
        # Without BuildKit, Docker writes its own manifests, which Lambda and SageMaker accept.
        environment = {**self.plane.environment(), "DOCKER_BUILDKIT": "0"}
        subprocess.run(command, check=True, capture_output=True, env=environment)
        docker("push", "--quiet", f"{repository}:{name}")
        return f"{self.image.rpartition(':')[0]}:{name}"


class Plant(NamedTuple):
    """What the planted function runs, and the skews that must be found."""

    skews: list[str]
    says: str
    image: str
    environment: Mapping[str, str] = MappingProxyType({})


def other_image(base: Base, folder: Path) -> Plant:
    return Plant(["image"], "sha256:", base.derived(folder, "label", "LABEL planted=yes"))


def other_artifact(base: Base, folder: Path) -> Plant:
    told = upload(base.plane, ARTIFACT, folder)
    environment = {"MODEL_DATA_URL": told["model_data"], "MODEL_ID": told["model_id"]}
    says = "Cause: the model and the settings"
    return Plant(["model", "settings", "answers"], says, base.image, environment)


def changed_constant(base: Base, folder: Path) -> Plant:
    text = (ROOT / "container" / "serving" / "model" / "images.py").read_text()
    assert text.count("np.float32(255)") == 1
    (folder / "images.py").write_text(text.replace("np.float32(255)", "np.float32(256)"))
    place = "/opt/program/serving/model"
    copied = f"COPY images.py {place}/\nRUN rm -rf {place}/__pycache__"
    says = "Cause: the image, in its code or libraries: the model is the same"
    return Plant(["image", "answers"], says, base.derived(folder, "constant", copied))


def older_setting(base: Base, _folder: Path) -> Plant:
    says = "URI_ALLOWLIST: 'example.com' on Lambda, '*' on SageMaker"
    return Plant(["settings"], says, base.image, {"URI_ALLOWLIST": "example.com"})


def perturbed_weight(base: Base, folder: Path) -> Plant:
    """Change each weight of the last tensor by a thousandth, with a valid manifest."""
    copy = shutil.copytree(ARTIFACT, folder / "artifact")
    weights = np.fromfile(copy / "model.onnx.data", np.float32)
    weights[-2000:] *= np.float32(1.001)
    weights.tofile(copy / "model.onnx.data")
    manifest.write(copy, manifest.read(ARTIFACT))
    image = base.derived(folder, "weight", "COPY artifact /opt/artifacts/efficientnet_lite0")
    return Plant(["image", "model", "answers"], "Cause: the image and the model", image)


PLANTS = (other_image, other_artifact, changed_constant, older_setting, perturbed_weight)

"""The stack builds one image, which is the same in every target and mode."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from infra.config.context import ConfigError
from infra.image.asset import DOCKER_MANIFEST
from ops.local_servers import ROOT
from support.programs import run
from support.templates import canonical

CONTAINER = ROOT / "container"


def test_one_image_is_built_for_every_mode(every: Any, both: Any) -> None:
    assert every.images.keys() == both.images.keys()
    (image,) = every.images.values()
    assert image["source"]["platform"] == "linux/amd64"
    assert image["source"]["dockerOutputs"] == [DOCKER_MANIFEST]


def test_one_architecture_is_that_of_all_that_the_stack_runs(synthesize: Any) -> None:
    stack = synthesize(mode="both", architecture="arm64", build_args="AWS_SERVICES=s3")
    (image,) = stack.images.values()
    assert image["source"]["platform"] == "linux/arm64"
    given = {"WITH_MXNET": "0", "AWS_SERVICES": "s3"}
    assert image["source"]["dockerBuildArgs"] == {**given, "MODEL_NAME": "efficientnet_lite0"}
    for of_examiner in (False, True):
        (function,) = stack.resources("AWS::Lambda::Function", of_examiner=of_examiner).values()
        assert function["Properties"]["Architectures"] == ["arm64"]
    _, config = stack.only("AWS::SageMaker::EndpointConfig")
    assert config["ProductionVariants"][0]["InstanceType"] == "ml.c7g.large"
    assert json.loads(stack.outputs["ContextKeys"]["Value"])["architecture"] == "arm64"


@pytest.mark.parametrize(
    ("machine", "with_mxnet", "status"),
    [("x86_64", "1", 0), ("x86_64", "0", 0), ("aarch64", "0", 0), ("aarch64", "1", 1)],
)
def test_the_dockerfile_builds_on_both_machines_and_refuses_mxnet_on_arm(
    tmp_path: Path, machine: str, with_mxnet: str, status: int
) -> None:
    dockerfile = (CONTAINER / "Dockerfile").read_text()
    # The legacy builder has no TARGETARCH and fails if a stage is missing.
    assert "\nFROM exporter-${TARGETARCH:-amd64} AS artifact\n" in dockerfile
    for name in ("amd64", "arm64"):
        assert re.search(rf"^FROM \S.* AS exporter-{name}$", dockerfile, re.MULTILINE)
    (tmp_path / "uname").write_text(f"#!/bin/sh\necho {machine}\n")
    (tmp_path / "uname").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "WITH_MXNET": with_mxnet}

    def runs(pattern: str) -> Any:
        found = re.search(pattern, dockerfile, re.MULTILINE | re.DOTALL)
        assert found
        return run(["sh", "-c", found[1]], env=environment, cwd=tmp_path)

    checked = runs(r"^RUN (.*?exit 1; })$")
    assert (checked.returncode, len(checked.stderr.splitlines())) == (status, status)
    assert "--build-arg WITH_MXNET=0" in checked.stderr or not status
    # OpenCV's wheel for Arm has no libquadmath; on x86-64, the build fails without it.
    (tmp_path / "libgfortran-1.so").touch()
    assert (runs(r"&& (rm libgfortran-\* .*?)$").returncode == 0) == (machine == "aarch64")


@pytest.mark.parametrize(
    ("name", "keys"),
    [("efficientnet_lite0", {}), ("iris", {"model_folder": str(ROOT / "examples" / "iris")})],
)
def test_both_targets_run_one_image(
    synthesize: Any, both: Any, name: str, keys: dict[str, str]
) -> None:
    stack = synthesize(mode="both", **keys, **{"aws:cdk:enable-asset-metadata": True})
    ((tag, image),) = stack.images.items()
    assert (tag in both.images) == (not keys)
    assert image["source"]["dockerBuildArgs"] == {"MODEL_NAME": name}
    on_lambda = canonical(stack.only("AWS::Lambda::Function")[1]["Code"]["ImageUri"])
    on_sagemaker = canonical(stack.only("AWS::SageMaker::Model")[1]["PrimaryContainer"]["Image"])
    assert on_lambda == on_sagemaker == canonical(stack.outputs["ImageUri"]["Value"])
    assert re.fullmatch(rf".+\.dkr\.ecr\..+/.+:{tag}", on_lambda)
    for function in stack.resources("AWS::Lambda::Function").values():  # for AWS SAM CLI
        assert function["Metadata"]["aws:asset:path"] == f"asset.{tag}"
        assert function["Metadata"]["aws:asset:property"] == "Code.ImageUri"
    for environment in stack.environments().values():
        assert environment["MODEL_NAME"] == name
        assert environment["IMAGE_ID"] == tag


def test_rebuild_builds_another_image_without_cache(synthesize: Any, both: Any) -> None:
    images = [both.images, *(synthesize(mode="both", rebuild=day).images for day in ("a", "b"))]
    assert len({name for found in images for name in found}) == 3
    (image,) = images[2].values()
    assert image["source"]["dockerBuildArgs"]["REBUILD"] == "b"
    # The argument is before the first step that could install another version later.
    base = (ROOT / "container" / "Dockerfile").read_text().partition("\nRUN apt-get update")
    assert "\nARG REBUILD" in base[0]
    assert "apt-get upgrade" in base[2].partition("\n")[0]
    assert base[0].count("\nRUN ") == 1  # it refuses MXNet on Arm


def test_what_a_test_run_leaves_behind_is_no_new_image(
    synthesize_anew: Any, both: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(CONTAINER, tmp_path / "container", dirs_exist_ok=True)
    (copy / "serving" / "__pycache__").mkdir(exist_ok=True)
    (copy / "serving" / "__pycache__" / "left.cpython-311.pyc").touch()
    (copy / "serving" / ".ipynb_checkpoints").mkdir()
    (copy / "serving" / ".ipynb_checkpoints" / "inference-checkpoint.py").touch()
    (copy / "model" / "._requirements.txt").touch()  # macOS creates such files
    monkeypatch.setattr("infra.image.asset.CONTAINER", copy)
    assert synthesize_anew(mode="both").images.keys() == both.images.keys()
    (copy / "serving" / "new.py").touch()
    assert synthesize_anew(mode="both").images.keys() != both.images.keys()


def test_the_legacy_builder_makes_the_same_image_but_not_for_arm(
    synthesize_anew: Any, both: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_BUILDKIT", "0")
    legacy = synthesize_anew(mode="both")
    assert legacy.images.keys() == both.images.keys()
    assert "dockerOutputs" not in next(iter(legacy.images.values()))["source"]
    with pytest.raises(ConfigError, match=r"^architecture='arm64': it needs BuildKit, [^\n]*$"):
        synthesize_anew(mode="both", architecture="arm64")


def test_the_dockerfile_takes_what_the_build_is_given(synthesize: Any, both: Any) -> None:
    given = {
        "AWS_SERVICES": "s3 sts",
        "BASE_IMAGE": "mirror.example/python:3.11",
        "EXPORTER_IMAGE": "mirror.example/python-amd64:3.11",
        "MXNET_GLUON_REPO": "https://mirror.example/zoo/",
        "PIP_INDEX_URL": "https://mirror.example/simple",
        "WITH_MXNET": "0",
    }
    other = synthesize(mode="both", build_args=",".join("=".join(item) for item in given.items()))
    ((tag, image),) = other.images.items()
    assert tag not in both.images
    assert image["source"]["dockerBuildArgs"] == {**given, "MODEL_NAME": "efficientnet_lite0"}
    # A stage gets only the arguments that it declares.
    stages = (CONTAINER / "Dockerfile").read_text().split("\nFROM ")
    for argument in image["source"]["dockerBuildArgs"]:
        assert any(re.search(rf"^ARG {argument}\b", stage, re.MULTILINE) for stage in stages)
    for stage in stages:
        assert ("ARG PIP_INDEX_URL" in stage) == bool(re.search("/pip |install_emulator", stage))


def test_windows_checkouts_and_carriage_returns(tmp_path: Path) -> None:
    """With carriage returns, `exec entry.sh` finds no interpreter `sh\\r`."""
    shutil.copy(ROOT / ".gitattributes", tmp_path)
    assert run(["git", "init", tmp_path]).returncode == 0
    said = run(["git", "check-attr", "eol", "entry.sh"], cwd=tmp_path).stdout
    assert said == "entry.sh: eol: lf\n"

    dockerfile = (CONTAINER / "Dockerfile").read_text()
    found = re.search(r"^RUN (! grep .*?exit 1; })$", dockerfile, re.MULTILINE | re.DOTALL)
    assert found
    check = found[1].replace("/opt/program", str(tmp_path))
    entry = (CONTAINER / "entry.sh").read_bytes()
    for content, status in ((entry, 0), (entry.replace(b"\n", b"\r\n"), 1)):
        (tmp_path / "entry.sh").write_bytes(content)
        done = run(["sh", "-c", check])
        assert (done.returncode, len(done.stderr.splitlines())) == (status, status), done.stderr
    assert done.stderr.startswith("error: entry.sh has carriage returns; run: git config ")

"""One image: built once, the same in every target and in every mode."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from infra.image import DOCKER_MANIFEST
from ops.faces import ROOT
from templates import canonical

CONTAINER = ROOT / "container"


def test_canonical() -> None:
    join = {"Fn::Join": ["", [{"Ref": "AWS::Region"}, ".", {"Fn::Sub": "x-${AWS::Region}"}]]}
    assert canonical(join) == canonical({"Fn::Sub": "${AWS::Region}.x-${AWS::Region}"})


def test_one_image_is_built_for_every_target(every: Any) -> None:
    ((tag, image),) = every.images.items()
    assert image["source"]["platform"] == "linux/amd64"
    assert image["source"]["dockerBuildArgs"] == {"MODEL_NAME": "efficientnet_lite0"}
    assert image["source"]["dockerOutputs"] == [DOCKER_MANIFEST]
    assert canonical(every.outputs["ImageUri"]["Value"]).endswith(f":{tag}")


def test_both_targets_run_the_same_reference(both: Any) -> None:
    on_lambda = canonical(both.only("AWS::Lambda::Function")[1]["Code"]["ImageUri"])
    on_sagemaker = canonical(both.only("AWS::SageMaker::Model")[1]["PrimaryContainer"]["Image"])
    assert on_lambda == on_sagemaker == canonical(both.outputs["ImageUri"]["Value"])
    assert re.fullmatch(r".+\.dkr\.ecr\..+/.+:[0-9a-f]{64}", on_lambda)


def test_no_key_but_the_models_name_makes_another_image(every: Any, both: Any) -> None:
    assert every.images.keys() == both.images.keys()


def test_another_model_is_another_image(synthesize: Any, both: Any) -> None:
    other = synthesize(mode="both", model_name="mobilenetv3_large")
    ((tag, image),) = other.images.items()
    assert tag not in both.images
    assert image["source"]["dockerBuildArgs"] == {"MODEL_NAME": "mobilenetv3_large"}
    for environment in other.environments().values():
        assert environment["MODEL_NAME"] == "mobilenetv3_large"
        assert environment["IMAGE_ID"] == tag


def test_what_a_test_run_leaves_behind_is_no_new_image(
    synthesize_anew: Any, both: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(CONTAINER, tmp_path / "container", dirs_exist_ok=True)
    (copy / "serving" / "__pycache__").mkdir(exist_ok=True)
    (copy / "serving" / "__pycache__" / "left.cpython-311.pyc").touch()
    monkeypatch.setattr("infra.image.CONTAINER", copy)
    assert synthesize_anew(mode="both").images.keys() == both.images.keys()
    (copy / "serving" / "new.py").touch()
    assert synthesize_anew(mode="both").images.keys() != both.images.keys()


def test_the_legacy_builder_is_given_no_output_and_makes_the_same_image(
    synthesize_anew: Any, both: Any
) -> None:
    legacy = synthesize_anew({"DOCKER_BUILDKIT": "0"}, mode="both")
    assert legacy.images.keys() == both.images.keys()
    assert "dockerOutputs" not in next(iter(legacy.images.values()))["source"]


def test_the_dockerfile_takes_what_the_build_is_given(both: Any) -> None:
    ((_, image),) = both.images.items()
    dockerfile = (CONTAINER / "Dockerfile").read_text()
    for argument in image["source"]["dockerBuildArgs"]:
        assert re.search(rf"^ARG {argument}\b", dockerfile, re.MULTILINE)

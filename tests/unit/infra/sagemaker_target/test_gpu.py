"""With instance_type=ml.g…, the image has CUDA and the instance has a driver for it."""

from typing import Any

import pytest

CONFIG = "AWS::SageMaker::EndpointConfig"
NVIDIA = ("NVIDIA_DRIVER_CAPABILITIES", "NVIDIA_VISIBLE_DEVICES")


def build_arguments(stack: Any) -> dict[str, str]:
    (image,) = stack.images.values()
    arguments: dict[str, str] = image["source"]["dockerBuildArgs"]
    return arguments


@pytest.mark.parametrize("kind", ["realtime", "async"])
def test_a_gpu_has_cuda_and_a_driver(synthesize: Any, kind: str) -> None:
    stack = synthesize(mode="both", sagemaker_type=kind, instance_type="ml.g4dn.xlarge")
    assert build_arguments(stack)["WITH_CUDA"] == "1"
    (variant,) = stack.only(CONFIG)[1]["ProductionVariants"]
    # With driver 580: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProductionVariant.html
    assert variant["InferenceAmiVersion"] == "al2023-ami-sagemaker-inference-gpu-4-1"
    environments = stack.environments()
    assert [n for n in environments["AWS::SageMaker::Model"] if n in NVIDIA]
    # The function runs the same image without a GPU.
    assert len(stack.images) == 1
    assert not [n for n in environments["AWS::Lambda::Function"] if n in NVIDIA]


@pytest.mark.parametrize(
    "keys",
    [
        {"mode": "both"},
        {"mode": "lambda", "instance_type": "ml.g5.xlarge"},
        {"mode": "both", "sagemaker_type": "serverless", "instance_type": "ml.g5.xlarge"},
    ],
)
def test_without_a_gpu_there_is_no_cuda(synthesize: Any, keys: dict[str, str]) -> None:
    stack = synthesize(**keys)
    assert "WITH_CUDA" not in build_arguments(stack)
    for config in stack.resources(CONFIG).values():
        (variant,) = config["Properties"]["ProductionVariants"]
        assert "InferenceAmiVersion" not in variant
    assert not [n for e in stack.environments().values() for n in e if n in NVIDIA]

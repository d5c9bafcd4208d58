"""With instance_type=ml.g…, the image has CUDA and the instance has a driver for it."""

from typing import Any

import pytest

CONFIG = "AWS::SageMaker::EndpointConfig"
NVIDIA = ("NVIDIA_DRIVER_CAPABILITIES", "NVIDIA_VISIBLE_DEVICES")


def test_a_gpu_has_cuda_and_a_driver(synthesize: Any) -> None:
    stack = synthesize(mode="both", instance_type="ml.g4dn.xlarge")
    (image,) = stack.images.values()  # the function runs the same image without a GPU
    assert image["source"]["dockerBuildArgs"]["WITH_CUDA"] == "1"
    (variant,) = stack.only(CONFIG)[1]["ProductionVariants"]
    # With driver 580: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProductionVariant.html
    assert variant["InferenceAmiVersion"] == "al2023-ami-sagemaker-inference-gpu-4-1"
    environments = stack.environments()
    assert [n for n in environments["AWS::SageMaker::Model"] if n in NVIDIA]
    assert not [n for n in environments["AWS::Lambda::Function"] if n in NVIDIA]


@pytest.mark.parametrize(
    "keys",
    [
        {"mode": "lambda", "instance_type": "ml.g5.xlarge"},
        {"mode": "both", "sagemaker_type": "serverless", "instance_type": "ml.g5.xlarge"},
    ],
)
def test_without_a_gpu_there_is_no_cuda(synthesize: Any, keys: dict[str, str]) -> None:
    stack = synthesize(**keys)
    assert "WITH_CUDA" not in str(stack.images)
    assert "InferenceAmiVersion" not in str(stack.template)
    assert not [n for e in stack.environments().values() for n in e if n in NVIDIA]

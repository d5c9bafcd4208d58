"""The model, the endpoint config and the endpoint of each type."""

import re
from typing import Any

import pytest

from infra.sagemaker_target.target import endpoint_name
from support.templates import GROUPS, MODEL_DATA, MODEL_ID, SUBNETS, canonical

MODEL, CONFIG, ENDPOINT = (
    f"AWS::SageMaker::{kind}" for kind in ("Model", "EndpointConfig", "Endpoint")
)
INSTANCE_FIELDS = {
    "InstanceType",
    "InitialInstanceCount",
    "RoutingConfig",
    "ContainerStartupHealthCheckTimeoutInSeconds",
    "ModelDataDownloadTimeoutInSeconds",
}


def variant(stack: Any) -> dict[str, Any]:
    (only,) = stack.only(CONFIG)[1]["ProductionVariants"]
    return dict(only)


def test_the_endpoint(both: Any) -> None:
    model_id, model = both.only(MODEL)
    config_id, config = both.only(CONFIG)
    endpoint_id, endpoint = both.only(ENDPOINT)
    assert canonical(variant(both)["ModelName"]) == f"${{{model_id}.ModelName}}"
    assert variant(both)["InstanceType"] == "ml.m5.large"
    assert variant(both)["InitialInstanceCount"] == 1
    # This deadline does not include the pull of the image.
    assert variant(both)["ContainerStartupHealthCheckTimeoutInSeconds"] >= 60
    assert variant(both)["RoutingConfig"] == {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"}
    assert "ModelDataDownloadTimeoutInSeconds" not in variant(both)
    assert not config.keys() & {"AsyncInferenceConfig", "DataCaptureConfig"}
    assert model["EnableNetworkIsolation"] is False
    assert "VpcConfig" not in model
    assert canonical(endpoint["EndpointConfigName"]) == f"${{{config_id}.EndpointConfigName}}"
    assert canonical(both.outputs["EndpointName"]["Value"]) == f"${{{endpoint_id}.EndpointName}}"
    assert "AWS::Logs::LogGroup" in both.waits_for(endpoint_id)  # before it writes


def test_the_model_joins_the_vpc_and_has_time_to_be_downloaded(configured: Any) -> None:
    stack = configured("everything")
    vpc = {"Subnets": SUBNETS.split(","), "SecurityGroupIds": GROUPS.split(",")}
    assert stack.only(MODEL)[1]["VpcConfig"] == vpc
    assert variant(stack)["ModelDataDownloadTimeoutInSeconds"] >= 60


def test_a_serverless_endpoint_has_no_instances(synthesize: Any) -> None:
    keys = {"serverless_memory_mb": "6144", "serverless_max_concurrency": "50"}
    model = {"model_data": MODEL_DATA, "model_id": MODEL_ID}
    larger = synthesize(mode="sagemaker", sagemaker_type="serverless", **keys, **model)
    assert variant(larger)["ServerlessConfig"] == {"MemorySizeInMB": 6144, "MaxConcurrency": 50}
    assert not variant(larger).keys() & INSTANCE_FIELDS
    assert larger.only(MODEL)[1]["PrimaryContainer"]["ModelDataUrl"] == MODEL_DATA


def test_a_replaced_endpoint_has_another_name(synthesize: Any, both: Any, configured: Any) -> None:
    larger = synthesize(mode="both", instance_type="ml.m5.xlarge")
    assert variant(larger)["InstanceType"] == "ml.m5.xlarge"
    stacks = (both, larger, configured("serverless"), configured("async"))
    names = {stack.only(ENDPOINT)[1]["EndpointName"] for stack in stacks}
    assert len(names) == len(stacks)
    assert all(name.startswith("dualinferencestack-") for name in names)


@pytest.mark.parametrize("stack_name", ["a", "a-", "A" * 53 + "--b", "Cats-" * 25])
def test_the_endpoints_name_is_one_that_sagemaker_takes(stack_name: str) -> None:
    name = endpoint_name(stack_name, "realtime", "ml.m5.large")
    # SageMaker writes ARNs in lower case, and IAM is case-sensitive.
    assert re.fullmatch("[a-z0-9](-*[a-z0-9]){0,62}", name)
    for other in (f"{stack_name}x", stack_name.upper() + "A"):
        assert name != endpoint_name(other, "realtime", "ml.m5.large")

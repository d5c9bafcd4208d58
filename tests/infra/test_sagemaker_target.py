"""The model, the endpoint config and the endpoint, of each type."""

import re
from typing import Any

import pytest

from infra.sagemaker_target import endpoint_name
from templates import GROUPS, SUBNETS, canonical

MODEL, CONFIG, ENDPOINT = (
    f"AWS::SageMaker::{kind}" for kind in ("Model", "EndpointConfig", "Endpoint")
)
INSTANCE_FIELDS = {
    "InstanceType",
    "InitialInstanceCount",
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
    # The container's own deadline; its registry pull is not in it.
    assert variant(both)["ContainerStartupHealthCheckTimeoutInSeconds"] >= 60
    assert "ModelDataDownloadTimeoutInSeconds" not in variant(both)
    assert not config.keys() & {"AsyncInferenceConfig", "DataCaptureConfig"}
    assert model["EnableNetworkIsolation"] is False
    assert "VpcConfig" not in model
    assert canonical(endpoint["EndpointConfigName"]) == f"${{{config_id}.EndpointConfigName}}"
    assert canonical(both.outputs["EndpointName"]["Value"]) == f"${{{endpoint_id}.EndpointName}}"


def test_the_log_group_is_there_before_the_endpoint_writes(both: Any) -> None:
    endpoint, _ = both.only(ENDPOINT)
    assert "AWS::Logs::LogGroup" in both.waits_for(endpoint)


def test_the_model_joins_the_vpc_and_has_time_to_be_downloaded(configured: Any) -> None:
    stack = configured("everything")
    assert stack.only(MODEL)[1]["VpcConfig"] == {
        "Subnets": SUBNETS.split(","),
        "SecurityGroupIds": GROUPS.split(","),
    }
    assert variant(stack)["ModelDataDownloadTimeoutInSeconds"] >= 60


@pytest.mark.parametrize(("fewest", "started"), [("1", 1), ("3", 3)])
def test_as_many_instances_start_as_there_are_at_least(
    synthesize: Any, fewest: str, started: int
) -> None:
    stack = synthesize(mode="sagemaker", min_instances=fewest, max_instances="4")
    assert variant(stack)["InitialInstanceCount"] == started


def test_a_serverless_endpoint_has_no_instances(configured: Any, synthesize: Any) -> None:
    stack = configured("serverless")
    assert variant(stack)["ServerlessConfig"] == {"MemorySizeInMB": 3072, "MaxConcurrency": 10}
    assert not variant(stack).keys() & INSTANCE_FIELDS
    larger = synthesize(
        mode="sagemaker",
        sagemaker_type="serverless",
        serverless_memory_mb="6144",
        serverless_max_concurrency="50",
    )
    assert variant(larger)["ServerlessConfig"] == {"MemorySizeInMB": 6144, "MaxConcurrency": 50}


def test_a_serverless_endpoint_can_serve_model_data(synthesize: Any) -> None:
    stack = synthesize(
        mode="sagemaker",
        sagemaker_type="serverless",
        model_data="s3://models-of-ours/cats.tar.gz",
        model_id="0" * 64,
    )
    assert not variant(stack).keys() & INSTANCE_FIELDS
    container = stack.only(MODEL)[1]["PrimaryContainer"]
    assert container["ModelDataUrl"] == "s3://models-of-ours/cats.tar.gz"


def name(stack: Any) -> str:
    return str(stack.only(ENDPOINT)[1]["EndpointName"])


def test_the_endpoints_name_changes_with_what_cannot_change_in_place(
    synthesize: Any, both: Any, configured: Any
) -> None:
    larger = synthesize(mode="both", instance_type="ml.m5.xlarge", lambda_memory_mb="2048")
    assert variant(larger)["InstanceType"] == "ml.m5.xlarge"
    names = [name(stack) for stack in (both, larger, configured("serverless"), configured("async"))]
    assert len({*names}) == 4
    assert all(name.startswith("DualInferenceStack-") for name in names)
    other = synthesize(mode="sagemaker", stack_name="cats")
    assert name(other).startswith("cats-")


@pytest.mark.parametrize(
    "keys",
    [
        {"lambda_memory_mb": "2048", "model_name": "mobilenetv3_large"},
        {"model_data": "s3://models-of-ours/cats.tar.gz", "model_id": "0" * 64},
        {"min_instances": "3", "max_instances": "3"},
        {"data_capture_percent": "50"},
        {"network_isolation": "true"},
        {"subnet_ids": SUBNETS, "security_group_ids": GROUPS},
    ],
    ids=lambda keys: next(iter(keys)),
)
def test_the_endpoint_is_updated_in_place_otherwise(
    synthesize: Any, both: Any, keys: dict[str, str]
) -> None:
    assert name(synthesize(mode="sagemaker", **keys)) == name(both)


def test_a_serverless_endpoint_does_not_mind_the_instance_type(
    synthesize: Any, configured: Any
) -> None:
    keys = {"sagemaker_type": "serverless", "instance_type": "ml.m5.xlarge"}
    assert name(synthesize(mode="both", **keys)) == name(configured("serverless"))


@pytest.mark.parametrize("stack_name", ["a", "a-", "a" * 53 + "--b", "a" * 128])
def test_the_endpoints_name_is_one_that_sagemaker_takes(stack_name: str) -> None:
    name = endpoint_name(stack_name, "realtime", "ml.m5.large")
    assert re.fullmatch("[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", name)
    assert name != endpoint_name(f"{stack_name}x", "realtime", "ml.m5.large")

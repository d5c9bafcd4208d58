"""How the targets of a deployed stack are set up. Only read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import AWS_ERRORS, Aws, code_of, explain
from ops.cost.arithmetic import LAMBDA_MB_PER_VCPU
from ops.cost.found import FindingError
from ops.targets import ASYNC_OUTPUT, OUTPUTS

ALIAS = "live"


@dataclass(frozen=True)
class Setup:
    """How a stack's targets are set up; None for what it has not."""

    function: str | None = None
    lambda_memory_mb: int = LAMBDA_MB_PER_VCPU
    executions: int | None = None
    endpoint: str | None = None
    instance_type: str | None = None
    serverless_memory_mb: int | None = None
    is_async: bool = False


def read_setup(aws: Aws, outputs: Mapping[str, str]) -> Setup:
    """Raises CannotAsk, and FindingError where there is no target."""
    endpoint = outputs.get(OUTPUTS["sagemaker"])
    alias = outputs.get("FunctionName")
    if not alias and not endpoint:
        raise FindingError(
            "the stack has neither a function nor an endpoint; --stack names one that this app made"
        )
    values: dict[str, Any] = {"endpoint": endpoint, "is_async": ASYNC_OUTPUT in outputs}
    if alias:
        values["function"] = alias.removesuffix(f":{ALIAS}").rpartition(":")[2]
        values |= _function(aws, alias)
    if endpoint:
        values |= _endpoint(aws, endpoint)
    return Setup(**values)


def _function(aws: Aws, alias: str) -> dict[str, Any]:
    try:
        client = aws.client("lambda")
        found = client.get_function_configuration(FunctionName=alias)
    except AWS_ERRORS as error:
        raise explain(error, "lambda:GetFunctionConfiguration") from error
    name = alias.removesuffix(f":{ALIAS}")
    try:
        kept = client.get_provisioned_concurrency_config(FunctionName=name, Qualifier=ALIAS)
        executions = int(kept["RequestedProvisionedConcurrentExecutions"])
    except AWS_ERRORS as error:
        is_none = isinstance(error, ClientError) and "NotFound" in code_of(error)
        if not is_none:
            raise explain(error, "lambda:GetProvisionedConcurrencyConfig") from error
        executions = 0
    return {"lambda_memory_mb": int(found["MemorySize"]), "executions": executions or None}


def _endpoint(aws: Aws, endpoint: str) -> dict[str, Any]:
    try:
        client = aws.client("sagemaker")
        config = client.describe_endpoint(EndpointName=endpoint)["EndpointConfigName"]
        found = client.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"][0]
    except AWS_ERRORS as error:
        action = "sagemaker:DescribeEndpoint and sagemaker:DescribeEndpointConfig"
        raise explain(error, action) from error
    serverless = found.get("ServerlessConfig") or {}
    return {
        "instance_type": found.get("InstanceType"),
        "serverless_memory_mb": serverless.get("MemorySizeInMB"),
    }

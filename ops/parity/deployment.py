"""Describe deployed targets: image and settings. Refuse targets that are being updated."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import AWS_ERRORS, Aws, CannotAsk, code_of, explain
from ops.cost.targets import architecture_of
from ops.parity.facts import Facts, comparable

_LATER = "try again when it is done"


def function(aws: Aws, name: str, salt: bytes) -> Facts:
    """Describe a function by name or ARN, also of an alias. Raise CannotAsk during an update."""
    facts = Facts("Lambda", f"function {name}")
    try:
        found = aws.client("lambda").get_function(FunctionName=name)
    except AWS_ERRORS as error:
        return _refused(facts, error, "lambda:GetFunction", "ResourceNotFoundException")
    about = found["Configuration"]
    if about.get("State") == "Pending" or about.get("LastUpdateStatus") == "InProgress":
        raise CannotAsk(f"function {name} is being updated", _LATER)
    _check_alias(aws, name)
    digests = _digests(found["Code"].get("ResolvedImageUri", ""))
    settings = comparable(about.get("Environment", {}).get("Variables", {}), salt)
    cpu, memory_mb = "".join(about.get("Architectures", ())), about.get("MemorySize", 0)
    return replace(facts, digests=digests, settings=settings, architecture=cpu, memory_mb=memory_mb)


def endpoint(aws: Aws, name: str, salt: bytes) -> Facts:
    """Describe a real-time or serverless endpoint. Raise CannotAsk if it is not in service."""
    facts = Facts("SageMaker", f"endpoint {name}")
    client = aws.client("sagemaker")
    try:
        found = client.describe_endpoint(EndpointName=name)
    except AWS_ERRORS as error:
        return _refused(facts, error, "sagemaker:DescribeEndpoint", "ValidationException")
    if (status := found["EndpointStatus"]) != "InService":
        reason = found.get("FailureReason", "")
        why = f"endpoint {name} is {status}" + (f": {reason}" if reason else "")
        fix = "its log group says why; then deploy again" if status == "Failed" else _LATER
        raise CannotAsk(why, fix)
    variants = found.get("ProductionVariants", [])
    images = [image for variant in variants for image in variant.get("DeployedImages", [])]
    image = images[0].get("ResolvedImage", "") if images else ""
    facts = replace(facts, digests=_digests(image))
    action = "sagemaker:DescribeEndpointConfig and sagemaker:DescribeModel"
    try:
        config = client.describe_endpoint_config(EndpointConfigName=found["EndpointConfigName"])
        if "AsyncInferenceConfig" in config:
            raise CannotAsk(
                f"endpoint {name} is asynchronous: its answers come late and without a status",
                "compare a real-time or serverless endpoint of the same image",
            )
        environment = _environment(client, config["ProductionVariants"])
    except AWS_ERRORS as error:
        return replace(facts, refused=explain(error, action))
    variant = config["ProductionVariants"][0]
    memory_mb = variant.get("ServerlessConfig", {}).get("MemorySizeInMB", 0)
    instance_type = variant.get("InstanceType", "")
    facts = replace(facts, memory_mb=memory_mb, instance_type=instance_type)
    cpu, settings = architecture_of(instance_type), comparable(environment, salt)
    return replace(facts, architecture=cpu, settings=settings)


def _refused(facts: Facts, error: Exception, action: str, missing: str) -> Facts:
    if isinstance(error, ClientError) and code_of(error) == missing:
        raise explain(error, action) from error
    return replace(facts, refused=explain(error, action))


def _digests(image: str) -> frozenset[str]:
    return frozenset(image.partition("@")[2:]) - {""}


def _check_alias(aws: Aws, name: str) -> None:
    """Raise CannotAsk while an alias divides its calls between two versions."""
    base, _, qualifier = name.rpartition(":")
    if not base or qualifier.isdigit() or qualifier == "$LATEST" or base.endswith(":function"):
        return
    try:
        alias = aws.client("lambda").get_alias(FunctionName=base, Name=qualifier)
    except AWS_ERRORS:
        return  # the identity headers of the answers show it, too
    if alias.get("RoutingConfig", {}).get("AdditionalVersionWeights"):
        raise CannotAsk(f"{name} is being moved to another version", _LATER)


def _environment(client: Any, variants: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the environment of the only model, with its artifact named as on Lambda."""
    names = {variant["ModelName"] for variant in variants if "ModelName" in variant}
    if len(names) != 1:
        raise CannotAsk(f"the endpoint has {len(names)} models", "compare one of a single model")
    model = client.describe_model(ModelName=names.pop())
    container = model.get("PrimaryContainer") or [*model.get("Containers", []), {}][0]
    source = container.get("ModelDataSource", {}).get("S3DataSource", {}).get("S3Uri", "")
    artifact = container.get("ModelDataUrl") or source
    mounted = {"MODEL_DATA_URL": artifact} if artifact else {}
    return {**container.get("Environment", {}), **mounted}

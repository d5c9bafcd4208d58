"""What Lambda, SageMaker and ECR say of what is deployed: image, settings, and whether it rests."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import AWS_ERRORS, Aws, CannotAsk, code_of, explain
from ops.probes import registered

_LATER = "try again when it is done"


@dataclass(frozen=True)
class Described:
    """`image` is `HOST/REPOSITORY@sha256:...`, empty where it is not told."""

    image: str = ""
    environment: Mapping[str, str] | None = None
    untold: CannotAsk | None = None

    @property
    def digests(self) -> frozenset[str]:
        digest = self.image.partition("@")[2]
        return frozenset({digest} if digest else ())


def function(aws: Aws, name: str) -> Described:
    """A function by name or ARN, of an alias too. Raises CannotAsk where it is being updated."""
    try:
        found = aws.client("lambda").get_function(FunctionName=name)
    except AWS_ERRORS as error:
        return _unless_gone(error, "lambda:GetFunction", "ResourceNotFoundException")
    about = found["Configuration"]
    if about.get("State") == "Pending" or about.get("LastUpdateStatus") == "InProgress":
        raise CannotAsk(f"function {name} is being updated", _LATER)
    _check_alias(aws, name)
    environment = about.get("Environment", {})
    return Described(found["Code"].get("ResolvedImageUri", ""), environment.get("Variables", {}))


def endpoint(aws: Aws, name: str) -> Described:
    """A real-time or serverless endpoint. Raises CannotAsk where it is not in service."""
    client = aws.client("sagemaker")
    try:
        found = client.describe_endpoint(EndpointName=name)
    except AWS_ERRORS as error:
        return _unless_gone(error, "sagemaker:DescribeEndpoint", "ValidationException")
    if (status := found["EndpointStatus"]) != "InService":
        reason = found.get("FailureReason", "")
        why = f"endpoint {name} is {status}" + (f": {reason}" if reason else "")
        fix = "its log group says why; then deploy again" if status == "Failed" else _LATER
        raise CannotAsk(why, fix)
    variants = found.get("ProductionVariants", [])
    images = {i["ResolvedImage"] for v in variants for i in v.get("DeployedImages", [])}
    if len(images) > 1:
        raise CannotAsk(f"endpoint {name} runs {len(images)} images at once", _LATER)
    try:
        config = client.describe_endpoint_config(EndpointConfigName=found["EndpointConfigName"])
        if "AsyncInferenceConfig" in config:
            raise CannotAsk(
                f"endpoint {name} is asynchronous: its answers come late and without a status",
                "compare a real-time or serverless endpoint of the same image",
            )
        environment = _environment(client, config["ProductionVariants"])
    except AWS_ERRORS as error:
        action = "sagemaker:DescribeEndpointConfig and sagemaker:DescribeModel"
        return Described("".join(images), untold=explain(error, action))
    return Described("".join(images), environment)


def tagged_digest(aws: Aws, uri: str) -> str | None:
    """The digest that a tag, `HOST/REPOSITORY:TAG`, leads to in ECR. Raises one of AWS_ERRORS."""
    repository, _, tag = uri.partition("/")[2].partition(":")
    image = registered(aws, repository, {"imageTag": tag})
    return str(image["imageId"]["imageDigest"]) if image else None


def media_type(aws: Aws, images: Iterable[str]) -> str | None:
    """The manifest's, of the first that ECR has and tells of; a service of its own may not."""
    for image in images:
        repository, _, digest = image.partition("/")[2].partition("@")
        try:
            if found := registered(aws, repository, {"imageDigest": digest}):
                return str(found["imageManifestMediaType"])
        except AWS_ERRORS:
            pass  # what is compared is the digest, and that is known
    return None


def _check_alias(aws: Aws, name: str) -> None:
    """Raises CannotAsk while an alias shares its calls out between two versions."""
    base, _, qualifier = name.rpartition(":")
    if not base or qualifier.isdigit() or qualifier == "$LATEST" or base.endswith(":function"):
        return
    try:
        alias = aws.client("lambda").get_alias(FunctionName=base, Name=qualifier)
    except AWS_ERRORS:
        return  # the identity of its answers would tell, too
    if alias.get("RoutingConfig", {}).get("AdditionalVersionWeights"):
        raise CannotAsk(f"{name} is being moved to another version", _LATER)


def _environment(client: Any, variants: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """What the one model of the variants is told; its artifact by the name it has on Lambda."""
    names = {variant["ModelName"] for variant in variants if "ModelName" in variant}
    if len(names) != 1:
        raise CannotAsk(f"the endpoint has {len(names)} models", "compare one of a single model")
    model = client.describe_model(ModelName=names.pop())
    container = model.get("PrimaryContainer") or model["Containers"][0]
    source = container.get("ModelDataSource", {}).get("S3DataSource", {}).get("S3Uri", "")
    artifact = container.get("ModelDataUrl") or source
    mounted = {"MODEL_DATA_URL": artifact} if artifact else {}
    return {**container.get("Environment", {}), **mounted}


def _unless_gone(error: Exception, action: str, gone: str) -> Described:
    if isinstance(error, ClientError) and code_of(error) == gone:
        raise explain(error, action) from error
    return Described(untold=explain(error, action))

"""Let the function forward a share of its calls, or all, to the endpoint."""

from aws_cdk.aws_iam import Policy, PolicyStatement
from aws_cdk.aws_lambda import Function
from constructs import Construct

from infra.config.keys import Config
from infra.sagemaker_target.target import SageMakerTarget


def construct_id(endpoint: SageMakerTarget) -> str:
    """Return the construct id of what exists for this endpoint; another endpoint gets its own."""
    return f"Forwards{endpoint.endpoint_name[-8:]}"


def environment(config: Config, endpoint: SageMakerTarget) -> dict[str, str]:
    """Return the variables of a function that forwards."""
    return {
        "FORWARD_ENDPOINT": endpoint.endpoint_name,
        "FORWARD_PERCENT": str(config.forward_percent),
        **({"FORWARD_SPILL": "1"} if config.spill else {}),
    }


def allow(scope: Construct, function: Function, endpoint: SageMakerTarget) -> None:
    """Let `function` invoke the endpoint, which exists before the function and is deleted after it.

    CloudFormation creates in the order of DependsOn: endpoint and permission, function, version,
    alias. On the way back, it first updates everything else and then deletes what the template no
    longer has, so the alias leaves the forwarding version before the endpoint is deleted. A
    rollback and `cdk destroy` delete in reverse order: alias and function first.
    """
    assert function.role  # noqa: S101 - narrows the type
    statement = PolicyStatement(actions=["sagemaker:InvokeEndpoint"], resources=[endpoint.arn])
    name = construct_id(endpoint)
    policy = Policy(scope, name, roles=[function.role], statements=[statement])
    function.node.add_dependency(endpoint.endpoint, policy)

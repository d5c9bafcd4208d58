"""Let the function forward a share of its calls, or all, to the endpoint."""

from dataclasses import dataclass

from aws_cdk.aws_iam import Policy, PolicyStatement
from aws_cdk.aws_lambda import Function
from constructs import Construct

from infra.sagemaker_target.target import SageMakerTarget

DOORMAN_MEMORY_MB = 512  # a doorman is a function that forwards every call and loads no model


@dataclass(frozen=True, kw_only=True)
class Forwarding:
    """Forward a share of the function's calls to one endpoint."""

    endpoint: SageMakerTarget
    percent: int
    spill: bool  # True if the function answers what the endpoint does not

    @property
    def construct_id(self) -> str:
        """Return the id of the constructs for this endpoint; another endpoint gets its own."""
        return f"Forwards{self.endpoint.endpoint_name[-8:]}"

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables of a function that forwards."""
        return {
            "FORWARD_ENDPOINT": self.endpoint.endpoint_name,
            "FORWARD_PERCENT": str(self.percent),
            **({"FORWARD_SPILL": "1"} if self.spill else {}),
        }

    def allow(self, scope: Construct, function: Function) -> None:
        """Let `function` invoke the endpoint, which is created before it and deleted after it.

        CloudFormation creates in the order of DependsOn: endpoint and permission, function,
        version, alias. On the way back, it first updates everything else and then deletes what the
        template no longer has, so the alias leaves the forwarding version before the endpoint is
        deleted. A rollback and `cdk destroy` delete in reverse order: alias and function first.
        """
        assert function.role  # noqa: S101 - narrows the type
        arns = [self.endpoint.arn]
        statement = PolicyStatement(actions=["sagemaker:InvokeEndpoint"], resources=arns)
        policy = Policy(scope, self.construct_id, roles=[function.role], statements=[statement])
        function.node.add_dependency(self.endpoint.endpoint, policy)

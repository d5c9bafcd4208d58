"""The function as the address of the endpoint: it forwards a share of its calls, or all."""

from dataclasses import dataclass

from aws_cdk.aws_iam import Policy, PolicyStatement
from aws_cdk.aws_lambda import Function
from constructs import Construct

from infra.config.combinations import SYNCHRONOUS_TIMEOUT_SECONDS
from infra.sagemaker_target.target import SageMakerTarget

DOORMAN_MEMORY_MB = 512
"""The memory of a function that loads no model."""
WAIT_SECONDS = SYNCHRONOUS_TIMEOUT_SECONDS
"""How long a call may wait for the endpoint, before the time that the function's own answer has.

A function that ended before the endpoint would lose answers that the endpoint still gives.
"""


@dataclass(frozen=True, kw_only=True)
class Forwarding:
    """What a function forwards: a share of its calls, to one endpoint."""

    endpoint: SageMakerTarget
    percent: int = 100
    spill: bool = False
    """True if the function answers itself what the endpoint does not answer."""

    @property
    def construct_id(self) -> str:
        """Return the name of what exists for this endpoint's sake: another one gets its own."""
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
        """Let `function` invoke the endpoint, which is there before it and gone after it.

        CloudFormation creates in the order of DependsOn: endpoint and permission, function,
        version, alias. On the way back, it removes what the template no longer has after all
        else has changed: the alias has left the version that forwards before the endpoint goes.
        A rollback and `cdk destroy` remove in the reverse order: alias and function first.
        """
        assert function.role  # noqa: S101 - narrows the type
        statement = PolicyStatement(
            actions=["sagemaker:InvokeEndpoint"], resources=[self.endpoint.arn]
        )
        policy = Policy(scope, self.construct_id, roles=[function.role], statements=[statement])
        function.node.add_dependency(self.endpoint.endpoint, policy)

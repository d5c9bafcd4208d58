"""How the function's alias moves to a new version: a tenth first, and back on alarm."""

from collections.abc import Sequence

from aws_cdk.aws_cloudwatch import Alarm
from aws_cdk.aws_codedeploy import LambdaDeploymentConfig, LambdaDeploymentGroup
from aws_cdk.aws_iam import PolicyStatement, Role, ServicePrincipal
from aws_cdk.aws_lambda import Alias, IFunction
from constructs import Construct

from infra.access import policy_of
from infra.alarms import may_see


def shift_gradually(
    scope: Construct, function: IFunction, alias: Alias, watched: Sequence[Alarm]
) -> None:
    """Let CodeDeploy move `alias`: 10 % for five minutes, then all.

    It moves back, and the stack with it, when one of `watched` rings meanwhile.
    """
    role = Role(scope, "RolloutRole", assumed_by=ServicePrincipal("codedeploy.amazonaws.com"))
    # AWS's managed policy for it allows the same on every function and alarm of the account.
    role.add_to_policy(
        PolicyStatement(
            actions=[
                "lambda:GetAlias",
                "lambda:GetProvisionedConcurrencyConfig",
                "lambda:UpdateAlias",
            ],
            # Written out: the alias waits for the deployment group, and so for this role. AWS
            # checks some of these on the function and some on the alias.
            resources=[
                function.function_arn,
                f"{function.function_arn}:{alias.alias_name}",
            ],
        )
    )
    role.add_to_policy(may_see(watched))
    group = LambdaDeploymentGroup(
        scope,
        "Rollout",
        alias=alias,
        deployment_config=LambdaDeploymentConfig.CANARY_10_PERCENT_5_MINUTES,
        alarms=list(watched),
        role=role.without_policy_updates(),  # the construct would add the managed policy
    )
    # Naming the role does not wait for its policy.
    group.node.add_dependency(policy_of(role))

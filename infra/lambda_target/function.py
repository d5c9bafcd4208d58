"""The Lambda function, its role, and the rollout that moves its alias to a new version."""

from collections.abc import Mapping, Sequence

from aws_cdk import Duration, RemovalPolicy, Size
from aws_cdk import aws_lambda as lambda_
from aws_cdk.aws_cloudwatch import Alarm
from aws_cdk.aws_codedeploy import LambdaDeploymentConfig, LambdaDeploymentGroup
from aws_cdk.aws_iam import Policy, PolicyStatement
from aws_cdk.aws_logs import ILogGroup
from constructs import Construct

from infra.common.access import Network, deny_attach, grant_attach, policy_of, service_role
from infra.common.alarms import may_see
from infra.common.findings import resource_of, suppress_finding
from infra.image.asset import Image

# https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html, under execution role
_ATTACH_ACTIONS = (
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
)


def create_function(
    scope: Construct,
    *,
    image: Image,
    network: Network,
    logs: ILogGroup,
    memory_mb: int,
    ephemeral_mb: int,
    timeout_seconds: int,
    reserved_concurrency: int | None = None,
    environment: Mapping[str, str] | None = None,
    command: str | None = None,
) -> lambda_.DockerImageFunction:
    """Create a function whose versions outlive the deployment that replaces them.

    `environment` adds to the image's variables; `command` replaces the image's handler.
    """
    # The CDK's default role has a managed policy of AWS, which covers all logs of the account.
    role = service_role(scope, "Role", "lambda.amazonaws.com")
    logs.grant_write(role)
    variables = {**image.environment, **(environment or {})}
    if image.model_data:
        variables["MODEL_DATA_URL"] = image.model_data
    function = lambda_.DockerImageFunction(
        scope,
        "Function",
        # from_image_asset would declare a second asset.
        code=lambda_.DockerImageCode.from_ecr(
            image.asset.repository,
            tag_or_digest=image.asset.image_tag,
            cmd=[command] if command else None,
        ),
        architecture=lambda_.Architecture.ARM_64 if image.on_arm else lambda_.Architecture.X86_64,
        memory_size=memory_mb,
        ephemeral_storage_size=Size.mebibytes(ephemeral_mb),
        timeout=Duration.seconds(timeout_seconds),
        reserved_concurrent_executions=reserved_concurrency,
        environment=variables,
        role=role,
        log_group=logs,
        logging_format=lambda_.LoggingFormat.JSON,
        current_version_options=lambda_.VersionOptions(
            removal_policy=RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE
        ),
    )
    resource = resource_of(function)
    # AWS SAM CLI finds the asset to build by this metadata.
    image.asset.add_resource_metadata(resource, "Code.ImageUri")
    findings = {
        "W3005": "the CDK's own DependsOn of the role, beside the one of its policy that is needed",
        "CKV_AWS_116": "a caller waits for the answer, and gets the failure instead",
        "CKV_AWS_173": "it holds no secret; Lambda encrypts it with AWS's own key",
    }
    if reserved_concurrency is None:
        findings["CKV_AWS_115"] = (
            "the key lambda_reserved_concurrency: other functions lose what one function reserves"
        )
    # The function cannot start without these policies.
    function.node.add_dependency(*image.grant_read(scope, role))
    if network.subnet_ids:
        # The L2 construct needs the whole VPC, which neither Lambda nor SageMaker does.
        resource.add_property_override("VpcConfig.SubnetIds", list(network.subnet_ids))
        groups = list(network.security_group_ids)
        resource.add_property_override("VpcConfig.SecurityGroupIds", groups)
        function.node.add_dependency(grant_attach(scope, role, _ATTACH_ACTIONS))
        # The policy names the function, so it is created after it and before its version.
        denied = deny_attach(function, _ATTACH_ACTIONS)
        function.current_version.node.add_dependency(denied)
    else:
        findings["CKV_AWS_117"] = "the key subnet_ids: it needs no private network"
    suppress_finding(function, findings)
    return function


def shift_gradually(
    scope: Construct,
    function: lambda_.IFunction,
    alias: lambda_.Alias,
    watched: Sequence[Alarm],
    *,
    examiner: lambda_.IFunction | None = None,
    more_watched: Mapping[str, Sequence[Alarm]],
) -> LambdaDeploymentGroup:
    """Let CodeDeploy move `alias`: 10 % for five minutes, then all.

    If an alarm goes off meanwhile, the alias and the stack roll back. CodeDeploy calls `examiner`
    before it moves any traffic. `more_watched` holds alarms that only some configurations have, by
    the name of the policy that lets CodeDeploy read them.
    """
    role = service_role(scope, "RolloutRole", "codedeploy.amazonaws.com")
    # AWS's managed policy would allow these actions on every function and alarm of the account.
    actions = ("GetAlias", "GetProvisionedConcurrencyConfig", "UpdateAlias")
    role.add_to_policy(
        PolicyStatement(
            actions=[f"lambda:{action}" for action in actions],
            # AWS checks some actions on the function and some on the alias. The alias waits for
            # the deployment group, and so for this role: the role cannot refer to it.
            resources=[function.function_arn, f"{function.function_arn}:{alias.alias_name}"],
        )
    )
    role.add_to_policy(may_see(watched))
    policies = [policy_of(role)]
    if examiner:
        call = PolicyStatement(actions=["lambda:InvokeFunction"], resources=[examiner.function_arn])
        policies.append(Policy(scope, "Examiner", roles=[role], statements=[call]))
    for name, alarms in more_watched.items():
        policies.append(Policy(scope, name, roles=[role], statements=[may_see(alarms)]))
    group = LambdaDeploymentGroup(
        scope,
        "Rollout",
        alias=alias,
        deployment_config=LambdaDeploymentConfig.CANARY_10_PERCENT_5_MINUTES,
        alarms=[*watched, *(alarm for alarms in more_watched.values() for alarm in alarms)],
        role=role.without_policy_updates(),  # the construct would add the managed policy
    )
    # A reference to the role does not wait for its policies.
    group.node.add_dependency(*policies)
    if examiner:
        # `pre_hook` would add a permission to the role's policy, which names this group, and
        # CodeDeploy needs the permission before there is a version.
        resource_of(alias).add_override(
            "UpdatePolicy.CodeDeployLambdaAliasUpdate.BeforeAllowTrafficHook",
            examiner.function_name,
        )
    return group

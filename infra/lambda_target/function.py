"""The Lambda function of the image, its role, and how its alias moves to a new version."""

from collections.abc import Mapping, Sequence

from aws_cdk import Duration, RemovalPolicy, Size
from aws_cdk import aws_lambda as lambda_
from aws_cdk.aws_cloudwatch import Alarm
from aws_cdk.aws_codedeploy import LambdaDeploymentConfig, LambdaDeploymentGroup
from aws_cdk.aws_iam import Policy, PolicyStatement
from aws_cdk.aws_logs import ILogGroup
from constructs import Construct

from infra.common.access import Network, policy_of, service_role
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
    """Create a function; its versions outlive the deployment that replaces them.

    `environment` adds to the image's own; `command` names another handler than its own.
    """
    # The CDK's own role would have AWS's managed policy, which covers all logs of the account.
    role = service_role(scope, "Role", "lambda.amazonaws.com")
    logs.grant_write(role)
    variables = {**image.environment, **(environment or {})}
    if image.model_data:
        variables["MODEL_DATA_URL"] = image.model_data
    function = lambda_.DockerImageFunction(
        scope,
        "Function",
        # from_image_asset would declare a second asset. The entrypoint is the image's own.
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
    # AWS SAM CLI builds the image of what names its asset.
    image.asset.add_resource_metadata(resource_of(function), "Code.ImageUri")
    if network.subnet_ids:
        # The L2 needs the whole VPC, which neither Lambda nor SageMaker does.
        resource = resource_of(function)
        resource.add_property_override("VpcConfig.SubnetIds", list(network.subnet_ids))
        groups = list(network.security_group_ids)
        resource.add_property_override("VpcConfig.SecurityGroupIds", groups)
    # A start of the function needs these policies.
    function.node.add_dependency(
        *image.grant_read(scope, role),
        *network.grant_attach(scope, role, _ATTACH_ACTIONS),
    )
    if denied := network.deny_attach(function, _ATTACH_ACTIONS):
        # Not the function, which it names: what is called is a version.
        function.current_version.node.add_dependency(*denied)
    findings = {
        "W3005": "the CDK's own DependsOn of the role, beside the one of its policy that is needed",
        "CKV_AWS_116": "a caller waits for the answer, and gets the failure instead",
        "CKV_AWS_173": "it holds no secret; Lambda encrypts it with AWS's own key",
    }
    if reserved_concurrency is None:
        findings["CKV_AWS_115"] = (
            "the key lambda_reserved_concurrency: other functions lose what one function reserves"
        )
    if not network.subnet_ids:
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

    If an alarm goes off meanwhile, the alias moves back, and so does the stack. `examiner` is
    called first, and decides whether any traffic moves. `more_watched` are alarms that come and go
    with a key, by the name of the policy that lets CodeDeploy see them.
    """
    role = service_role(scope, "RolloutRole", "codedeploy.amazonaws.com")
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
    # Naming the role does not wait for its policies.
    group.node.add_dependency(*policies)
    if examiner:
        # As the group's `pre_hook` it would get a permission in its role's own policy, which names
        # this group, and is needed before there is a version.
        resource_of(alias).add_override(
            "UpdatePolicy.CodeDeployLambdaAliasUpdate.BeforeAllowTrafficHook",
            examiner.function_name,
        )
    return group

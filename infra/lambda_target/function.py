"""The Lambda function, its alias and URL, and the rollout that moves the alias to a new version."""

from collections.abc import Mapping, Sequence

from aws_cdk import Duration, RemovalPolicy, Size
from aws_cdk import aws_lambda as lambda_
from aws_cdk.aws_applicationautoscaling import CfnScalingPolicy
from aws_cdk.aws_cloudwatch import Alarm, Stats
from aws_cdk.aws_codedeploy import LambdaDeploymentConfig, LambdaDeploymentGroup
from aws_cdk.aws_iam import Effect, Policy, PolicyStatement
from aws_cdk.aws_logs import ILogGroup
from constructs import Construct

from infra.common.access import Network, grant_attach, policy_of, service_role
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
_PROVISIONED_UTILIZATION = 0.7  # the share of provisioned executions in use that scaling aims for

_REQUEST_HEADERS = "authorization content-type x-amz-content-sha256 x-amz-date x-amz-security-token"
_ANSWER_HEADERS = "x-amzn-sagemaker-custom-attributes x-image-id x-model-id x-served-by"


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
    # cfn-lint has no field for a reason; it ignores unknown keys beside its own.
    reason = "the CDK's own DependsOn of the role, beside the one of its policy that is needed"
    lint = {"config": {"ignore_checks": ["W3005"]}, "reasons": {"W3005": reason}}
    resource.add_metadata("cfn-lint", lint)
    findings = {
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
        subnets, groups = list(network.subnet_ids), list(network.security_group_ids)
        vpc = {"SubnetIds": subnets, "SecurityGroupIds": groups}
        resource.add_property_override("VpcConfig", vpc)
        function.node.add_dependency(grant_attach(scope, role, _ATTACH_ACTIONS))
        # Lambda itself needs the actions, but the function's code does not.
        # https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html, under best practices
        denied = PolicyStatement(
            effect=Effect.DENY,
            actions=list(_ATTACH_ACTIONS),
            resources=["*"],
            conditions={"ArnEquals": {"lambda:SourceFunctionArn": function.function_arn}},
        )
        # The policy names the function, so it is created after it and before its version.
        deny = Policy(function, "CodeMayNotAttach", roles=[role], statements=[denied])
        function.current_version.node.add_dependency(deny)
    else:
        findings["CKV_AWS_117"] = "the key subnet_ids: it needs no private network"
    suppress_finding(function, findings)
    return function


def create_alias(
    scope: Construct,
    function: lambda_.Function,
    provisioned: int | None,
    reserved: int | None,
) -> lambda_.Alias:
    """Create the alias `live`, and scale its provisioned executions if more are reserved."""
    alias = lambda_.Alias(
        scope,
        "Live",
        alias_name="live",
        version=function.current_version,
        provisioned_concurrent_executions=provisioned,
    )
    # The rest is reserved for the second version, which runs during an update.
    most = (reserved or 0) - (provisioned or 0)
    if not provisioned or most <= provisioned:
        return alias
    scaling = alias.add_auto_scaling(min_capacity=provisioned, max_capacity=most)
    scaling.scale_on_utilization(utilization_target=_PROVISIONED_UTILIZATION)
    # AWS's predefined metric of utilization has no data without calls, so it would never scale in.
    # Replace it by one that is 0 then.
    name = function.function_name
    used = {
        "Namespace": "AWS/Lambda",
        "MetricName": "ProvisionedConcurrencyUtilization",
        "Dimensions": [
            {"Name": "FunctionName", "Value": name},
            {"Name": "Resource", "Value": f"{name}:{alias.alias_name}"},
        ],
    }
    stat = {"Metric": used, "Stat": Stats.MAXIMUM}
    queries = [
        {"Id": "used", "MetricStat": stat, "ReturnData": False},
        {"Id": "filled", "Expression": "FILL(used, 0)", "ReturnData": True},
    ]
    (policy,) = (c for c in scaling.node.find_all() if isinstance(c, CfnScalingPolicy))
    tracking = "TargetTrackingScalingPolicyConfiguration"
    policy.add_property_deletion_override(f"{tracking}.PredefinedMetricSpecification")
    specification = f"{tracking}.CustomizedMetricSpecification"
    policy.add_property_override(specification, {"Metrics": queries})
    return alias


def create_url(
    alias: lambda_.Alias, *, is_public: bool, cors_origins: Sequence[str]
) -> lambda_.FunctionUrl:
    cors = lambda_.FunctionUrlCorsOptions(
        allowed_origins=list(cors_origins),
        allowed_methods=[lambda_.HttpMethod.GET, lambda_.HttpMethod.POST],
        allowed_headers=_REQUEST_HEADERS.split(),
        exposed_headers=_ANSWER_HEADERS.split(),
        max_age=Duration.hours(1),
    )
    auth = lambda_.FunctionUrlAuthType
    url = alias.add_function_url(
        auth_type=auth.NONE if is_public else auth.AWS_IAM, cors=cors if cors_origins else None
    )
    if is_public:
        reason = "url_auth=none asks for it; lambda_reserved_concurrency caps what it can cost"
        suppress_finding(url, {"CKV_AWS_258": reason})
    return url


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

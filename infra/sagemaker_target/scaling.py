"""Scale an endpoint's instances by its calls, or by its waiting requests."""

from hashlib import md5

from aws_cdk import Aws, Duration
from aws_cdk import aws_applicationautoscaling as autoscaling
from aws_cdk.aws_cloudwatch import Alarm, ComparisonOperator, Metric, TreatMissingData
from aws_cdk.aws_cloudwatch_actions import ApplicationScalingAction
from aws_cdk.aws_iam import Role
from constructs import Construct

from infra.common.findings import resource_of
from infra.sagemaker_target.capacity import Instances
from infra.sagemaker_target.endpoint_config import VARIANT

# Waiting requests per instance:
# https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-autoscale.html
_BACKLOG_PER_INSTANCE = 5

_SCALE_IN_COOLDOWN = Duration.seconds(300)  # late, because an instance takes minutes to start

# https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-service-linked-roles.html
_SERVICE_ROLE = (
    "aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
    "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
)


def scale(parent: Construct, *, endpoint_name: str, instances: Instances) -> None:
    """Keep the endpoint's instances between their minimum and maximum.

    `endpoint_name` is the endpoint's attribute, so that the endpoint exists before it is scaled.
    """
    scope = Construct(parent, "Scaling")
    role = f"arn:{Aws.PARTITION}:iam::{Aws.ACCOUNT_ID}:role/{_SERVICE_ROLE}"
    target = autoscaling.ScalableTarget(
        scope,
        "Target",
        service_namespace=autoscaling.ServiceNamespace.SAGEMAKER,
        scalable_dimension="sagemaker:variant:DesiredInstanceCount",
        resource_id=f"endpoint/{endpoint_name}/variant/{VARIANT}",
        min_capacity=instances.minimum,
        max_capacity=instances.maximum,
        role=Role.from_role_arn(scope, "ServiceRole", role),
    )
    asynchronous = instances.kind == "async"
    backlog = _endpoint_metric("ApproximateBacklogSizePerInstance", endpoint_name)
    calls = autoscaling.PredefinedMetric.SAGEMAKER_VARIANT_INVOCATIONS_PER_INSTANCE
    aim = _BACKLOG_PER_INSTANCE if asynchronous else instances.invocations_per_minute
    policy = autoscaling.TargetTrackingScalingPolicy(
        scope,
        "Policy",
        policy_name="target-tracking",
        scaling_target=target,
        custom_metric=backlog if asynchronous else None,
        predefined_metric=None if asynchronous else calls,
        target_value=aim,
        scale_out_cooldown=Duration.seconds(60),
        scale_in_cooldown=_SCALE_IN_COOLDOWN,
    )
    _keep_logical_id(target)
    _keep_logical_id(policy)
    if instances.minimum > 0:
        return
    # While no instance runs, the backlog per instance has no value. Start one when requests wait.
    # https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-autoscale-scale-up.html
    step = autoscaling.StepScalingAction(
        scope,
        "FirstInstance",
        policy_name="first-instance",
        scaling_target=target,
        adjustment_type=autoscaling.AdjustmentType.CHANGE_IN_CAPACITY,
        metric_aggregation_type=autoscaling.MetricAggregationType.AVERAGE,
        cooldown=_SCALE_IN_COOLDOWN,
    )
    step.add_adjustment(adjustment=1, lower_bound=0)
    _keep_logical_id(step)
    alarm = Alarm(
        scope,
        "Waiting",
        metric=_endpoint_metric("HasBacklogWithoutCapacity", endpoint_name),
        evaluation_periods=2,
        threshold=1,
        comparison_operator=ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
        treat_missing_data=TreatMissingData.MISSING,
        alarm_description="work waits and no instance runs: the first one is started",
    )
    alarm.add_alarm_action(ApplicationScalingAction(step))


def _endpoint_metric(name: str, endpoint_name: str) -> Metric:
    return Metric(
        namespace="AWS/SageMaker",
        metric_name=name,
        dimensions_map={"EndpointName": endpoint_name},
        period=Duration.minutes(1),
    )


def _keep_logical_id(construct: Construct) -> None:
    """Give the resource the logical id that an L1 construct would have, as in earlier versions.

    With another id, CloudFormation would create the resource again and then delete the old one.
    For Application Auto Scaling both are the same, so it would refuse or delete the one in use.
    """
    path = construct.node.path.split("/")[1:]  # without the stack
    digest = md5("/".join(path).encode(), usedforsecurity=False).hexdigest()
    logical_id = "".join(path) + digest[:8].upper()
    resource_of(construct).override_logical_id(logical_id)

"""How many instances an endpoint has: by its calls, or by the work that waits for it."""

from aws_cdk.aws_applicationautoscaling import CfnScalableTarget, CfnScalingPolicy
from aws_cdk.aws_cloudwatch import CfnAlarm
from constructs import Construct

from infra.config import Config

# Waiting requests for each instance; from
# https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-autoscale.html
_BACKLOG_PER_INSTANCE = 5

# An instance takes minutes to start and is billed from then: out soon, in late.
_SCALE_OUT_COOLDOWN_SECONDS = 60
_SCALE_IN_COOLDOWN_SECONDS = 300

_DIMENSION = "sagemaker:variant:DesiredInstanceCount"


class Scaling(Construct):
    """Keeps the instances of one variant between `min_instances` and `max_instances`.

    `endpoint_name` is the endpoint's own attribute: what is scaled has to exist.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        endpoint_name: str,
        variant: str,
        config: Config,
    ) -> None:
        super().__init__(scope, construct_id)
        self._endpoint_name = endpoint_name
        self._target = CfnScalableTarget(
            self,
            "Target",
            service_namespace="sagemaker",
            scalable_dimension=_DIMENSION,
            resource_id=f"endpoint/{endpoint_name}/variant/{variant}",
            min_capacity=config.min_instances,
            max_capacity=config.max_instances,
        )
        if config.sagemaker_type == "async":
            self._by_backlog()
            if config.min_instances == 0:
                self._from_none()
        else:
            self._by_calls(config.invocations_per_instance_per_minute)

    def _by_calls(self, calls: int) -> None:
        self._track(
            calls,
            predefined=CfnScalingPolicy.PredefinedMetricSpecificationProperty(
                predefined_metric_type="SageMakerVariantInvocationsPerInstance"
            ),
        )

    def _by_backlog(self) -> None:
        self._track(
            _BACKLOG_PER_INSTANCE,
            customized=CfnScalingPolicy.CustomizedMetricSpecificationProperty(
                namespace="AWS/SageMaker",
                metric_name="ApproximateBacklogSizePerInstance",
                dimensions=[
                    CfnScalingPolicy.MetricDimensionProperty(
                        name="EndpointName", value=self._endpoint_name
                    )
                ],
                statistic="Average",
            ),
        )

    def _track(
        self,
        target: float,
        *,
        predefined: CfnScalingPolicy.PredefinedMetricSpecificationProperty | None = None,
        customized: CfnScalingPolicy.CustomizedMetricSpecificationProperty | None = None,
    ) -> None:
        """Aim at `target` of the one metric that is given."""
        CfnScalingPolicy(
            self,
            "Policy",
            # Unique within its target, and CloudFormation demands one.
            policy_name="target-tracking",
            policy_type="TargetTrackingScaling",
            scaling_target_id=self._target.ref,
            target_tracking_scaling_policy_configuration=CfnScalingPolicy.TargetTrackingScalingPolicyConfigurationProperty(
                target_value=target,
                scale_out_cooldown=_SCALE_OUT_COOLDOWN_SECONDS,
                scale_in_cooldown=_SCALE_IN_COOLDOWN_SECONDS,
                predefined_metric_specification=predefined,
                customized_metric_specification=customized,
            ),
        )

    def _from_none(self) -> None:
        """A backlog per instance has no value without an instance, so the first one is an alarm's.

        https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-autoscale-scale-up.html
        """
        policy = CfnScalingPolicy(
            self,
            "FirstInstance",
            policy_name="first-instance",
            policy_type="StepScaling",
            scaling_target_id=self._target.ref,
            step_scaling_policy_configuration=CfnScalingPolicy.StepScalingPolicyConfigurationProperty(
                adjustment_type="ChangeInCapacity",
                metric_aggregation_type="Average",
                cooldown=_SCALE_IN_COOLDOWN_SECONDS,
                step_adjustments=[
                    CfnScalingPolicy.StepAdjustmentProperty(
                        metric_interval_lower_bound=0, scaling_adjustment=1
                    )
                ],
            ),
        )
        CfnAlarm(
            self,
            "Waiting",
            namespace="AWS/SageMaker",
            metric_name="HasBacklogWithoutCapacity",
            dimensions=[CfnAlarm.DimensionProperty(name="EndpointName", value=self._endpoint_name)],
            statistic="Average",
            period=60,
            evaluation_periods=2,
            threshold=1,
            comparison_operator="GreaterThanOrEqualToThreshold",
            treat_missing_data="missing",
            alarm_description="work waits and no instance runs: the first one is started",
            alarm_actions=[policy.ref],
        )

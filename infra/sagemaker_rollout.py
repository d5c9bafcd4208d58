"""How an endpoint moves to a new endpoint config: beside the old fleet, and back on alarm."""

from collections.abc import Sequence
from typing import TypedDict

from aws_cdk.aws_cloudwatch import IAlarm
from aws_cdk.aws_sagemaker import CfnEndpoint

from infra.config import Config

# How long the new fleet is watched before the old one goes: the alarms need three minutes.
_BAKE_SECONDS = 300
_MAX_SECONDS = 3600


class Guardrails(TypedDict, total=False):
    """Arguments of CfnEndpoint."""

    deployment_config: CfnEndpoint.DeploymentConfigProperty
    retain_all_variant_properties: bool


def is_scaled(config: Config) -> bool:
    """Whether the endpoint's instances come and go."""
    return config.sagemaker_type != "serverless" and config.min_instances < config.max_instances


def keeps_its_size(config: Config) -> bool:
    """Whether an update leaves the fleet at the size that scaling gave it.

    A fleet that may be scaled to none does not: the new image has to start all the same.
    """
    return is_scaled(config) and config.min_instances > 0


def guardrails(config: Config, watched: Sequence[IAlarm]) -> Guardrails:
    """Blue/green: one instance of the new fleet first, where there are two or more; all at once
    where there is one. A serverless endpoint is changed by SageMaker's own means.
    """
    if config.sagemaker_type == "serverless":
        return {}
    if config.min_instances >= 2:
        routing = CfnEndpoint.TrafficRoutingConfigProperty(
            type="CANARY",
            # At most half of the fleet, which AWS demands.
            canary_size=CfnEndpoint.CapacitySizeProperty(type="INSTANCE_COUNT", value=1),
            wait_interval_in_seconds=_BAKE_SECONDS,
        )
    else:
        routing = CfnEndpoint.TrafficRoutingConfigProperty(
            type="ALL_AT_ONCE", wait_interval_in_seconds=_BAKE_SECONDS
        )
    deployment = CfnEndpoint.DeploymentConfigProperty(
        blue_green_update_policy=CfnEndpoint.BlueGreenUpdatePolicyProperty(
            traffic_routing_configuration=routing,
            # With one instance there is no step to wait after, only the old fleet to keep.
            termination_wait_in_seconds=_BAKE_SECONDS,
            maximum_execution_timeout_in_seconds=_MAX_SECONDS,
        ),
        auto_rollback_configuration=CfnEndpoint.AutoRollbackConfigProperty(
            alarms=[CfnEndpoint.AlarmProperty(alarm_name=alarm.alarm_name) for alarm in watched]
        ),
    )
    return {
        "deployment_config": deployment,
        "retain_all_variant_properties": keeps_its_size(config),
    }

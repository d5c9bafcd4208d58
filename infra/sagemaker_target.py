"""The SageMaker target: a real-time, serverless or asynchronous endpoint of the image."""

from hashlib import sha256

from aws_cdk import Duration, Stack
from aws_cdk.aws_cloudwatch import Alarm, ComparisonOperator, Metric, Stats, TreatMissingData
from aws_cdk.aws_iam import Grant, IGrantable
from aws_cdk.aws_sagemaker import CfnEndpoint
from constructs import Construct

from infra import alarms
from infra.combinations import SYNCHRONOUS_TIMEOUT_SECONDS
from infra.config import Config
from infra.image import Image
from infra.logs import log_group
from infra.sagemaker_model import create_endpoint_config
from infra.sagemaker_role import execution_role, sees
from infra.sagemaker_rollout import guardrails, is_scaled
from infra.sagemaker_scaling import Scaling
from infra.sagemaker_storage import AsyncWork

VARIANT = "AllTraffic"

# https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference.html
_ASYNC_TIMEOUT = Duration.minutes(15)


def endpoint_name(stack_name: str, sagemaker_type: str, instance_type: str) -> str:
    """The endpoint's name, known at synth: what watches the endpoint can name it without a cycle.

    It changes with what AWS cannot change in place, so that such a change makes a new endpoint. At
    most 63 characters, the limit of SageMaker.
    """
    machine = "" if sagemaker_type == "serverless" else instance_type
    identity = "\n".join((stack_name, sagemaker_type, machine))
    return f"{stack_name[:54].rstrip('-')}-{sha256(identity.encode()).hexdigest()[:8]}"


class SageMakerTarget(Construct):
    """Serves the image as an endpoint. All but a serverless one cost their instances by the hour.

    L1 constructs: the alpha L2 ones lack rollout guardrails, data capture, serverless and async.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, image: Image, config: Config
    ) -> None:
        super().__init__(scope, construct_id)
        self.endpoint_name = endpoint_name(
            Stack.of(self).stack_name, config.sagemaker_type, config.instance_type
        )
        # Of this endpoint alone: beside an old endpoint that is going to be replaced, all of it is
        # made anew, and the old one keeps its own until it is gone.
        home = Construct(self, self.endpoint_name[-8:])
        # SageMaker writes to the group of this name; made here, it is kept for as long as asked.
        logs = log_group(
            home,
            "Logs",
            name=f"/aws/sagemaker/Endpoints/{self.endpoint_name}",
            retention_days=config.log_retention_days,
        )
        role = execution_role(home, image=image, logs=logs)
        self.work = (
            AsyncWork(home, "Async", role=role) if config.sagemaker_type == "async" else None
        )
        endpoint_config = create_endpoint_config(
            home, image=image, config=config, role=role, variant=VARIANT, work=self.work
        )
        config_name = endpoint_config.attr_endpoint_config_name
        watched = []
        if config.sagemaker_type != "serverless":
            # An update is judged by the new fleet alone, so that a fix can replace what fails.
            watched = self._create_alarms(home, "New", EndpointConfigName=config_name)
        self.endpoint = CfnEndpoint(
            home,
            "Endpoint",
            endpoint_name=self.endpoint_name,
            endpoint_config_name=config_name,
            **guardrails(config, watched),
        )
        if watched:
            self.endpoint.node.add_dependency(sees(home, role, watched))
        self.alarms = self._create_alarms(home, "")
        if config.sagemaker_type != "serverless" and config.min_instances > 0:
            self.alarms.append(self._create_capacity_alarm(home))
        if is_scaled(config):
            Scaling(
                home,
                "Scaling",
                endpoint_name=self.endpoint.attr_endpoint_name,
                variant=VARIANT,
                config=config,
            )

    def grant_invoke(self, grantee: IGrantable) -> Grant:
        """Let `grantee` invoke this endpoint; an asynchronous one through its bucket."""
        if self.work:
            self.work.grant_use(grantee)
        return Grant.add_to_principal(
            grantee=grantee,
            actions=["sagemaker:InvokeEndpointAsync" if self.work else "sagemaker:InvokeEndpoint"],
            resource_arns=[
                Stack.of(self).format_arn(
                    service="sagemaker", resource="endpoint", resource_name=self.endpoint_name
                )
            ],
        )

    def metric_invocations(self) -> Metric:
        """Calls that the endpoint has answered."""
        name = "InvocationsProcessed" if self.work else "Invocations"
        return self._metric(name, Stats.SUM)

    def metric_latency(self, statistic: str) -> Metric:
        """Time until the container has answered, µs."""
        return self._metric("ModelLatency", statistic)

    def metric_faults(self) -> Metric:
        """Answers of 5xx."""
        return self._metric("Invocation5XXErrors", Stats.SUM)

    def metric_instances(self) -> Metric:
        """Running instances. There is no such metric: each reports its CPU once a minute."""
        return self._metric("CPUUtilization", Stats.SAMPLE_COUNT, "/aws/sagemaker/Endpoints")

    def metric_cold_starts(self) -> Metric:
        """Starts that a caller waited for, of a serverless endpoint."""
        return self._metric("ModelSetupTime", Stats.SAMPLE_COUNT)

    def metric_concurrency(self) -> Metric:
        """The share of its concurrency that a serverless endpoint uses, 0 to 1."""
        return self._metric("ServerlessConcurrentExecutionsUtilization", Stats.MAXIMUM)

    def _metric(
        self, name: str, statistic: str, namespace: str = "AWS/SageMaker", **dimensions: str
    ) -> Metric:
        return Metric(
            namespace=namespace,
            metric_name=name,
            dimensions_map={
                "EndpointName": self.endpoint_name,
                "VariantName": VARIANT,
                **dimensions,
            },
            statistic=statistic,
            period=alarms.PERIOD,
        )

    def _create_alarms(self, scope: Construct, prefix: str, **dimensions: str) -> list[Alarm]:
        """On the calls that have these dimensions, beside the endpoint's own.

        EndpointConfigName is there during an update, and tells the new fleet from the old one.
        https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html
        """
        timeout = _ASYNC_TIMEOUT if self.work else Duration.seconds(SYNCHRONOUS_TIMEOUT_SECONDS)
        return [
            alarms.alarm(
                scope,
                f"{prefix}Faults",
                # The share of the calls.
                self._metric("Invocation5XXErrors", Stats.AVERAGE, **dimensions),
                above=alarms.MAX_FAULT_PERCENT / 100,
                description="the endpoint answers 5xx: see its log group",
            ),
            alarms.alarm(
                scope,
                f"{prefix}Latency",
                self._metric("ModelLatency", "p99", **dimensions),
                above=timeout.to_milliseconds() * 1000 / 2,
                description="one call in a hundred takes half of the time that AWS allows",
            ),
        ]

    def _create_capacity_alarm(self, scope: Construct) -> Alarm:
        alarm = Alarm(
            scope,
            "NoCapacity",
            metric=self.metric_instances(),
            threshold=1,
            comparison_operator=ComparisonOperator.LESS_THAN_THRESHOLD,
            evaluation_periods=5,
            treat_missing_data=TreatMissingData.BREACHING,  # none reports
            alarm_description="no healthy instance has reported for five minutes",
        )
        # It would ring until the endpoint is there.
        alarm.node.add_dependency(self.endpoint)
        return alarm

"""The SageMaker target: a real-time, serverless or asynchronous endpoint of the image."""

from hashlib import sha256

from aws_cdk import Duration, Stack
from aws_cdk.aws_cloudwatch import Alarm, MathExpression, Metric, Stats
from aws_cdk.aws_iam import Policy
from aws_cdk.aws_sagemaker import CfnEndpoint
from constructs import Construct

from infra.common.access import Network
from infra.common.alarms import (
    MAX_FAULT_PERCENT,
    PERIOD,
    alarm,
    alarm_of_none,
    log_group,
    may_see,
)
from infra.config.context import SYNCHRONOUS_TIMEOUT_SECONDS
from infra.image.asset import Image
from infra.sagemaker_target import endpoint_config
from infra.sagemaker_target.capacity import Capacity, Instances
from infra.sagemaker_target.endpoint_config import VARIANT
from infra.sagemaker_target.model import execution_role
from infra.sagemaker_target.scaling import scale
from infra.sagemaker_target.storage import AsyncWork

# AWS's default; a call may set InvocationTimeoutSeconds to more.
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpointAsync.html
_ASYNC_TIMEOUT_SECONDS = 15 * 60


def endpoint_name(stack_name: str, sagemaker_type: str, instance_type: str) -> str:
    """Return the endpoint's name, known at synth so that its alarms can name it without a cycle.

    It contains everything that AWS cannot change in place. It has at most 63 characters, AWS's
    limit, and is in lower case, because SageMaker writes ARNs in lower case and IAM is
    case-sensitive.
    """
    # "endpoint" changes the digest, because older versions had names with capital letters.
    identity = "\n".join(("endpoint", stack_name, sagemaker_type, instance_type))
    prefix = stack_name.lower()[:54].rstrip("-")
    return f"{prefix}-{sha256(identity.encode()).hexdigest()[:8]}"


class SageMakerTarget(Construct):
    """Serve the image as an endpoint. Instances are billed by the hour, even without calls.

    The constructs are L1: the alpha L2 constructs lack rollout guardrails, data capture, serverless
    and asynchronous endpoints.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        image: Image,
        network: Network,
        capacity: Capacity,
        data_capture_percent: int,
        log_retention_days: int,
        examined: Metric | None,
    ) -> None:
        """Create the target. `examined` counts the examiner's calls."""
        super().__init__(scope, construct_id)
        self.capacity, self._examined = capacity, examined
        instances = capacity if isinstance(capacity, Instances) else None
        asynchronous = capacity.kind == "async"
        self.endpoint_name = endpoint_name(
            Stack.of(self).stack_name, capacity.kind, capacity.instance_type
        )
        # This ARN lets a policy name the endpoint without waiting for it.
        self.arn = Stack.of(self).format_arn(
            service="sagemaker", resource="endpoint", resource_name=self.endpoint_name
        )
        # Everything below belongs to this endpoint. A replacement gets new resources, and the old
        # endpoint keeps its own until it is deleted.
        home = Construct(self, self.endpoint_name[-8:])
        # SageMaker writes to the group of this name; the stack creates it to set its retention.
        group = f"/aws/sagemaker/Endpoints/{self.endpoint_name}"
        logs = log_group(home, name=group, retention_days=log_retention_days)
        role = execution_role(home, image=image, namespace="/aws/sagemaker/Endpoints")
        logs.grant(
            role,
            "logs:CreateLogGroup",  # SageMaker's agent needs it, although the group exists
            "logs:CreateLogStream",
            "logs:DescribeLogStreams",
            "logs:PutLogEvents",
        )
        self.work = AsyncWork(home, "Async", role=role) if asynchronous else None
        created = endpoint_config.create_endpoint_config(
            home,
            image=image,
            network=network,
            capacity=capacity,
            role=role,
            work=self.work,
            data_capture_percent=data_capture_percent,
        )
        self.config_name = config_name = created.attr_endpoint_config_name
        self.endpoint = CfnEndpoint(
            home, "Endpoint", endpoint_name=self.endpoint_name, endpoint_config_name=config_name
        )
        if instances:
            # Only the new fleet's alarms stop an update, so a fix can replace a failing fleet.
            watched = self._create_alarms(home, "New", EndpointConfigName=config_name)
            self.endpoint.deployment_config = endpoint_config.update_policy(watched, instances)
            self.endpoint.retain_all_variant_properties = instances.keeps_size
            # The alarms name the endpoint config, which waits for the role's own policy.
            policy = Policy(home, "Alarms", roles=[role], statements=[may_see(watched)])
            self.endpoint.node.add_dependency(policy)
        self.call_alarms = self._create_alarms(home, "")
        self.alarms = [*self.call_alarms]
        if instances and instances.minimum > 0:
            none = "no healthy instance has reported for five minutes"
            no_capacity = alarm_of_none(home, "NoCapacity", self.metric_instances(), 5, none)
            # Created earlier, it would be in alarm until the endpoint is ready.
            no_capacity.node.add_dependency(self.endpoint)
            self.alarms.append(no_capacity)
        if asynchronous:
            self.alarms.append(self._create_undelivered_alarm(home))
        if instances and instances.minimum < instances.maximum:
            scale(home, endpoint_name=self.endpoint.attr_endpoint_name, instances=instances)

    def metric_invocations(self, period: Duration = PERIOD) -> Metric | MathExpression:
        """Count the calls that the endpoint has answered, without the examiner's."""
        name = "InvocationsProcessed" if self.work else "Invocations"
        every = self.metric(name).with_(period=period)
        if not self._examined:
            return every
        return MathExpression(
            expression="every - FILL(examined, 0)",
            using_metrics={"every": every, "examined": self._examined.with_(period=period)},
            label="calls, without the examiner's",
            period=period,
        )

    def metric_latency(self, statistic: str) -> Metric:
        """Measure the time that the container takes to answer, in µs."""
        return self.metric("ModelLatency", statistic)

    def metric_instances(self) -> Metric:
        """Count the running instances by their reports of CPU usage, one a minute."""
        return self.metric("CPUUtilization", Stats.SAMPLE_COUNT, "/aws/sagemaker/Endpoints")

    def metric(
        self,
        name: str,
        statistic: str = Stats.SUM,
        namespace: str = "AWS/SageMaker",
        **dimensions: str,
    ) -> Metric:
        """Return a metric of the endpoint's one variant."""
        variant = {"EndpointName": self.endpoint_name, "VariantName": VARIANT}
        return Metric(
            namespace=namespace,
            metric_name=name,
            dimensions_map={**variant, **dimensions},
            statistic=statistic,
            period=PERIOD,
        )

    def _create_alarms(self, scope: Construct, prefix: str, **dimensions: str) -> list[Alarm]:
        """Create alarms on the endpoint's calls that have these dimensions.

        During an update, the dimension EndpointConfigName selects the new fleet.
        https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html
        """
        seconds = _ASYNC_TIMEOUT_SECONDS if self.work else SYNCHRONOUS_TIMEOUT_SECONDS
        share = self.metric("Invocation5XXErrors", Stats.AVERAGE, **dimensions)
        latency = self.metric("ModelLatency", "p99", **dimensions)
        fails = "the endpoint answers 5xx: see its log group"
        slow = "one call in a hundred takes half of the time that AWS allows"
        return [
            alarm(scope, f"{prefix}Faults", share, MAX_FAULT_PERCENT / 100, fails),
            alarm(scope, f"{prefix}Latency", latency, seconds * 1_000_000 / 2, slow),
        ]

    def _create_undelivered_alarm(self, scope: Construct) -> Alarm:
        """Create an alarm on requests that never reach the container and on lost answers.

        https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-monitor.html
        """
        failures = {
            "downloads": self.metric("RequestDownloadFailures"),
            "uploads": self.metric("ResponseUploadFailures"),
            "expired": self.metric("ExpiredRequests"),
        }
        total = MathExpression(
            expression=" + ".join(f"FILL({name}, 0)" for name in failures),
            using_metrics=failures,
            label="requests without an answer",
            period=PERIOD,
        )
        lost = "requests or answers are lost in S3, or expire: see the topic Failed"
        return alarm(scope, "Undelivered", total, 0, lost, at_once=True)

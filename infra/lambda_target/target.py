"""The Lambda target: a function of the image, its `live` alias and the alias' URL."""

from collections.abc import Sequence
from typing import Literal

from aws_cdk import Duration
from aws_cdk import aws_lambda as lambda_
from aws_cdk.aws_applicationautoscaling import CfnScalingPolicy
from aws_cdk.aws_cloudwatch import Alarm, MathExpression, Metric, Stats
from aws_cdk.aws_iam import Grant, IGrantable
from aws_cdk.aws_logs import FilterPattern, IFilterPattern
from constructs import Construct, IDependable

from infra.common.access import Network
from infra.common.alarms import MAX_FAULT_PERCENT, MAX_SPILL_PERCENT, PERIOD, alarm, percent
from infra.common.findings import suppress_finding
from infra.common.logs import count_lines, log_group
from infra.config.combinations import SYNCHRONOUS_TIMEOUT_SECONDS
from infra.image.asset import Image
from infra.lambda_target.forwarding import Forwarding
from infra.lambda_target.function import create_function, shift_gradually

_PROVISIONED_UTILIZATION = 0.7  # the share of provisioned executions in use that scaling aims for


class LambdaTarget(Construct):
    """Serve the image as a Lambda function, which is billed by the call.

    Callers use `alias` or `url`, never the bare function: a deployment moves both to a new version
    gradually, and back if one of the rollout's alarms goes off. Old versions are kept for manual
    rollbacks.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        image: Image,
        network: Network,
        memory_mb: int = 1769,
        ephemeral_mb: int = 512,
        timeout_seconds: int = 30,
        reserved_concurrency: int | None = None,
        provisioned_concurrency: int | None = None,
        url_auth: Literal["iam", "none", "off"] = "iam",
        cors_origins: Sequence[str] = (),
        log_retention_days: int = 30,
        examiner: lambda_.IFunction | None = None,
        examiner_alarms: Sequence[Alarm] = (),
        forwarding: Forwarding | None = None,
    ) -> None:
        """Create the target. `timeout_seconds` limits the function's own answer.

        `examiner` checks a version before it gets traffic; `examiner_alarms` also stop a rollout.
        """
        super().__init__(scope, construct_id)
        self.memory_mb, self.on_arm = memory_mb, image.on_arm
        self.provisioned_concurrency = provisioned_concurrency
        self.forwarding = forwarding
        self._logs = log_group(self, "Logs", retention_days=log_retention_days)
        # A function that ended before the endpoint would lose the endpoint's answer.
        all_seconds = timeout_seconds + (SYNCHRONOUS_TIMEOUT_SECONDS if forwarding else 0)
        self.function = create_function(
            self,
            image=image,
            network=network,
            logs=self._logs,
            memory_mb=memory_mb,
            ephemeral_mb=ephemeral_mb,
            timeout_seconds=all_seconds,
            reserved_concurrency=reserved_concurrency,
            environment=forwarding.environment if forwarding else {},
        )
        self.forwarded_ms = self.spilled = None
        if forwarding:
            forwarding.allow(self, self.function)
            milliseconds = "$.forwardMilliseconds"
            self.forwarded_ms = self._count("Forwarded", _target("sagemaker"), value=milliseconds)
            self.spilled = self._count("Spilled", _target("lambda-spill"))
        self.alias = self._create_alias(reserved_concurrency)
        self.url = self._create_url(url_auth, cors_origins) if url_auth != "off" else None
        # Lambda reports the duration of a cold start in the log only.
        init_ms = "$.record.metrics.initDurationMs"
        has_init_ms = FilterPattern.number_value(init_ms, ">=", 0)
        self._cold_starts = self._count("ColdStarts", has_init_ms, value=init_ms)
        slow_ms = all_seconds * 1000 / 2
        self.alarms = self._create_alarms("", slow_ms)
        if self.url:
            share = percent(self.url_metric("Url5xxCount"), self.url_metric("UrlRequestCount"))
            fails = "the function's URL answers 5xx: see its log group"
            self.alarms.append(alarm(self, "UrlFaults", share, MAX_FAULT_PERCENT, fails))
        refused = "calls are refused: raise the function's or the account's concurrency"
        self.alarms.append(alarm(self, "Throttles", self.metric("Throttles"), 0, refused))
        # Only the new version's alarms stop a rollout, so a fix can replace a failing version.
        version = self.function.current_version.version
        # The URL's 5xx metric does not distinguish versions, but the log does.
        is_fault = FilterPattern.number_value("$.status", ">=", 500)
        faults = self._share("Faults", is_fault, version)
        fails = "the new version answers 5xx: see the function's log group"
        watched = [
            *self._create_alarms("New", slow_ms, ExecutedVersion=version),
            alarm(self, "NewFaults", faults, MAX_FAULT_PERCENT, fails),
        ]
        more_watched = {"ExaminerAlarms": examiner_alarms} if examiner_alarms else {}
        if forwarding:
            # A failing endpoint must not stop the way back, so only a version that forwards has
            # these alarms. NoCapacity is left out: it may go off while an endpoint is new.
            above = MAX_SPILL_PERCENT * forwarding.percent / 100
            share = self._share("NewSpilled", _target("lambda-spill"), version)
            refused = "the endpoint answers less than half of what the new version forwards"
            spills = alarm(self, "NewSpills", share, above, refused)
            name = f"{forwarding.construct_id}Alarms"
            more_watched[name] = [spills, *forwarding.endpoint.call_alarms]
        self.rollout = shift_gradually(
            self, self.function, self.alias, watched, examiner=examiner, more_watched=more_watched
        )

    def grant_invoke(self, grantee: IGrantable) -> Grant:
        """Let `grantee` call the URL, if any, and invoke the alias directly."""
        grant = self.alias.grant_invoke(grantee)
        return grant.combine(self.url.grant_invoke_url(grantee)) if self.url else grant

    def deploy_after(self, dependable: IDependable) -> None:
        """Change the function only after `dependable` has been created or updated."""
        self.function.node.add_dependency(dependable)

    def metric_invocations(self) -> Metric:
        """Count the calls of the alias, including those through its URL."""
        return self.metric("Invocations")

    def metric_latency(self, statistic: str) -> Metric:
        """Measure the time in the function, in ms."""
        return self.metric("Duration", statistic)

    def metric_cold_starts(self) -> Metric:
        """Count the cold starts that delayed a call."""
        return self._cold_starts.with_(statistic=Stats.SAMPLE_COUNT)

    def metric_start_duration(self) -> Metric:
        """Sum the duration of these cold starts, in ms."""
        return self._cold_starts.with_(statistic=Stats.SUM)

    def metric(self, name: str, statistic: str = Stats.SUM, **dimensions: str) -> Metric:
        """Return a metric of the alias; the dimension ExecutedVersion selects one of its versions.

        Errors counts direct calls only; `url_metric` counts those through the URL.
        """
        function_name = self.function.function_name
        alias = {"Resource": f"{function_name}:{self.alias.alias_name}", **dimensions}
        return Metric(
            namespace="AWS/Lambda",
            metric_name=name,
            dimensions_map={"FunctionName": function_name, **alias},
            statistic=statistic,
            period=PERIOD,
        )

    def url_metric(self, name: str) -> Metric:
        """Return a metric of the URL, which AWS publishes for the function.

        https://docs.aws.amazon.com/lambda/latest/dg/urls-monitoring.html
        """
        return self.function.metric(name, statistic=Stats.SUM, period=PERIOD)

    def _create_alias(self, reserved_concurrency: int | None) -> lambda_.Alias:
        provisioned = self.provisioned_concurrency
        alias = lambda_.Alias(
            self,
            "Live",
            alias_name="live",
            version=self.function.current_version,
            provisioned_concurrent_executions=provisioned,
        )
        # The rest is reserved for the second version, which runs during an update.
        most = (reserved_concurrency or 0) - (provisioned or 0)
        if not provisioned or most <= provisioned:
            return alias
        scaling = alias.add_auto_scaling(min_capacity=provisioned, max_capacity=most)
        scaling.scale_on_utilization(utilization_target=_PROVISIONED_UTILIZATION)
        # AWS's predefined metric of utilization has no data without calls, so it would never scale
        # in. Replace it by one that is 0 then.
        function = self.function.function_name
        dimensions = {"FunctionName": function, "Resource": f"{function}:{alias.alias_name}"}
        used = {
            "Namespace": "AWS/Lambda",
            "MetricName": "ProvisionedConcurrencyUtilization",
            "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
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

    def _create_url(self, url_auth: str, cors_origins: Sequence[str]) -> lambda_.FunctionUrl:
        origins, is_public = list(cors_origins), url_auth == "none"
        cors = lambda_.FunctionUrlCorsOptions(
            allowed_origins=origins,
            allowed_methods=[lambda_.HttpMethod.GET, lambda_.HttpMethod.POST],
            allowed_headers=[
                "authorization",
                "content-type",
                "x-amz-content-sha256",
                "x-amz-date",
                "x-amz-security-token",
            ],
            exposed_headers=[
                "x-amzn-sagemaker-custom-attributes",
                "x-image-id",
                "x-model-id",
                "x-served-by",
            ],
            max_age=Duration.hours(1),
        )
        auth = lambda_.FunctionUrlAuthType
        url = self.alias.add_function_url(
            auth_type=auth.NONE if is_public else auth.AWS_IAM, cors=cors if origins else None
        )
        if is_public:
            reason = "url_auth=none asks for it; lambda_reserved_concurrency caps what it can cost"
            suppress_finding(url, {"CKV_AWS_258": reason})
        return url

    def _create_alarms(self, prefix: str, slow_ms: float, **dimensions: str) -> list[Alarm]:
        """Create alarms on the alias' calls that have these dimensions."""
        errors = self.metric("Errors", **dimensions)
        share = percent(errors, self.metric("Invocations", **dimensions))
        latency = self.metric("Duration", "p99", **dimensions)
        fails = "the function fails: see its log group"
        slow = "one call in a hundred takes half of the function's timeout"
        return [
            alarm(self, f"{prefix}Errors", share, MAX_FAULT_PERCENT, fails),
            alarm(self, f"{prefix}Latency", latency, slow_ms, slow),
        ]

    def _count(self, name: str, pattern: IFilterPattern, **options: str) -> Metric:
        return count_lines(self, name, logs=self._logs, pattern=pattern, **options)

    def _share(self, name: str, pattern: IFilterPattern, version: str) -> MathExpression:
        """Return the share of a version's calls that log a line of that pattern."""
        lines = self._count(name, pattern, version=version)
        calls = self.metric("Invocations", ExecutedVersion=version)
        return percent(lines.with_(statistic=Stats.SUM), calls)


def _target(name: str) -> IFilterPattern:
    """Return the pattern of the log line for a call that `name` has answered."""
    return FilterPattern.string_value("$.target", "=", name)

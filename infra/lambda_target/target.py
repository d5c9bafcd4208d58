"""The Lambda target: a function of the image, its `live` alias and the alias' URL."""

from collections.abc import Sequence
from typing import Literal

from aws_cdk import Duration
from aws_cdk import aws_lambda as lambda_
from aws_cdk.aws_applicationautoscaling import CfnScalingPolicy
from aws_cdk.aws_cloudwatch import Alarm, MathExpression, Metric, Stats
from aws_cdk.aws_iam import Grant, IGrantable
from aws_cdk.aws_logs import FilterPattern, IFilterPattern
from constructs import Construct, IConstruct, IDependable

from infra.common.access import Network
from infra.common.alarms import MAX_FAULT_PERCENT, MAX_SPILL_PERCENT, PERIOD, alarm, percent
from infra.common.findings import suppress_finding
from infra.common.logs import count_lines, log_group
from infra.image.asset import Image
from infra.lambda_target.forwarding import WAIT_SECONDS, Forwarding
from infra.lambda_target.function import create_function, shift_gradually

# The share of the provisioned executions in use that scaling aims at.
_PROVISIONED_UTILIZATION = 0.7


class LambdaTarget(Construct):
    """Serve the image as a Lambda function, which is billed by the call.

    Callers use `alias` or `url`, never the bare function: a deployment moves both to a new version
    gradually, and back if one of `alarms` goes off. Old versions stay, to go back to by hand.
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
        """`timeout_seconds`: of the function's own answer; a call that is forwarded has more.
        `url_auth`: the URL takes signed calls, unsigned ones too (none), or there is none (off).
        `examiner`: judges a version before traffic reaches it; its alarms stop a rollout, too."""
        super().__init__(scope, construct_id)
        self.memory_mb = memory_mb
        self.on_arm = image.on_arm
        self.provisioned_concurrency = provisioned_concurrency
        self.forwarding = forwarding
        self._logs = log_group(self, "Logs", retention_days=log_retention_days)
        all_seconds = timeout_seconds + (WAIT_SECONDS if forwarding else 0)
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
        self.forwarded_ms: Metric | None = None
        self.spilled: Metric | None = None
        if forwarding:
            forwarding.allow(self, self.function)
            self.forwarded_ms = count_lines(
                self,
                "Forwarded",
                logs=self._logs,
                pattern=_target("sagemaker"),
                value="$.forwardMilliseconds",
            )
            self.spilled = count_lines(
                self, "Spilled", logs=self._logs, pattern=_target("lambda-spill")
            )
        self.alias = self._create_alias(reserved_concurrency)
        self.url = None
        if url_auth != "off":
            self.url = self._create_url(cors_origins, is_public=url_auth == "none")
        self._cold_starts = count_lines(
            self,
            "ColdStarts",
            logs=self._logs,
            # Lambda reports the time of a start in the log, and in no metric.
            pattern=FilterPattern.number_value("$.record.metrics.initDurationMs", ">=", 0),
            value="$.record.metrics.initDurationMs",
        )
        slow_ms = all_seconds * 1000 / 2
        url_alarms = [self._create_url_alarm()] if self.url else []
        refused = "calls are refused: raise the function's or the account's concurrency"
        throttles = alarm(self, "Throttles", self.metric("Throttles"), 0, refused)
        self.alarms = [*self._create_alarms("", slow_ms), *url_alarms, throttles]
        # The new version alone judges a rollout, so that a fix can replace what fails.
        version = self.function.current_version.version
        watched = [
            *self._create_alarms("New", slow_ms, ExecutedVersion=version),
            self._create_fault_alarm(version),
        ]
        more_watched = {"ExaminerAlarms": examiner_alarms} if examiner_alarms else {}
        if forwarding:
            # Not on the way back, which an endpoint that fails must not stop. The alarm of no
            # capacity may ring for a moment beside an endpoint that is new.
            spills = self._create_spill_alarm(version, forwarding.percent)
            alarms = [spills, *forwarding.endpoint.call_alarms]
            more_watched[f"{forwarding.construct_id}Alarms"] = alarms
        self.rollout = shift_gradually(
            self,
            self.function,
            self.alias,
            watched,
            examiner=examiner,
            more_watched=more_watched,
        )

    def grant_invoke(self, grantee: IGrantable) -> Grant:
        """Let `grantee` call the URL, if any, and invoke the alias directly."""
        grant = self.alias.grant_invoke(grantee)
        return grant.combine(self.url.grant_invoke_url(grantee)) if self.url else grant

    def deploy_after(self, dependable: IDependable) -> None:
        """Leave the function as it is until `dependable` has been created or updated."""
        self.function.node.add_dependency(dependable)

    def metric_invocations(self) -> Metric:
        """Count the calls of the alias, those by its URL too."""
        return self.metric("Invocations")

    def metric_latency(self, statistic: str) -> Metric:
        """Measure the time in the function, in ms."""
        return self.metric("Duration", statistic)

    def metric_cold_starts(self) -> Metric:
        """Count the starts that a caller waited for."""
        return self._cold_starts.with_(statistic=Stats.SAMPLE_COUNT)

    def metric_start_duration(self) -> Metric:
        """Sum the time that these starts took, in ms."""
        return self._cold_starts.with_(statistic=Stats.SUM)

    def metric(self, name: str, statistic: str = Stats.SUM, **dimensions: str) -> Metric:
        """Return a metric of the alias; in a rollout, ExecutedVersion tells its versions apart.

        Errors are those of direct calls alone; the URL counts its own.
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
        """Return a sum that AWS publishes for the function, which has this one URL.

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
        # The rest is for the second version that runs during an update.
        most = (reserved_concurrency or 0) - (provisioned or 0)
        if provisioned and most > provisioned:
            scaling = alias.add_auto_scaling(min_capacity=provisioned, max_capacity=most)
            scaling.scale_on_utilization(utilization_target=_PROVISIONED_UTILIZATION)
            self._count_idle_minutes(scaling, alias)
        return alias

    def _count_idle_minutes(self, scaling: IConstruct, alias: lambda_.Alias) -> None:
        """Replace AWS's metric of utilization, which has no data without calls.

        Nothing would scale in then, and all of it would stay billed.
        """
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

    def _create_url(self, cors_origins: Sequence[str], *, is_public: bool) -> lambda_.FunctionUrl:
        cors = lambda_.FunctionUrlCorsOptions(
            allowed_origins=list(cors_origins),
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
            auth_type=auth.NONE if is_public else auth.AWS_IAM, cors=cors if cors_origins else None
        )
        if is_public:
            reason = "url_auth=none asks for it; lambda_reserved_concurrency caps what it can cost"
            suppress_finding(url, {"CKV_AWS_258": reason})
        return url

    def _create_url_alarm(self) -> Alarm:
        share = percent(self.url_metric("Url5xxCount"), self.url_metric("UrlRequestCount"))
        fails = "the function's URL answers 5xx: see its log group"
        return alarm(self, "UrlFaults", share, MAX_FAULT_PERCENT, fails)

    def _create_alarms(self, prefix: str, slow_ms: float, **dimensions: str) -> list[Alarm]:
        """Create alarms on the calls with these dimensions, beside the alias' own."""
        errors = self.metric("Errors", **dimensions)
        share = percent(errors, self.metric("Invocations", **dimensions))
        latency = self.metric("Duration", "p99", **dimensions)
        fails = "the function fails: see its log group"
        slow = "one call in a hundred takes half of the function's timeout"
        return [
            alarm(self, f"{prefix}Errors", share, MAX_FAULT_PERCENT, fails),
            alarm(self, f"{prefix}Latency", latency, slow_ms, slow),
        ]

    def _create_fault_alarm(self, version: str) -> Alarm:
        """Create an alarm on the 5xx in a version's log: the URL's metric has no versions."""
        faults = self._share("Faults", FilterPattern.number_value("$.status", ">=", 500), version)
        fails = "the new version answers 5xx: see the function's log group"
        return alarm(self, "NewFaults", faults, MAX_FAULT_PERCENT, fails)

    def _create_spill_alarm(self, version: str, forward_percent: int) -> Alarm:
        spills = self._share("NewSpilled", _target("lambda-spill"), version)
        above = MAX_SPILL_PERCENT * forward_percent / 100
        refused = "the endpoint answers less than half of what the new version forwards"
        return alarm(self, "NewSpills", spills, above, refused)

    def _share(self, name: str, pattern: IFilterPattern, version: str) -> MathExpression:
        """Return the share of a version's calls that log a line of that pattern."""
        lines = count_lines(self, name, logs=self._logs, pattern=pattern, version=version)
        calls = self.metric("Invocations", ExecutedVersion=version)
        return percent(lines.with_(statistic=Stats.SUM), calls)


def _target(name: str) -> IFilterPattern:
    """Return the pattern of the function's line about a call that `name` has answered."""
    return FilterPattern.string_value("$.target", "=", name)

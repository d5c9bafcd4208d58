"""The Lambda target: a function of the image, its `live` alias and the alias' URL."""

from collections.abc import Sequence
from typing import Literal

from aws_cdk import aws_lambda as lambda_
from aws_cdk.aws_cloudwatch import Alarm, MathExpression, Metric, Stats
from aws_cdk.aws_iam import Policy, PolicyStatement
from aws_cdk.aws_logs import FilterPattern, IFilterPattern
from constructs import Construct

from infra.common.access import Network
from infra.common.alarms import (
    MAX_FAULT_PERCENT,
    MAX_SPILL_PERCENT,
    PERIOD,
    alarm,
    count_lines,
    log_group,
    percent,
)
from infra.config.context import SYNCHRONOUS_TIMEOUT_SECONDS
from infra.image.asset import Image
from infra.lambda_target.function import (
    create_alias,
    create_function,
    create_url,
    shift_gradually,
)
from infra.sagemaker_target.target import SageMakerTarget

DOORMAN_MEMORY_MB = 512  # a doorman is a function that forwards every call and loads no model


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
        memory_mb: int,
        ephemeral_mb: int,
        timeout_seconds: int,
        reserved_concurrency: int | None,
        provisioned_concurrency: int | None,
        url_auth: Literal["iam", "none", "off"],
        cors_origins: Sequence[str],
        log_retention_days: int,
        examiner: lambda_.IFunction | None,
        examiner_alarms: Sequence[Alarm],
        forward_to: SageMakerTarget | None,
        forward_percent: int,
        spill: bool,
    ) -> None:
        """Create the target. `timeout_seconds` limits the function's own answer.

        `examiner` checks a version before it gets traffic; `examiner_alarms` also stop a rollout.
        The endpoint `forward_to` answers a share of the calls; with `spill`, the function answers
        those that the endpoint does not.
        """
        super().__init__(scope, construct_id)
        self.memory_mb, self.on_arm = memory_mb, image.on_arm
        self.provisioned_concurrency = provisioned_concurrency
        self.forward_environment: dict[str, str] = {}
        if forward_to:
            self.forward_environment = {
                "FORWARD_ENDPOINT": forward_to.endpoint_name,
                "FORWARD_PERCENT": str(forward_percent),
                **({"FORWARD_SPILL": "1"} if spill else {}),
            }
        self._logs = logs = log_group(self, retention_days=log_retention_days)
        # A function that ended before the endpoint would lose the endpoint's answer.
        all_seconds = timeout_seconds + (SYNCHRONOUS_TIMEOUT_SECONDS if forward_to else 0)
        self.function = create_function(
            self,
            image=image,
            network=network,
            logs=logs,
            memory_mb=memory_mb,
            ephemeral_mb=ephemeral_mb,
            timeout_seconds=all_seconds,
            reserved_concurrency=reserved_concurrency,
            environment=self.forward_environment,
        )
        self.forwarded_ms = self.spilled = None
        if forward_to:
            self._allow_forwarding(forward_to)
            milliseconds, forwarded = "$.forwardMilliseconds", _target("sagemaker")
            self.forwarded_ms = count_lines(self, "Forwarded", logs, forwarded, milliseconds)
            self.spilled = count_lines(self, "Spilled", logs, _target("lambda-spill"))
        self.alias = create_alias(
            self, self.function, provisioned_concurrency, reserved_concurrency
        )
        self.url = None
        if url_auth != "off":
            is_public = url_auth == "none"
            self.url = create_url(self.alias, is_public=is_public, cors_origins=cors_origins)
        # Lambda reports the duration of a cold start in the log only.
        init_ms = "$.record.metrics.initDurationMs"
        has_init_ms = FilterPattern.number_value(init_ms, ">=", 0)
        self._cold_starts = count_lines(self, "ColdStarts", logs, has_init_ms, init_ms)
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
        if forward_to:
            # A failing endpoint must not stop the way back, so only a version that forwards has
            # these alarms. NoCapacity is left out: it may go off while an endpoint is new.
            above = MAX_SPILL_PERCENT * forward_percent / 100
            share = self._share("NewSpilled", _target("lambda-spill"), version)
            refused = "the endpoint answers less than half of what the new version forwards"
            spills = alarm(self, "NewSpills", share, above, refused)
            name = f"Forwards{forward_to.endpoint_name[-8:]}Alarms"
            more_watched[name] = [spills, *forward_to.call_alarms]
        self.rollout = shift_gradually(
            self, self.function, self.alias, watched, examiner=examiner, more_watched=more_watched
        )

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
        metric = self.alias.metric(name, statistic=statistic, period=PERIOD)
        return metric.with_(dimensions_map={**(metric.dimensions or {}), **dimensions})

    def url_metric(self, name: str) -> Metric:
        """Return a metric of the URL, which AWS publishes for the function.

        https://docs.aws.amazon.com/lambda/latest/dg/urls-monitoring.html
        """
        return self.function.metric(name, statistic=Stats.SUM, period=PERIOD)

    def _allow_forwarding(self, target: SageMakerTarget) -> None:
        """Let the function invoke the endpoint, which is created before it and deleted after it.

        CloudFormation creates in the order of DependsOn: endpoint and permission, function,
        version, alias. On the way back, it first updates everything else and then deletes what the
        template no longer has, so the alias leaves the forwarding version before the endpoint is
        deleted. A rollback and `cdk destroy` delete in reverse order: alias and function first.
        """
        assert self.function.role  # noqa: S101 - narrows the type
        invoke = PolicyStatement(actions=["sagemaker:InvokeEndpoint"], resources=[target.arn])
        # The id contains the endpoint's, because another endpoint gets another policy.
        name = f"Forwards{target.endpoint_name[-8:]}"
        policy = Policy(self, name, roles=[self.function.role], statements=[invoke])
        self.function.node.add_dependency(target.endpoint, policy)

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

    def _share(self, name: str, pattern: IFilterPattern, version: str) -> MathExpression:
        """Return the share of a version's calls that log a line of that pattern."""
        lines = count_lines(self, name, self._logs, pattern, version=version)
        calls = self.metric("Invocations", ExecutedVersion=version)
        return percent(lines.with_(statistic=Stats.SUM), calls)


def _target(name: str) -> IFilterPattern:
    """Return the pattern of the log line for a call that `name` has answered."""
    return FilterPattern.string_value("$.target", "=", name)

"""The Lambda target: a function of the image, its `live` alias and the alias' URL."""

from aws_cdk import Annotations, Duration, Stack
from aws_cdk.aws_cloudwatch import Alarm, Metric, Stats
from aws_cdk.aws_iam import Grant, IGrantable
from aws_cdk.aws_lambda import (
    Alias,
    FunctionUrl,
    FunctionUrlAuthType,
    FunctionUrlCorsOptions,
    HttpMethod,
)
from aws_cdk.aws_logs import FilterPattern, MetricFilter
from constructs import Construct, IDependable

from infra import alarms
from infra.config import Config
from infra.explained import explain
from infra.image import Image
from infra.lambda_function import create_function
from infra.lambda_rollout import shift_gradually
from infra.logs import log_group

# The share of the provisioned executions in use that scaling aims at.
_PROVISIONED_UTILIZATION = 0.7


class LambdaTarget(Construct):
    """Serves the image as a Lambda function, which is billed by the call.

    Callers use `alias` or `url`, never the bare function: a deployment moves both from one
    published version to the next, gradually, and back where `alarms` ring. Versions outlive the
    deployment that replaces them, so that the alias can be put back by hand.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, image: Image, config: Config
    ) -> None:
        super().__init__(scope, construct_id)
        self._logs = log_group(self, "Logs", retention_days=config.log_retention_days)
        self._function = create_function(self, image=image, config=config, logs=self._logs)
        self.alias = self._create_alias(config)
        self.url = self._create_url(config)
        self._cold_starts = self._count_cold_starts()
        slow = Duration.seconds(config.lambda_timeout_seconds).to_milliseconds() / 2
        url_faults = self._create_url_alarm()
        self.alarms = [
            *self._create_alarms("", slow),
            url_faults,
            alarms.alarm(
                self,
                "Throttles",
                self.metric_throttles(),
                above=0,
                description="calls are refused: raise the function's or the account's concurrency",
            ),
        ]
        # A rollout is judged by the new version, so that a fix can replace what fails. The URL's
        # metrics do not tell versions apart.
        version = self._function.current_version.version
        watched = [*self._create_alarms("New", slow, ExecutedVersion=version), url_faults]
        shift_gradually(self, self._function, self.alias, watched)

    def grant_invoke(self, grantee: IGrantable) -> Grant:
        """Let `grantee` call the URL and invoke the alias directly.

        A call of the URL needs lambda:InvokeFunctionUrl and lambda:InvokeFunction.
        https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
        """
        return self.url.grant_invoke_url(grantee).combine(self.alias.grant_invoke(grantee))

    def deploy_after(self, dependable: IDependable) -> None:
        """Leave the function as it is until `dependable` has been created or updated."""
        self._function.node.add_dependency(dependable)

    def metric_invocations(self) -> Metric:
        """Calls of the alias, by its URL too."""
        return self._metric("Invocations", Stats.SUM)

    def metric_latency(self, statistic: str) -> Metric:
        """Time in the function, ms."""
        return self._metric("Duration", statistic)

    def metric_errors(self) -> Metric:
        """Faults of direct calls. Lambda does not count those of the URL as Errors."""
        return self._metric("Errors", Stats.SUM)

    def metric_url_faults(self) -> Metric:
        """Answers of 5xx by the URL."""
        return self._url_metric("Url5xxCount")

    def metric_throttles(self) -> Metric:
        """Calls that were refused for want of concurrency."""
        return self._metric("Throttles", Stats.SUM)

    def metric_concurrency(self) -> Metric:
        """The most executions at once."""
        return self._metric("ConcurrentExecutions", Stats.MAXIMUM)

    def metric_cold_starts(self, statistic: str = Stats.SAMPLE_COUNT) -> Metric:
        """How many starts a caller waited for; with another statistic, their length in ms."""
        return self._cold_starts.metric(statistic=statistic, period=alarms.PERIOD)

    def _metric(self, name: str, statistic: str, **dimensions: str) -> Metric:
        """Of the alias; during a rollout, ExecutedVersion tells its two versions apart."""
        function_name = self._function.function_name
        return Metric(
            namespace="AWS/Lambda",
            metric_name=name,
            dimensions_map={
                "FunctionName": function_name,
                "Resource": f"{function_name}:{self.alias.alias_name}",
                **dimensions,
            },
            statistic=statistic,
            period=alarms.PERIOD,
        )

    def _url_metric(self, name: str) -> Metric:
        """Of the function, which has this one URL.

        https://docs.aws.amazon.com/lambda/latest/dg/urls-monitoring.html
        """
        return self._function.metric(name, statistic=Stats.SUM, period=alarms.PERIOD)

    def _create_alias(self, config: Config) -> Alias:
        provisioned = config.lambda_provisioned_concurrency
        alias = Alias(
            self,
            "Live",
            alias_name="live",
            version=self._function.current_version,
            provisioned_concurrent_executions=provisioned,
        )
        # What is left for the second version that runs during an update.
        most = (config.lambda_reserved_concurrency or 0) - (provisioned or 0)
        if provisioned and most > provisioned:
            scaling = alias.add_auto_scaling(min_capacity=provisioned, max_capacity=most)
            scaling.scale_on_utilization(utilization_target=_PROVISIONED_UTILIZATION)
        return alias

    def _create_url(self, config: Config) -> FunctionUrl:
        if config.url_auth == "none":
            Annotations.of(self).add_warning_v2(
                "one-image:PublicUrl",
                "url_auth=none: everybody can call the function's URL at this account's cost, "
                f"{config.lambda_reserved_concurrency} at once",
            )
        cors = FunctionUrlCorsOptions(
            allowed_origins=list(config.url_cors_origins),
            allowed_methods=[HttpMethod.GET, HttpMethod.POST],
            allowed_headers=[
                "authorization",
                "content-type",
                "x-amz-content-sha256",
                "x-amz-date",
                "x-amz-security-token",
            ],
            exposed_headers=["x-amzn-sagemaker-custom-attributes"],
            max_age=Duration.hours(1),
        )
        url = self.alias.add_function_url(
            auth_type=FunctionUrlAuthType.NONE
            if config.url_auth == "none"
            else FunctionUrlAuthType.AWS_IAM,
            cors=cors if config.url_cors_origins else None,
        )
        if config.url_auth == "none":
            reason = "url_auth=none asks for it; lambda_reserved_concurrency caps what it can cost"
            explain(url, {"CKV_AWS_258": reason})
        return url

    def _count_cold_starts(self) -> MetricFilter:
        """Lambda has no metric of them; its report of each call has the time of its start."""
        return MetricFilter(
            self,
            "ColdStarts",
            log_group=self._logs,
            filter_pattern=FilterPattern.number_value("$.record.metrics.initDurationMs", ">=", 0),
            metric_namespace=Stack.of(self).stack_name,
            metric_name="ColdStarts",
            metric_value="$.record.metrics.initDurationMs",
        )

    def _create_alarms(self, prefix: str, slow_ms: float, **dimensions: str) -> list[Alarm]:
        """On the calls that have these dimensions, beside the alias' own."""
        errors = self._metric("Errors", Stats.SUM, **dimensions)
        calls = self._metric("Invocations", Stats.SUM, **dimensions)
        return [
            alarms.alarm(
                self,
                f"{prefix}Errors",
                alarms.percent(errors, calls),
                above=alarms.MAX_FAULT_PERCENT,
                description="the function fails: see its log group",
            ),
            alarms.alarm(
                self,
                f"{prefix}Latency",
                self._metric("Duration", "p99", **dimensions),
                above=slow_ms,
                description="one call in a hundred takes half of lambda_timeout_seconds",
            ),
        ]

    def _create_url_alarm(self) -> Alarm:
        return alarms.alarm(
            self,
            "UrlFaults",
            alarms.percent(self.metric_url_faults(), self._url_metric("UrlRequestCount")),
            above=alarms.MAX_FAULT_PERCENT,
            description="the function's URL answers 5xx: see its log group",
        )

"""The examiner: a function that sends test requests to the targets and stops a wrong update."""

from collections.abc import Mapping, Sequence

from aws_cdk import Aws, CustomResource, Duration, Stack
from aws_cdk.aws_cloudwatch import Alarm, Metric, Stats
from aws_cdk.aws_iam import Policy, PolicyStatement
from aws_cdk.aws_logs import FilterPattern, ILogGroup
from aws_cdk.aws_scheduler import CfnSchedule
from constructs import Construct, IDependable

from infra.common.access import Network, allow, service_role
from infra.common.alarms import alarm, alarm_of_none, count_lines, log_group
from infra.common.findings import resource_of
from infra.image.asset import Image
from infra.lambda_target.function import create_function
from infra.lambda_target.target import LambdaTarget
from infra.sagemaker_target.target import SageMakerTarget

# The examiner answers before its own timeout. CloudFormation waits a little longer than that.
_TIMEOUT_SECONDS = 600
_SERVICE_TIMEOUT = Duration.seconds(660)


class Examiner(Construct):
    """Compare the targets' answers with the image's own, in another function of the image."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        image: Image,
        memory_mb: int,
        ephemeral_mb: int,
        log_retention_days: int,
        every_hour: bool,
    ) -> None:
        super().__init__(scope, construct_id)
        self._image = image
        logs = log_group(self, retention_days=log_retention_days)
        self.function = create_function(
            self,
            image=image,
            network=Network(),  # it needs no VPC
            logs=logs,
            memory_mb=memory_mb,
            ephemeral_mb=ephemeral_mb,
            timeout_seconds=_TIMEOUT_SECONDS,
            command="serving.examiner.handler.handler",
        )
        self.function.add_environment("EXAMINER_STACK", Aws.STACK_ID)
        actions = ["cloudformation:DescribeStacks", "cloudformation:DescribeStackResource"]
        statement = PolicyStatement(actions=actions, resources=[Aws.STACK_ID])
        self.function.add_to_role_policy(statement)
        self.examined: Metric | None = None
        self.alarms = self._create_alarms(logs) if every_hour else []

    def examine(self, on_lambda: LambdaTarget | None, on_sagemaker: SageMakerTarget | None) -> None:
        """Examine the endpoint before the function changes, and its version before traffic."""
        if on_sagemaker:
            examined = self._examine_endpoint(on_sagemaker)
            if on_lambda:
                on_lambda.function.node.add_dependency(examined)
        if on_lambda:
            self._examine_versions(on_lambda, on_sagemaker)
        if on_lambda and on_sagemaker and self.alarms:
            self._create_schedule({"Alias": on_lambda.alias.function_arn, **_about(on_sagemaker)})

    def _create_alarms(self, logs: ILogGroup) -> list[Alarm]:
        """Create an alarm on answers that differ, and one on three hours without an exam.

        The first one stays in alarm until an hourly exam finds no difference.
        """
        by_schedule = FilterPattern.string_value("$.trigger", "=", "Schedule")
        is_exam = FilterPattern.string_value("$.message", "=", "exam")
        skews = count_lines(self, "Skew", logs, by_schedule, "$.skews", suffix="Filter")
        exams = count_lines(self, "Examined", logs, is_exam, "$.endpointCalls", suffix="Filter")
        hour = Duration.hours(1)
        skews = skews.with_(statistic=Stats.MAXIMUM, period=hour)
        # AWS includes the examiner's calls in the endpoint's calls.
        self.examined = exams.with_(statistic=Stats.SUM, period=hour)
        differs = "a target does not answer as its image does: see the examiner's log"
        missing = "no exam for three hours, which looks like no skew: see its log"
        return [
            alarm(self, "Skew", skews, 0, differs, at_once=True),
            alarm_of_none(self, "Unexamined", self.examined, 3, missing),
        ]

    def _create_schedule(self, wanted: Mapping[str, str]) -> None:
        """Let EventBridge Scheduler call the examiner every hour with `wanted`."""
        arn = self.function.function_arn
        role = service_role(self, "ScheduleRole", "scheduler.amazonaws.com")
        call = PolicyStatement(actions=["lambda:InvokeFunction"], resources=[arn])
        policy = Policy(self, "SchedulePolicy", roles=[role], statements=[call])
        schedule = CfnSchedule(
            self,
            "EveryHour",
            schedule_expression="rate(1 hour)",
            flexible_time_window=CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
            target=CfnSchedule.TargetProperty(
                arn=arn,
                role_arn=role.role_arn,
                input=Stack.of(self).to_json_string(wanted),
                retry_policy=CfnSchedule.RetryPolicyProperty(
                    maximum_event_age_in_seconds=900, maximum_retry_attempts=2
                ),
            ),
        )
        schedule.node.add_dependency(policy)

    def _examine_endpoint(self, target: SageMakerTarget) -> CustomResource:
        """Return a resource that fails unless the endpoint runs its config and answers correctly.

        A change of the endpoint config, the image or the model starts another exam.
        """
        actions = ["DescribeEndpoint"] if target.work else ["DescribeEndpoint", "InvokeEndpoint"]
        statement = PolicyStatement(
            actions=[f"sagemaker:{action}" for action in actions], resources=[target.arn]
        )
        # The id contains the endpoint's, because another endpoint gets another policy.
        policy = self._policy(f"Asks{target.endpoint_name[-8:]}", statement)
        image = {
            "Image": self._image.asset.image_tag,
            "Model": self._image.environment.get("MODEL_ID", ""),
        }
        properties = {"Target": "endpoint", **_about(target), **image}
        return self._exam("Endpoint", properties, after=[target.endpoint, policy])

    def _examine_versions(self, target: LambdaTarget, endpoint: SageMakerTarget | None) -> None:
        """Examine each version of the function before its alias points to it.

        CodeDeploy calls the examiner for every version but the first, which it does not deploy.
        """
        if endpoint and target.forward_environment:
            for name, value in target.forward_environment.items():
                self.function.add_environment(name, value)
            self.function.add_environment("EXAMINER_COMPARE", _about(endpoint)["Compare"])
        version = target.function.current_version
        # With a reference to the version, the examiner and the endpoint's exam would wait for it.
        self.function.add_environment("EXAMINER_VERSION", resource_of(version).logical_id)
        function, versions = target.function.function_arn, f"{target.function.function_arn}:*"
        group = target.rollout.deployment_group_arn
        policy = self._policy("Versions")
        reason = "all versions of the one function: the next one has no number yet"
        allow(policy, ["lambda:InvokeFunction"], versions, wildcard=reason)
        for action, resources in {
            "lambda:GetFunction": [versions, self.function.function_arn],
            "lambda:GetAlias": [function, versions],
            "codedeploy:PutLifecycleEventHookExecutionStatus": [group],
        }.items():
            policy.add_statements(PolicyStatement(actions=[action], resources=resources))
        first = self._exam("FirstVersion", {"Target": "version"}, after=[version, policy])
        target.alias.node.add_dependency(first, policy)

    def _policy(self, construct_id: str, *statements: PolicyStatement) -> Policy:
        """Create a policy for which the function does not wait."""
        assert self.function.role  # noqa: S101 - narrows the type
        return Policy(self, construct_id, roles=[self.function.role], statements=[*statements])

    def _exam(
        self, construct_id: str, properties: Mapping[str, str], *, after: Sequence[IDependable]
    ) -> CustomResource:
        resource = CustomResource(
            self,
            construct_id,
            resource_type="Custom::Exam",
            service_token=self.function.function_arn,
            service_timeout=_SERVICE_TIMEOUT,
            properties=properties,
        )
        resource.node.add_dependency(*after)
        return resource


def _about(target: SageMakerTarget) -> dict[str, str]:
    """Return what the examiner's handler needs to know about an endpoint."""
    # A GPU adds in another order, so its answers differ in the last digits.
    compare = "identity" if target.capacity.has_gpu else "answers"
    return {
        "Endpoint": target.endpoint_name,
        "EndpointConfig": target.config_name,
        "Compare": "nothing" if target.work else compare,
    }

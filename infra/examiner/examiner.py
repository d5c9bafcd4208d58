"""The examiner: a function that asks the targets an exam, and stops an update that differs."""

from collections.abc import Mapping, Sequence

from aws_cdk import Aws, CustomResource, Duration, Stack
from aws_cdk.aws_cloudwatch import Alarm
from aws_cdk.aws_iam import Policy, PolicyStatement
from constructs import Construct, IDependable

from infra.common.access import Network
from infra.common.findings import resource_of, suppress_finding
from infra.common.logs import log_group
from infra.examiner.every_hour import create_alarms, create_schedule, metric_examined
from infra.image.asset import Image
from infra.lambda_target.function import create_function
from infra.lambda_target.target import LambdaTarget
from infra.sagemaker_target.capacity import Instances
from infra.sagemaker_target.target import SageMakerTarget

_HANDLER = "serving.examiner.handler.handler"
# It answers before its own end, and CloudFormation waits a little longer than that.
_TIMEOUT_SECONDS = 600
_SERVICE_TIMEOUT = Duration.seconds(660)


class Examiner(Construct):
    """Compare the targets' answers with the image's own, in one more function of the image.

    It has the variables of the function that it examines, and some of its own.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        image: Image,
        memory_mb: int = 1769,
        ephemeral_mb: int = 512,
        log_retention_days: int = 30,
        every_hour: bool = False,
    ) -> None:
        """`every_hour`: there will be a schedule, for which there are alarms."""
        super().__init__(scope, construct_id)
        self._image = image
        logs = log_group(self, "Logs", retention_days=log_retention_days)
        self.function = create_function(
            self,
            image=image,
            network=Network(),
            logs=logs,
            memory_mb=memory_mb,
            ephemeral_mb=ephemeral_mb,
            timeout_seconds=_TIMEOUT_SECONDS,
            command=_HANDLER,
        )
        self.function.add_environment("EXAMINER_STACK", Aws.STACK_ID)
        actions = ("DescribeStacks", "DescribeStackResource")
        self.function.add_to_role_policy(
            PolicyStatement(
                actions=[f"cloudformation:{action}" for action in actions],
                resources=[Aws.STACK_ID],
            )
        )
        self.alarms: Sequence[Alarm] = create_alarms(self, logs) if every_hour else ()

    def examine_endpoint(self, target: SageMakerTarget) -> CustomResource:
        """Return a resource that fails unless the endpoint runs its config and answers rightly.

        It changes with the endpoint config, the image and the model, and then examines again.
        """
        actions = ["DescribeEndpoint"] if target.work else ["DescribeEndpoint", "InvokeEndpoint"]
        statement = PolicyStatement(
            actions=[f"sagemaker:{action}" for action in actions], resources=[target.arn]
        )
        # Named like the endpoint, for another one gets another policy.
        policy = self._policy(f"Asks{target.endpoint_name[-8:]}", statement)
        image = {
            "Image": self._image.asset.image_tag,
            "Model": self._image.environment.get("MODEL_ID", ""),
        }
        properties = {"Target": "endpoint", **_about(target), **image}
        return self._exam("Endpoint", properties, after=[target.endpoint, policy])

    def examine_versions(self, target: LambdaTarget) -> None:
        """Examine each version of the function before its alias leads to it.

        CodeDeploy calls the examiner, except for the first version, which it does not deploy.
        """
        if forwarding := target.forwarding:
            compare = _about(forwarding.endpoint)["Compare"]
            for name, value in {**forwarding.environment, "EXAMINER_COMPARE": compare}.items():
                self.function.add_environment(name, value)
        version = target.function.current_version
        # The logical id alone: naming the version would let the examiner, and so the exam of the
        # endpoint, wait for the function.
        new_version = resource_of(version).logical_id
        self.function.add_environment("EXAMINER_VERSION", new_version)
        function, versions = target.function.function_arn, f"{target.function.function_arn}:*"
        policy = self._policy("Versions")
        for action, resources in {
            "lambda:InvokeFunction": [versions],
            "lambda:GetFunction": [versions, self.function.function_arn],
            "lambda:GetAlias": [function, versions],
            "codedeploy:PutLifecycleEventHookExecutionStatus": [
                target.rollout.deployment_group_arn
            ],
        }.items():
            policy.add_statements(PolicyStatement(actions=[action], resources=resources))
        name = Stack.of(self).get_logical_id(resource_of(target.function))
        reason = "all versions of the one function: the next one has no number yet"
        suppress_finding(policy, {f"AwsSolutions-IAM5[Resource::<{name}.Arn>:*]": reason})
        first = self._exam("FirstVersion", {"Target": "version"}, after=[version, policy])
        target.alias.node.add_dependency(first, policy)

    def examine_every_hour(self, on_lambda: LambdaTarget, on_sagemaker: SageMakerTarget) -> None:
        """Examine what serves, even if nothing is deployed."""
        wanted = {"Alias": on_lambda.alias.function_arn, **_about(on_sagemaker)}
        create_schedule(self, self.function, wanted)
        on_sagemaker.leave_out(metric_examined(self))

    def _policy(self, construct_id: str, *statements: PolicyStatement) -> Policy:
        """Create a policy that the function does not wait for, other than its role's own."""
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
    """Return what the examiner's handler needs to know of an endpoint."""
    has_gpu = isinstance(target.capacity, Instances) and target.capacity.has_gpu
    return {
        "Endpoint": target.endpoint_name,
        "EndpointConfig": target.config_name,
        # A GPU adds in another order.
        "Compare": "nothing" if target.work else "identity" if has_gpu else "answers",
    }

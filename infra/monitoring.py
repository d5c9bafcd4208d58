"""Who hears of alarms, and one dashboard with both targets side by side."""

from aws_cdk import Duration
from aws_cdk.aws_cloudwatch import Dashboard
from aws_cdk.aws_cloudwatch_actions import SnsAction
from aws_cdk.aws_iam import PolicyStatement, ServicePrincipal
from aws_cdk.aws_sns import Topic
from aws_cdk.aws_sns_subscriptions import EmailSubscription
from constructs import Construct

from infra.config import Config
from infra.dashboard import lambda_column, sagemaker_column
from infra.explained import explain
from infra.lambda_target import LambdaTarget
from infra.sagemaker_target import SageMakerTarget


class Monitoring(Construct):
    """Watches the targets that are handed in; what each measures is its own business."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        on_lambda: LambdaTarget | None,
        on_sagemaker: SageMakerTarget | None,
        config: Config,
    ) -> None:
        super().__init__(scope, construct_id)
        targets = [target for target in (on_lambda, on_sagemaker) if target]
        if config.alarm_email:
            topic = Topic(self, "Alarms", enforce_ssl=True)
            reason = "AWS's own key is closed to alarms, and one of ours is billed by the month"
            explain(topic, {"CKV_AWS_26": reason})
            topic.add_subscription(EmailSubscription(config.alarm_email))
            alarms = [alarm for target in targets for alarm in target.alarms]
            # The policy of enforce_ssl takes the place of AWS's own, which lets alarms publish.
            topic.add_to_resource_policy(
                PolicyStatement(
                    principals=[ServicePrincipal("cloudwatch.amazonaws.com")],
                    actions=["sns:Publish"],
                    resources=[topic.topic_arn],
                    conditions={
                        "ArnEquals": {"aws:SourceArn": [alarm.alarm_arn for alarm in alarms]}
                    },
                )
            )
            for alarm in alarms:
                alarm.add_alarm_action(SnsAction(topic))
                alarm.add_ok_action(SnsAction(topic))
        columns = []
        if on_lambda:
            columns.append(lambda_column(on_lambda, config))
        if on_sagemaker:
            columns.append(sagemaker_column(on_sagemaker, config))
        self.dashboard = Dashboard(self, "Dashboard", default_interval=Duration.hours(3))
        for row in zip(*columns):
            self.dashboard.add_widgets(*row)

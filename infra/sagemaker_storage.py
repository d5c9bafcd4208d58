"""What an endpoint keeps in S3: asynchronous requests and answers, captured traffic."""

from aws_cdk import Duration, RemovalPolicy
from aws_cdk.aws_iam import IGrantable, IRole
from aws_cdk.aws_s3 import BlockPublicAccess, Bucket, BucketEncryption, LifecycleRule
from aws_cdk.aws_sagemaker import CfnEndpointConfig
from aws_cdk.aws_sns import Topic
from constructs import Construct

KEPT_FOR = Duration.days(30)


def _bucket(scope: Construct) -> Bucket:
    """Closed, encrypted, and emptied by time; it outlives the stack, since data may be in it."""
    return Bucket(
        scope,
        "Bucket",
        encryption=BucketEncryption.S3_MANAGED,
        block_public_access=BlockPublicAccess.BLOCK_ALL,
        enforce_ssl=True,
        lifecycle_rules=[
            LifecycleRule(expiration=KEPT_FOR, abort_incomplete_multipart_upload_after=KEPT_FOR)
        ],
        removal_policy=RemovalPolicy.RETAIN,
    )


class AsyncWork(Construct):
    """The bucket of requests (`input/`) and answers (`output/`, `failure/`), and who is told."""

    def __init__(self, scope: Construct, construct_id: str, *, role: IRole) -> None:
        super().__init__(scope, construct_id)
        self.bucket = _bucket(self)
        self.answered = Topic(self, "Answered", enforce_ssl=True)
        self.failed = Topic(self, "Failed", enforce_ssl=True)
        self.bucket.grant_read(role, "input/*")
        self.bucket.grant_put(role, "output/*")
        self.bucket.grant_put(role, "failure/*")
        self.answered.grant_publish(role)
        self.failed.grant_publish(role)

    def grant_use(self, grantee: IGrantable) -> None:
        """Let `grantee` put requests and read answers."""
        self.bucket.grant_put(grantee, "input/*")
        self.bucket.grant_read(grantee, "output/*")
        self.bucket.grant_read(grantee, "failure/*")

    def config(self) -> CfnEndpointConfig.AsyncInferenceConfigProperty:
        """For the endpoint config."""
        return CfnEndpointConfig.AsyncInferenceConfigProperty(
            output_config=CfnEndpointConfig.AsyncInferenceOutputConfigProperty(
                s3_output_path=self.bucket.s3_url_for_object("output"),
                s3_failure_path=self.bucket.s3_url_for_object("failure"),
                notification_config=CfnEndpointConfig.AsyncInferenceNotificationConfigProperty(
                    success_topic=self.answered.topic_arn, error_topic=self.failed.topic_arn
                ),
            )
        )


class CapturedTraffic(Construct):
    """The bucket of a share of the requests and answers."""

    def __init__(self, scope: Construct, construct_id: str, *, role: IRole) -> None:
        super().__init__(scope, construct_id)
        self.bucket = _bucket(self)
        self.bucket.grant_put(role, "capture/*")

    def config(self, percent: int) -> CfnEndpointConfig.DataCaptureConfigProperty:
        """For the endpoint config."""
        return CfnEndpointConfig.DataCaptureConfigProperty(
            enable_capture=True,
            initial_sampling_percentage=percent,
            destination_s3_uri=self.bucket.s3_url_for_object("capture"),
            capture_options=[
                CfnEndpointConfig.CaptureOptionProperty(capture_mode="Input"),
                CfnEndpointConfig.CaptureOptionProperty(capture_mode="Output"),
            ],
            # As text; anything else, an image, is kept in base64.
            capture_content_type_header=CfnEndpointConfig.CaptureContentTypeHeaderProperty(
                json_content_types=["application/json", "application/jsonlines"]
            ),
        )

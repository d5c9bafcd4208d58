"""Buckets of an endpoint, for asynchronous requests and answers or for captured traffic."""

from collections.abc import Sequence

from aws_cdk import Duration, RemovalPolicy
from aws_cdk.aws_iam import IRole, Policy
from aws_cdk.aws_s3 import BlockPublicAccess, Bucket, BucketEncryption, LifecycleRule
from aws_cdk.aws_sagemaker import CfnEndpointConfig
from aws_cdk.aws_sns import Topic
from constructs import Construct

from infra.common.access import allow
from infra.common.findings import suppress_finding

KEPT_FOR = Duration.days(30)

# https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-create-endpoint-prerequisites.html
_WRITE = ("s3:PutObject", "s3:AbortMultipartUpload")


def _bucket(scope: Construct) -> Bucket:
    """Create a private, encrypted bucket that outlives the stack, and whose objects expire."""
    bucket = Bucket(
        scope,
        "Bucket",
        encryption=BucketEncryption.S3_MANAGED,
        block_public_access=BlockPublicAccess.BLOCK_ALL,
        enforce_ssl=True,
        lifecycle_rules=[
            LifecycleRule(expiration=KEPT_FOR, abort_incomplete_multipart_upload_after=KEPT_FOR)
        ],
        removal_policy=RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
    )
    no_log = "a log is another bucket, which asks for the next; CloudTrail can log its data events"
    no_version = "an object is written once, and a version would outlive its expiry"
    reasons = {"AwsSolutions-S1": no_log, "CKV_AWS_18": no_log, "CKV_AWS_21": no_version}
    suppress_finding(bucket, reasons)
    return bucket


def _policy(scope: Construct, role: IRole, bucket: Bucket, **grants: Sequence[str]) -> Policy:
    """Let `role` do only ACTIONS on FOLDER for each FOLDER=ACTIONS, without wildcard actions."""
    policy = Policy(scope, "Access", roles=[role])
    reason = "every object of the folder; nobody knows their names beforehand"
    for folder, actions in grants.items():
        allow(policy, actions, bucket.arn_for_objects(f"{folder}/*"), wildcard=reason)
    return policy


class AsyncWork(Construct):
    """Store requests (`input/`) and answers (`output/`, `failure/`), and notify two topics."""

    def __init__(self, scope: Construct, construct_id: str, *, role: IRole) -> None:
        super().__init__(scope, construct_id)
        self.bucket = _bucket(self)
        self.answered = Topic(self, "Answered", enforce_ssl=True)
        self.failed = Topic(self, "Failed", enforce_ssl=True)
        read = ["s3:GetObject"]
        self.policy = _policy(self, role, self.bucket, input=read, output=_WRITE, failure=_WRITE)
        for topic in (self.answered, self.failed):
            allow(self.policy, ["sns:Publish"], topic.topic_arn)
            reason = "a message says where a request or an answer is and holds neither"
            suppress_finding(topic, {"CKV_AWS_26": reason})
        self.config = CfnEndpointConfig.AsyncInferenceConfigProperty(
            output_config=CfnEndpointConfig.AsyncInferenceOutputConfigProperty(
                s3_output_path=self.bucket.s3_url_for_object("output"),
                s3_failure_path=self.bucket.s3_url_for_object("failure"),
                notification_config=CfnEndpointConfig.AsyncInferenceNotificationConfigProperty(
                    success_topic=self.answered.topic_arn, error_topic=self.failed.topic_arn
                ),
            )
        )


def capture_traffic(
    parent: Construct, role: IRole, percent: int
) -> tuple[CfnEndpointConfig.DataCaptureConfigProperty, Policy]:
    """Store a share of the requests and answers, which needs the returned policy."""
    scope = Construct(parent, "Capture")
    bucket = _bucket(scope)
    capture = CfnEndpointConfig.DataCaptureConfigProperty(
        enable_capture=True,
        initial_sampling_percentage=percent,
        destination_s3_uri=bucket.s3_url_for_object("capture"),
        capture_options=[
            CfnEndpointConfig.CaptureOptionProperty(capture_mode=mode)
            for mode in ("Input", "Output")
        ],
        # JSON is stored as text; SageMaker stores other types in base64.
        capture_content_type_header=CfnEndpointConfig.CaptureContentTypeHeaderProperty(
            json_content_types=["application/json", "application/jsonlines"]
        ),
    )
    return capture, _policy(scope, role, bucket, capture=_WRITE)

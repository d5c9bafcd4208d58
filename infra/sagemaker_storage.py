"""What an endpoint keeps in S3: asynchronous requests and answers, captured traffic."""

from collections.abc import Sequence

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk.aws_iam import Grant, IGrantable, IRole, Policy, PolicyStatement
from aws_cdk.aws_s3 import BlockPublicAccess, Bucket, BucketEncryption, CfnBucket, LifecycleRule
from aws_cdk.aws_sagemaker import CfnEndpointConfig
from aws_cdk.aws_sns import Topic
from constructs import Construct

from infra.explained import explain

KEPT_FOR = Duration.days(30)

Grants = tuple[str, Sequence[str]]  # of a folder, actions
_FOLDERS = ("input", "output", "failure")
# https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-create-endpoint-prerequisites.html
_WRITE = ("s3:PutObject", "s3:AbortMultipartUpload")


def _bucket(scope: Construct) -> Bucket:
    """Closed, encrypted, and emptied by time; it outlives the stack, since data may be in it."""
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
    explain(
        bucket,
        {
            "AwsSolutions-S1": no_log,
            "CKV_AWS_18": no_log,
            "CKV_AWS_21": "an object is written once, and a version would outlive its expiry",
        },
    )
    return bucket


def _policy(scope: Construct, role: IRole, bucket: Bucket, grants: Sequence[Grants]) -> Policy:
    """Let `role` do just this as long as `scope` is there; CDK's own grants have wildcards."""
    policy = Policy(scope, "Access", roles=[role])
    name = Stack.of(bucket).get_logical_id(_resource(bucket))
    reason = "every object of the folder; nobody knows their names beforehand"
    for folder, actions in grants:
        arns = [bucket.arn_for_objects(f"{folder}/*")]
        policy.add_statements(PolicyStatement(actions=list(actions), resources=arns))
        explain(policy, {f"AwsSolutions-IAM5[Resource::<{name}.Arn>/{folder}/*]": reason})
    return policy


def _resource(bucket: Bucket) -> CfnBucket:
    resource = bucket.node.default_child
    assert isinstance(resource, CfnBucket)  # noqa: S101 - narrows the type
    return resource


class AsyncWork(Construct):
    """The bucket of requests (`input/`) and answers (`output/`, `failure/`), and who is told."""

    def __init__(self, scope: Construct, construct_id: str, *, role: IRole) -> None:
        super().__init__(scope, construct_id)
        self.bucket = _bucket(self)
        self.answered = Topic(self, "Answered", enforce_ssl=True)
        self.failed = Topic(self, "Failed", enforce_ssl=True)
        grants = (("input", ("s3:GetObject",)), ("output", _WRITE), ("failure", _WRITE))
        self.policy = _policy(self, role, self.bucket, grants)
        for topic in (self.answered, self.failed):
            self.policy.add_statements(
                PolicyStatement(actions=["sns:Publish"], resources=[topic.topic_arn])
            )
            reason = "a message says where a request or an answer is and holds neither"
            explain(topic, {"CKV_AWS_26": reason})

    def grant_use(self, grantee: IGrantable) -> None:
        """Let `grantee` put requests, read answers, and see that one is not there yet."""
        folders = {name: self.bucket.arn_for_objects(f"{name}/*") for name in _FOLDERS}
        for action, arns in (
            ("s3:PutObject", [folders["input"]]),
            ("s3:GetObject", [folders["output"], folders["failure"]]),
            ("s3:ListBucket", [self.bucket.bucket_arn]),
        ):
            Grant.add_to_principal(grantee=grantee, actions=[action], resource_arns=arns)

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
        self.policy = _policy(self, role, self.bucket, [("capture", _WRITE)])

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

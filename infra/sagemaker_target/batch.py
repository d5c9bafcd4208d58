"""A model for batch transform jobs, and its role.

Both exist in every mode and cost nothing while no job runs; `python -m ops batch` starts a job.
They are separate from the endpoint's, so neither needs the other's permissions.
"""

from hashlib import sha256

from aws_cdk import Stack
from aws_cdk.aws_iam import Policy, PolicyStatement
from constructs import Construct

from infra.common import access
from infra.common.access import Network
from infra.common.findings import suppress_finding
from infra.image.asset import Image
from infra.sagemaker_target.model import create_model, execution_role

# The log group of all jobs of the account, and the namespace of their instances' metrics.
# https://docs.aws.amazon.com/sagemaker/latest/dg/logging-cloudwatch.html
_JOBS = "/aws/sagemaker/TransformJobs"


class BatchJobs(Construct):
    """The model of jobs that read below `data_in` and write below `data_out`, s3://BUCKET/PREFIX."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        image: Image,
        network: Network,
        data_in: str,
        data_out: str,
    ) -> None:
        super().__init__(scope, construct_id)
        self.data_in, self.data_out = data_in.rstrip("/"), data_out.rstrip("/")
        role = execution_role(self, image=image, namespace=_JOBS)
        # The first job creates the log group.
        group = Stack.of(self).format_arn(service="logs", resource=f"log-group:{_JOBS}")
        actions = ("CreateLogGroup", "CreateLogStream", "DescribeLogStreams", "PutLogEvents")
        role.add_to_policy(
            PolicyStatement(
                actions=[f"logs:{action}" for action in actions], resources=[group, f"{group}:*"]
            )
        )
        named = f"arn:<AWS::Partition>:logs:<AWS::Region>:<AWS::AccountId>:log-group:{_JOBS}:*"
        reason = "a log stream has its job's name, which nobody knows beforehand"
        suppress_finding(access.policy_of(role), {f"AwsSolutions-IAM5[Resource::{named}]": reason})
        self.model = create_model(
            self, image=image, network=network, role=role, environment=image.environment
        )
        digest = sha256(f"{self.data_in} {self.data_out}".encode()).hexdigest()
        policy = Policy(self, f"Data{digest[:8]}", roles=[role])
        reason, ours = "the keys name the folder; a job may use all of it", access.OF_THIS_ACCOUNT
        bucket = access.s3_arn("/".join(self.data_in.split("/")[:3]))
        access.allow(policy, ["s3:ListBucket"], bucket, conditions=ours)
        for folder, allowed in (
            (self.data_in, ["s3:GetObject"]),
            # SageMaker uploads answers in parts, and aborts the upload after an error.
            (self.data_out, ["s3:PutObject", "s3:AbortMultipartUpload"]),
        ):
            objects = access.s3_arn(f"{folder}/*")
            access.allow(policy, allowed, objects, conditions=ours, wildcard=reason)
        self.model.node.add_dependency(policy)

"""What a batch transform job takes beside the job itself: a model, and a role for its data.

Both cost nothing while no job runs, and are there in every mode: `python -m ops batch` starts a
job. Apart from the endpoint's, so that neither can do more, nor has to change, for the other.
"""

from hashlib import sha256

from aws_cdk import Aws, Stack
from aws_cdk.aws_iam import IRole, Policy, PolicyStatement, Role, ServicePrincipal
from constructs import Construct

from infra import access
from infra.config import Config
from infra.explained import explain
from infra.image import Image
from infra.sagemaker_model import create_model
from infra.sagemaker_role import ATTACH_ACTIONS

# SageMaker's own, of all jobs of the account, and the namespace of their machines' metrics.
# https://docs.aws.amazon.com/sagemaker/latest/dg/logging-cloudwatch.html
_JOBS = "/aws/sagemaker/TransformJobs"


class BatchJobs(Construct):
    """The model of transform jobs that read below `data_in` and write below `data_out`, both
    s3://BUCKET or s3://BUCKET/PREFIX of this account."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        image: Image,
        config: Config,
        data_in: str,
        data_out: str,
    ) -> None:
        super().__init__(scope, construct_id)
        self.data_in, self.data_out = data_in.rstrip("/"), data_out.rstrip("/")
        role = Role(self, "Role", assumed_by=ServicePrincipal("sagemaker.amazonaws.com"))
        image.repository.grant_pull(role)
        self._report(role)
        network = access.network(self, role, config, ATTACH_ACTIONS)
        for policy in network:
            reason = "SageMaker's own account may attach the network interfaces that it makes"
            explain(policy, {"CKV_AWS_109": reason})
        self.model = create_model(self, image, config, role, image.environment)
        # CreateModel pulls with the role at once, and naming the role does not wait for these.
        self.model.node.add_dependency(
            access.policy_of(role), self._data(role), *access.reads(self, role, config), *network
        )

    def _report(self, role: Role) -> None:
        """Let the role write what its jobs have to say; the log group is made by the first."""
        group = Stack.of(self).format_arn(service="logs", resource=f"log-group:{_JOBS}")
        actions = ("CreateLogGroup", "CreateLogStream", "DescribeLogStreams", "PutLogEvents")
        role.add_to_policy(
            PolicyStatement(
                actions=[f"logs:{action}" for action in actions], resources=[group, f"{group}:*"]
            )
        )
        role.add_to_policy(
            PolicyStatement(
                actions=["cloudwatch:PutMetricData"],
                resources=["*"],  # AWS knows no resource for it; the namespace narrows it
                conditions={"StringEquals": {"cloudwatch:namespace": _JOBS}},
            )
        )
        named = f"arn:<AWS::Partition>:logs:<AWS::Region>:<AWS::AccountId>:log-group:{_JOBS}:*"
        explain(
            access.policy_of(role),
            {
                "AwsSolutions-IAM5[Resource::*]": "AWS knows no resource for ECR's token and for "
                "metrics; these keep to one namespace",
                f"AwsSolutions-IAM5[Resource::{named}]": "a log stream has its job's name, which "
                "nobody knows beforehand",
            },
        )

    def _data(self, role: IRole) -> Policy:
        """Let `role` list and read the input, and write the output, object by object."""
        grants = (
            (("s3:ListBucket",), _path(self.data_in).partition("/")[0]),
            (("s3:GetObject",), f"{_path(self.data_in)}/*"),
            # Answers are uploaded in parts, which an error takes back.
            (("s3:PutObject", "s3:AbortMultipartUpload"), f"{_path(self.data_out)}/*"),
        )
        digest = sha256(f"{self.data_in} {self.data_out}".encode()).hexdigest()
        policy = Policy(self, f"Data{digest[:8]}", roles=[role])
        for actions, path in grants:
            policy.add_statements(
                PolicyStatement(
                    actions=list(actions),
                    resources=[f"arn:{Aws.PARTITION}:s3:::{path}"],
                    # A bucket's name that was given up can be taken by anybody.
                    conditions={"StringEquals": {"s3:ResourceAccount": Aws.ACCOUNT_ID}},
                )
            )
            if path.endswith("*"):
                named = f"AwsSolutions-IAM5[Resource::arn:<AWS::Partition>:s3:::{path}]"
                explain(policy, {named: "the keys name the folder; a job may use all of it"})
        return policy


def _path(url: str) -> str:
    return url.removeprefix("s3://")

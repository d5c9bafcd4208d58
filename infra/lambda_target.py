"""The Lambda target: a function of the image, its `live` alias and the alias' URL."""

from aws_cdk import Duration, RemovalPolicy
from aws_cdk.aws_iam import Grant, IGrantable, Role, ServicePrincipal
from aws_cdk.aws_lambda import (
    Alias,
    Architecture,
    DockerImageCode,
    DockerImageFunction,
    FunctionUrlAuthType,
    LoggingFormat,
)
from aws_cdk.aws_logs import LogGroup, RetentionDays
from constructs import Construct

from infra.image import Image


class LambdaTarget(Construct):
    """Serves the image as a Lambda function, which costs nothing while idle.

    Callers use `alias` or `url`, never the bare function: a deployment moves both from one
    published version to the next. The URL accepts signed requests (AWS_IAM) only.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        image: Image,
        memory_mb: int,
        timeout: Duration,
    ) -> None:
        super().__init__(scope, construct_id)
        log_group = LogGroup(
            self,
            "Logs",
            retention=RetentionDays.ONE_MONTH,
            removal_policy=RemovalPolicy.DESTROY,
        )
        # A role of our own, since CDK's would have AWS's managed policy: logs in the whole account.
        role = Role(self, "Role", assumed_by=ServicePrincipal("lambda.amazonaws.com"))
        log_group.grant_write(role)
        function = DockerImageFunction(
            self,
            "Function",
            # Not from_image_asset: that would declare a second asset. The entrypoint and its
            # command stay the image's own.
            code=DockerImageCode.from_ecr(image.repository, tag_or_digest=image.tag),
            architecture=Architecture.X86_64,
            memory_size=memory_mb,
            timeout=timeout,
            environment=image.environment,
            role=role,
            log_group=log_group,
            logging_format=LoggingFormat.JSON,
        )
        self.alias = Alias(self, "Live", alias_name="live", version=function.current_version)
        self.url = self.alias.add_function_url(auth_type=FunctionUrlAuthType.AWS_IAM)

    def grant_invoke(self, grantee: IGrantable) -> Grant:
        """Let `grantee` call the URL and invoke the alias directly.

        A call of the URL needs lambda:InvokeFunctionUrl and lambda:InvokeFunction.
        https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
        """
        return self.url.grant_invoke_url(grantee).combine(self.alias.grant_invoke(grantee))

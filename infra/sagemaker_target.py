"""The SageMaker target: a real-time endpoint of the image."""

from hashlib import sha256

from aws_cdk import ArnFormat, Stack
from aws_cdk.aws_iam import Grant, IGrantable, PolicyStatement, Role, ServicePrincipal
from aws_cdk.aws_sagemaker import CfnEndpoint, CfnEndpointConfig, CfnModel
from constructs import Construct

from infra.image import Image

SAGEMAKER_TYPE = "realtime"


def endpoint_name(stack_name: str, instance_type: str) -> str:
    """The endpoint's name, known at synth: what watches the endpoint can name it without a cycle.

    It changes with what AWS cannot change in place, so that such a change makes a new endpoint. At
    most 63 characters, the limit of SageMaker.
    """
    identity = "\n".join((stack_name, SAGEMAKER_TYPE, instance_type))
    return f"{stack_name[:54].rstrip('-')}-{sha256(identity.encode()).hexdigest()[:8]}"


class SageMakerTarget(Construct):
    """Serves the image as an endpoint of one instance, which costs its price by the hour.

    L1 constructs: the alpha L2 ones lack rollout guardrails, data capture, serverless and async.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        image: Image,
        instance_type: str,
    ) -> None:
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        self.endpoint_name = endpoint_name(stack.stack_name, instance_type)
        self.role = self._execution_role(image)
        model = CfnModel(
            self,
            "Model",
            execution_role_arn=self.role.role_arn,
            primary_container=CfnModel.ContainerDefinitionProperty(
                image=image.uri, environment=image.environment
            ),
        )
        # CreateModel pulls with the role at once, and naming the role does not wait for its policy.
        model.node.add_dependency(self.role)
        endpoint_config = CfnEndpointConfig(
            self,
            "EndpointConfig",
            production_variants=[
                CfnEndpointConfig.ProductionVariantProperty(
                    variant_name="AllTraffic",
                    model_name=model.attr_model_name,
                    instance_type=instance_type,
                    initial_instance_count=1,
                    initial_variant_weight=1,
                )
            ],
        )
        self.endpoint = CfnEndpoint(
            self,
            "Endpoint",
            endpoint_name=self.endpoint_name,
            endpoint_config_name=endpoint_config.attr_endpoint_config_name,
        )

    def grant_invoke(self, grantee: IGrantable) -> Grant:
        """Let `grantee` invoke this endpoint."""
        return Grant.add_to_principal(
            grantee=grantee,
            actions=["sagemaker:InvokeEndpoint"],
            resource_arns=[
                Stack.of(self).format_arn(
                    service="sagemaker", resource="endpoint", resource_name=self.endpoint_name
                )
            ],
        )

    def _execution_role(self, image: Image) -> Role:
        """What SageMaker does in our name: pull the image, write this endpoint's logs and metrics.

        https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html, under CreateModel.
        """
        role = Role(self, "Role", assumed_by=ServicePrincipal("sagemaker.amazonaws.com"))
        # Includes ecr:GetAuthorizationToken, which AWS grants on "*" only.
        image.repository.grant_pull(role)
        log_group = Stack.of(self).format_arn(
            service="logs",
            resource="log-group",
            # The `:*` is part of a log group's ARN in a policy; it stands for its streams.
            resource_name=f"/aws/sagemaker/Endpoints/{self.endpoint_name}:*",
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        role.add_to_policy(
            PolicyStatement(
                actions=[
                    "logs:CreateLogGroup",
                    "logs:CreateLogStream",
                    "logs:DescribeLogStreams",
                    "logs:PutLogEvents",
                ],
                resources=[log_group],
            )
        )
        role.add_to_policy(
            PolicyStatement(
                actions=["cloudwatch:PutMetricData"],  # the instances' CPU, memory and disk
                resources=["*"],  # AWS knows no resource for it; the namespace narrows it
                conditions={"StringEquals": {"cloudwatch:namespace": "/aws/sagemaker/Endpoints"}},
            )
        )
        return role

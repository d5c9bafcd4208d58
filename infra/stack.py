"""The one stack: the image, the targets that the mode names, and what an operator pastes."""

from collections.abc import Sequence

from aws_cdk import CfnOutput, Duration, Stack
from constructs import Construct

from infra.config import Config
from infra.image import Image
from infra.lambda_target import LambdaTarget
from infra.sagemaker_target import SageMakerTarget

# A red square, small enough to paste; the others send a photograph of this repository.
SQUARE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEUlEQVQI12P8z4AdMDEMKQkA"
    "zUEBD9aGuoAAAAAASUVORK5CYII="
)
PHOTO = "container/photos/cat.jpg"


class DualInferenceStack(Stack):
    """Composes the targets of `config.mode` from one image; its outputs say how to call each."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        docker_outputs: Sequence[str] | None,
    ) -> None:
        super().__init__(
            scope, construct_id, description=f"{config.model_name}, one image, mode {config.mode}"
        )
        image = Image(self, "Image", model_name=config.model_name, docker_outputs=docker_outputs)
        self._output("ImageUri", image.uri, "the image that every target runs")
        if config.on_lambda:
            self._describe_lambda(
                LambdaTarget(
                    self,
                    "Lambda",
                    image=image,
                    memory_mb=config.lambda_memory_mb,
                    timeout=Duration.seconds(config.lambda_timeout_seconds),
                )
            )
        if config.on_sagemaker:
            self._describe_sagemaker(
                SageMakerTarget(self, "SageMaker", image=image, instance_type=config.instance_type)
            )

    def _describe_lambda(self, target: LambdaTarget) -> None:
        name = target.alias.function_arn
        self._output("FunctionUrl", target.url.url, "POST invocations, signed for lambda")
        self._output("FunctionName", name, "the live alias, as --function-name takes it")
        self._output(
            "InvokeUrl",
            # In a subshell, which forgets the credentials again. Only temporary ones have a token:
            # curl would sign an empty header and not send it. One word, for zsh does not split.
            '(eval "$(aws configure export-credentials --format env)"; '
            f"curl -sS {target.url.url}invocations --aws-sigv4 aws:amz:{self.region}:lambda "
            '--user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" '
            "${AWS_SESSION_TOKEN:+-Hx-amz-security-token:$AWS_SESSION_TOKEN} "
            f"-H 'content-type: image/jpeg' --data-binary @{PHOTO})",
            "call the function's URL",
        )
        self._output(
            "InvokeLambda",
            f"aws lambda invoke --region {self.region} --function-name {name} "
            "--cli-binary-format raw-in-base64-out "
            f'--payload \'{{"uri": "{SQUARE}"}}\' /dev/stdout',
            "invoke the function",
        )

    def _describe_sagemaker(self, target: SageMakerTarget) -> None:
        # The resource's own attribute: as an output it waits for the endpoint.
        name = target.endpoint.attr_endpoint_name
        self._output("EndpointName", name, "the endpoint, as --endpoint-name takes it")
        self._output(
            "InvokeEndpoint",
            f"aws sagemaker-runtime invoke-endpoint --region {self.region} --endpoint-name {name} "
            f"--content-type image/jpeg --body fileb://{PHOTO} /dev/stdout",
            "invoke the endpoint",
        )

    def _output(self, name: str, value: str, description: str) -> None:
        CfnOutput(self, name, value=value, description=description)

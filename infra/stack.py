"""The one stack: the image, the targets that the mode names, and what watches them."""

from collections.abc import Sequence

from aws_cdk import Stack
from constructs import Construct

from infra import outputs
from infra.batch import BatchJobs
from infra.config import Config
from infra.image import Image
from infra.lambda_target import LambdaTarget
from infra.monitoring import Monitoring
from infra.registry import looked_up
from infra.sagemaker_target import SageMakerTarget


class DualInferenceStack(Stack):
    """Composes the targets of `config.mode` from one image; its outputs say how to call each.

    Raises ConfigError for a `model_package_arn` that cannot be deployed.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        docker_outputs: Sequence[str] | None,
    ) -> None:
        super().__init__(
            scope, construct_id, description=f"{config.built_in}, one image, mode {config.mode}"
        )
        config = looked_up(self, config)
        image = Image(self, "Image", config=config, docker_outputs=docker_outputs)
        on_lambda = on_sagemaker = None
        if config.on_lambda:
            on_lambda = LambdaTarget(self, "Lambda", image=image, config=config)
        if config.on_sagemaker:
            on_sagemaker = SageMakerTarget(self, "SageMaker", image=image, config=config)
        if on_lambda and on_sagemaker:
            # A broken image fails the endpoint's update first, and never reaches the function.
            on_lambda.deploy_after(on_sagemaker.endpoint)
        if config.batch_input and config.batch_output:
            jobs = BatchJobs(
                self,
                "Batch",
                image=image,
                config=config,
                data_in=config.batch_input,
                data_out=config.batch_output,
            )
            outputs.describe_jobs(self, jobs)
        monitoring = Monitoring(
            self, "Monitoring", on_lambda=on_lambda, on_sagemaker=on_sagemaker, config=config
        )
        outputs.describe(self, image, on_lambda, on_sagemaker, monitoring)

"""The stack: the image, the targets of the mode, and their monitoring."""

from collections.abc import Sequence
from pathlib import Path

from aws_cdk import Annotations, Stack
from constructs import Construct

from infra import outputs
from infra.config.keys import Config
from infra.config.model_package import look_up_package
from infra.examiner.examiner import Examiner
from infra.image.asset import Image
from infra.lambda_target.target import LambdaTarget
from infra.monitoring.monitoring import Monitoring
from infra.sagemaker_target.batch import BatchJobs
from infra.sagemaker_target.target import SageMakerTarget


class DualInferenceStack(Stack):
    """Compose the targets of `config.mode` from one image; the outputs say how to call each.

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
        description = f"{config.built_in}, one image, mode {config.mode}"
        super().__init__(scope, construct_id, description=description)
        keys = config.given
        config = look_up_package(self, config)
        image = Image(self, "Image", config=config, docker_outputs=docker_outputs)
        examiner = self._create_examiner(config, image)
        on_lambda = on_sagemaker = jobs = None
        if config.on_sagemaker:
            on_sagemaker = SageMakerTarget(self, "SageMaker", config=config, image=image)
        if config.on_lambda:
            on_lambda = LambdaTarget(
                self,
                "Lambda",
                config=config,
                image=image,
                examiner=examiner.function if examiner else None,
                examiner_alarms=examiner.alarms[:1] if examiner else (),
                forwards_to=on_sagemaker if config.forward_percent else None,
            )
            if config.url_auth == "none":
                Annotations.of(on_lambda).add_warning_v2(
                    "one-image:PublicUrl",
                    "url_auth=none: everybody can call the function's URL at this account's cost, "
                    f"{config.lambda_reserved_concurrency} at once",
                )
        if on_lambda and on_sagemaker:
            # The endpoint's update fails first on a broken image, so the function stays unchanged.
            on_lambda.deploy_after(on_sagemaker.endpoint)
        if examiner:
            examiner.examine(on_lambda, on_sagemaker)
        if config.batch_input and config.batch_output:
            jobs = BatchJobs(self, "Batch", config=config, image=image)
        more = examiner.alarms if examiner else ()
        monitoring = Monitoring(
            self, "Monitoring", config, on_lambda, on_sagemaker, other_alarms=more
        )
        outputs.describe(
            self, keys, image, monitoring, on_lambda=on_lambda, on_sagemaker=on_sagemaker, jobs=jobs
        )

    def _create_examiner(self, config: Config, image: Image) -> Examiner | None:
        without = "" if config.examiner else "examiner=false"
        if config.examiner and config.model_folder and not config.model_data:
            exam = Path(config.model_folder, "artifact", "golden.json")
            if not exam.is_file():
                fix = f"`python -m ops package {config.model_folder}` creates it from golden cases"
                without = f"there is no exam in {exam} ({fix})"
        if not without:
            return Examiner(self, "Examiner", config=config, image=image)
        Annotations.of(self).add_warning_v2(
            "one-image:NoExaminer",
            f"{without}: nothing compares the targets' answers with the image's, neither during "
            "an update nor afterwards",
        )
        return None

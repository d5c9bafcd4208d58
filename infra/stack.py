"""The stack: the image, the targets of the mode, and their monitoring."""

from pathlib import Path

from aws_cdk import Annotations, CfnOutput, Stack
from constructs import Construct

from infra import outputs
from infra.common.access import Network
from infra.config.keys import Config
from infra.config.model_package import look_up_package
from infra.examiner import Examiner
from infra.image.asset import Image
from infra.lambda_target.target import DOORMAN_MEMORY_MB, LambdaTarget
from infra.monitoring import Monitoring
from infra.sagemaker_target.capacity import Capacity, Instances, Serverless
from infra.sagemaker_target.model import BatchJobs
from infra.sagemaker_target.target import SageMakerTarget


class DualInferenceStack(Stack):
    """Compose the targets of `config.mode` from one image; the outputs say how to call each.

    Raises ConfigError for a `model_package_arn` that cannot be deployed.
    """

    def __init__(self, scope: Construct, config: Config) -> None:
        description = f"{config.built_in}, one image, mode {config.mode}"
        super().__init__(scope, config.stack_name, description=description)
        keys = config.given
        config = look_up_package(self, config)
        network = Network(
            subnet_ids=config.subnet_ids,
            security_group_ids=config.security_group_ids,
            isolated=config.network_isolation,
        )
        capacity = _capacity(config)
        image = Image(
            self,
            "Image",
            model_name=config.built_in,
            model_folder=Path(config.model_folder) if config.model_folder else None,
            model_data=config.model_data,
            model_id=config.model_id,
            # An isolated endpoint has no network, so the function must refuse every URI as well.
            uri_allowlist=("none",) if config.network_isolation else config.uri_allowlist,
            with_cuda=config.on_sagemaker and capacity.has_gpu,
            build_args=config.build_args,
            rebuild=config.rebuild,
            on_arm=config.on_arm,
        )
        examiner = self._create_examiner(config, image)
        on_lambda = on_sagemaker = jobs = None
        if config.on_sagemaker:
            on_sagemaker = SageMakerTarget(
                self,
                "SageMaker",
                image=image,
                network=network,
                capacity=capacity,
                data_capture_percent=config.data_capture_percent,
                log_retention_days=config.log_retention_days,
                examined=examiner.examined if examiner else None,
            )
        if config.on_lambda:
            on_lambda = LambdaTarget(
                self,
                "Lambda",
                image=image,
                network=network,
                memory_mb=DOORMAN_MEMORY_MB if config.is_doorman else config.lambda_memory_mb,
                ephemeral_mb=config.lambda_ephemeral_mb,
                timeout_seconds=config.lambda_timeout_seconds,
                reserved_concurrency=config.lambda_reserved_concurrency,
                provisioned_concurrency=config.lambda_provisioned_concurrency,
                url_auth=config.url_auth,
                cors_origins=config.url_cors_origins,
                log_retention_days=config.log_retention_days,
                examiner=examiner.function if examiner else None,
                examiner_alarms=examiner.alarms[:1] if examiner else (),
                forward_to=on_sagemaker if config.forward_percent else None,
                forward_percent=config.forward_percent,
                spill=config.spill,
            )
            if config.url_auth == "none":
                Annotations.of(on_lambda).add_warning_v2(
                    "one-image:PublicUrl",
                    "url_auth=none: everybody can call the function's URL at this account's cost, "
                    f"{config.lambda_reserved_concurrency} at once",
                )
        if on_lambda and on_sagemaker:
            # The endpoint's update fails first on a broken image, so the function stays unchanged.
            on_lambda.function.node.add_dependency(on_sagemaker.endpoint)
        if examiner:
            examiner.examine(on_lambda, on_sagemaker)
        if config.batch_input and config.batch_output:
            data_in, data_out = config.batch_input, config.batch_output
            jobs = BatchJobs(
                self, "Batch", image=image, network=network, data_in=data_in, data_out=data_out
            )
        monitoring = Monitoring(
            self,
            "Monitoring",
            on_lambda=on_lambda,
            on_sagemaker=on_sagemaker,
            other_alarms=examiner.alarms if examiner else (),
            alarm_email=config.alarm_email,
        )
        for name, value, description in outputs.of_stack(
            self, keys, image, monitoring, on_lambda=on_lambda, on_sagemaker=on_sagemaker, jobs=jobs
        ):
            CfnOutput(self, name, value=value, description=description)

    def _create_examiner(self, config: Config, image: Image) -> Examiner | None:
        exam = Path(config.model_folder or "", "artifact", "golden.json")
        if not config.examiner:
            without = "examiner=false"
        elif config.model_folder and not config.model_data and not exam.is_file():
            fix = f"`python -m ops package {config.model_folder}` creates it from golden cases"
            without = f"there is no exam in {exam} ({fix})"
        else:
            both = config.on_lambda and config.on_sagemaker
            return Examiner(
                self,
                "Examiner",
                image=image,
                memory_mb=config.lambda_memory_mb,
                ephemeral_mb=config.lambda_ephemeral_mb,
                log_retention_days=config.log_retention_days,
                every_hour=both and config.sagemaker_type != "async",
            )
        Annotations.of(self).add_warning_v2(
            "one-image:NoExaminer",
            f"{without}: nothing compares the targets' answers with the image's, neither during "
            "an update nor afterwards",
        )
        return None


def _capacity(config: Config) -> Capacity:
    if config.sagemaker_type == "serverless":
        return Serverless(
            memory_mb=config.serverless_memory_mb, max_concurrency=config.serverless_max_concurrency
        )
    return Instances(
        kind=config.sagemaker_type,
        instance_type=config.instance_type,
        minimum=config.min_instances,
        maximum=config.max_instances,
        invocations_per_minute=config.invocations_per_instance_per_minute,
    )

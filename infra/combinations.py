"""Combinations of keys that AWS would refuse during a deployment, or that would cost or skew."""

from collections.abc import Callable
from dataclasses import dataclass

from infra.config import Config

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
SYNCHRONOUS_TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Combination:
    """A rule over several keys; the first one is the one that is reported."""

    keys: tuple[str, ...]
    broken: Callable[[Config], bool]
    allowed: str
    """Completes the sentence "it must be ..."."""


def _serverless(config: Config) -> bool:
    return config.on_sagemaker and config.sagemaker_type == "serverless"


def _holds(folder: str, other: str) -> bool:
    """Whether a folder of S3 is another one, or has it in it."""
    return f"{other.rstrip('/')}/".startswith(f"{folder.rstrip('/')}/")


ALL = (
    Combination(
        ("model_data", "model_id"),
        lambda config: config.model_data is not None and config.model_id is None,
        "given together with model_id, which both targets check it against; "
        "`python -m ops package` prints it",
    ),
    Combination(
        ("model_package_arn", "model_data"),
        lambda config: config.model_package_arn is not None and config.model_data is not None,
        "given without model_data: it names the artifact itself",
    ),
    Combination(
        ("url_auth", "lambda_reserved_concurrency"),
        lambda config: config.url_auth == "none" and config.lambda_reserved_concurrency is None,
        "iam, or come with lambda_reserved_concurrency, which caps what strangers can cost you",
    ),
    Combination(
        ("lambda_provisioned_concurrency", "lambda_reserved_concurrency"),
        lambda config: (
            (config.lambda_provisioned_concurrency or 0)
            >= (config.lambda_reserved_concurrency or float("inf"))
        ),
        "less than lambda_reserved_concurrency: an update runs two versions for a while",
    ),
    Combination(
        ("lambda_timeout_seconds", "mode", "sagemaker_type"),
        lambda config: (
            config.mode == "both"
            and config.sagemaker_type != "async"
            and config.lambda_timeout_seconds > SYNCHRONOUS_TIMEOUT_SECONDS
        ),
        f"at most {SYNCHRONOUS_TIMEOUT_SECONDS} beside a realtime or serverless endpoint, which "
        "gives up then: the same request would have two answers",
    ),
    Combination(
        ("instance_type", "mode", "sagemaker_type"),
        lambda config: (
            config.on_instances
            and config.instance_type.startswith(("ml.p2.", "ml.p3.", "ml.inf", "ml.trn"))
        ),
        "of a family that this image can use: with CPUs, or with a GPU of 2018 or later, such as "
        "ml.g4dn.xlarge; CUDA 13 runs on no older one, and there is no Neuron in the image",
    ),
    Combination(
        ("batch_input", "batch_output"),
        lambda config: config.batch_input is not None and config.batch_output is None,
        "given together with batch_output",
    ),
    Combination(
        ("batch_output", "batch_input"),
        lambda config: (
            config.batch_output is not None
            and (config.batch_input is None or _holds(config.batch_input, config.batch_output))
        ),
        "given together with batch_input, and outside of it: a job would take answers for records",
    ),
    Combination(
        ("min_instances", "max_instances"),
        lambda config: config.min_instances > config.max_instances,
        "at most max_instances",
    ),
    Combination(
        ("max_instances", "min_instances", "mode", "sagemaker_type", "instance_type"),
        lambda config: (
            config.on_sagemaker
            and config.sagemaker_type != "serverless"
            and config.instance_type.startswith("ml.t2.")
            and config.min_instances < config.max_instances
        ),
        "as many as min_instances with an instance type of ml.t2, which AWS does not scale",
    ),
    Combination(
        ("min_instances", "mode", "sagemaker_type"),
        lambda config: (
            config.on_sagemaker and config.sagemaker_type != "async" and config.min_instances == 0
        ),
        "1 or more; only sagemaker_type=async can scale to none",
    ),
    Combination(
        ("data_capture_percent", "mode", "sagemaker_type"),
        lambda config: (
            config.on_sagemaker
            and config.sagemaker_type != "realtime"
            and config.data_capture_percent > 0
        ),
        "0 unless sagemaker_type is realtime",
    ),
    Combination(
        ("network_isolation", "mode", "sagemaker_type"),
        lambda config: _serverless(config) and config.network_isolation,
        "false with sagemaker_type=serverless",
    ),
    Combination(
        ("subnet_ids", "mode", "sagemaker_type"),
        lambda config: _serverless(config) and bool(config.subnet_ids),
        "left out with sagemaker_type=serverless, which cannot join a VPC",
    ),
    Combination(
        ("subnet_ids", "batch_input"),
        lambda config: config.batch_input is not None and len(config.subnet_ids) == 1,
        "two or more, in different Availability Zones, for SageMaker",
    ),
    Combination(
        ("subnet_ids", "mode"),
        lambda config: config.on_sagemaker and len(config.subnet_ids) == 1,
        "two or more, in different Availability Zones, for SageMaker",
    ),
    Combination(
        ("subnet_ids", "security_group_ids"),
        lambda config: bool(config.subnet_ids) and not config.security_group_ids,
        "given together with security_group_ids",
    ),
    Combination(
        ("security_group_ids", "subnet_ids"),
        lambda config: bool(config.security_group_ids) and not config.subnet_ids,
        "given together with subnet_ids",
    ),
    Combination(
        ("uri_allowlist",),
        lambda config: "none" in config.uri_allowlist and len(config.uri_allowlist) > 1,
        "none alone, or a list without none",
    ),
    Combination(
        ("uri_allowlist", "network_isolation"),
        lambda config: config.network_isolation and config.uri_allowlist not in (("*",), ("none",)),
        "left out with network_isolation, which closes the network for every uri",
    ),
)

"""Combinations of keys that AWS would refuse during a deployment, or that would cost or skew."""

import re
from typing import NamedTuple

from infra.config.keys import ARM_FAMILIES, Config

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
SYNCHRONOUS_TIMEOUT_SECONDS = 60


class Combination(NamedTuple):
    """A rule over several keys, and whether a configuration breaks it."""

    keys: tuple[str, ...]  # the first one is the one that is reported
    broken: bool
    allowed: str  # completes the sentence "it must be ..."


def check(config: Config) -> list[Combination]:
    """Check every rule against `config`."""
    on_sagemaker, kind = config.on_sagemaker, config.sagemaker_type
    serverless = on_sagemaker and kind == "serverless"
    subnets, groups = config.subnet_ids, config.security_group_ids
    none_and_more = "none" in config.uri_allowlist and len(config.uri_allowlist) > 1
    fewest, most = config.min_instances, config.max_instances
    batch_in, batch_out = config.batch_input, config.batch_output
    provisioned = config.lambda_provisioned_concurrency
    reserved = config.lambda_reserved_concurrency
    return [
        Combination(
            ("model_data", "model_id"),
            bool(config.model_data) and config.model_id is None,
            "given together with model_id, which both targets check it against; "
            "`python -m ops package` prints it",
        ),
        Combination(
            ("model_package_arn", "model_data"),
            bool(config.model_package_arn and config.model_data),
            "given without model_data: it names the artifact itself",
        ),
        Combination(
            ("url_auth", "lambda_reserved_concurrency"),
            config.url_auth == "none" and reserved is None,
            "iam, or come with lambda_reserved_concurrency, which caps what strangers can cost you",
        ),
        Combination(
            ("url_cors_origins", "url_auth"),
            config.url_auth == "off" and len(config.url_cors_origins) > 0,
            "left out with url_auth=off: there is no URL to call",
        ),
        Combination(
            ("lambda_provisioned_concurrency", "lambda_reserved_concurrency"),
            (provisioned or 0) >= (reserved or float("inf")),
            "less than lambda_reserved_concurrency: an update runs two versions for a while",
        ),
        Combination(
            ("lambda_timeout_seconds", "mode", "sagemaker_type"),
            config.on_lambda
            and on_sagemaker
            and kind != "async"
            and config.lambda_timeout_seconds > SYNCHRONOUS_TIMEOUT_SECONDS,
            f"at most {SYNCHRONOUS_TIMEOUT_SECONDS} beside a realtime or serverless endpoint, "
            "which gives up then: the same request would have two answers",
        ),
        Combination(
            ("sagemaker_percent", "mode", "sagemaker_type"),
            kind == "async" and config.mode == "both" and config.sagemaker_percent > 0,
            "0 with sagemaker_type=async, whose answers come later",
        ),
        Combination(
            ("keep_url", "mode", "sagemaker_type"),
            kind == "async" and config.mode == "sagemaker" and config.keep_url,
            "false with sagemaker_type=async, to which a function cannot forward",
        ),
        Combination(
            ("instance_type", "mode", "sagemaker_type"),
            config.on_instances
            and config.instance_type.startswith(("ml.p2.", "ml.p3.", "ml.inf", "ml.trn")),
            "of a family that this image can use: with CPUs, or with a GPU of 2018 or later, such "
            "as ml.g4dn.xlarge; CUDA 13 runs on no older one, and there is no Neuron in the image",
        ),
        Combination(
            ("instance_type", "architecture"),
            not config.on_arm and bool(re.match(r"ml\.[a-z]+[0-9]+g", config.instance_type)),
            "of an x86-64 family, such as ml.m5.large, unless architecture is arm64",
        ),
        Combination(
            ("instance_type", "architecture"),
            config.on_arm and config.instance_type.split(".")[1] not in ARM_FAMILIES,
            f"of a family with Arm CPUs and no GPU with architecture=arm64: "
            f"{', '.join(ARM_FAMILIES)}",
        ),
        Combination(
            ("architecture", "mode", "sagemaker_type"),
            serverless and config.on_arm,
            "x86_64 with sagemaker_type=serverless, where AWS has no Arm CPUs",
        ),
        Combination(
            ("architecture", "batch_input"),
            config.on_arm and batch_in is not None,
            "x86_64 with batch_input: transform jobs have no instances with Arm CPUs",
        ),
        Combination(
            ("build_args", "architecture"),
            config.on_arm and "WITH_MXNET=1" in config.build_args,
            "without WITH_MXNET=1 with architecture=arm64: MXNet's wheel lacks its libraries there",
        ),
        _together("batch_input", batch_in, "batch_output", batch_out),
        Combination(
            ("batch_output", "batch_input"),
            batch_out is not None and (batch_in is None or _contains(batch_in, batch_out)),
            "given together with batch_input, and outside of it: a job would take answers for "
            "records",
        ),
        Combination(("min_instances", "max_instances"), fewest > most, "at most max_instances"),
        Combination(
            ("max_instances", "min_instances", "mode", "sagemaker_type", "instance_type"),
            config.on_instances and config.instance_type.startswith("ml.t2.") and fewest < most,
            "as many as min_instances with an instance type of ml.t2, which AWS does not scale",
        ),
        Combination(
            ("min_instances", "mode", "sagemaker_type"),
            on_sagemaker and kind != "async" and fewest == 0,
            "1 or more; only sagemaker_type=async can scale to none",
        ),
        Combination(
            ("data_capture_percent", "mode", "sagemaker_type"),
            on_sagemaker and kind != "realtime" and config.data_capture_percent > 0,
            "0 unless sagemaker_type is realtime",
        ),
        Combination(
            ("network_isolation", "mode", "sagemaker_type"),
            serverless and config.network_isolation,
            "false with sagemaker_type=serverless",
        ),
        Combination(
            ("subnet_ids", "mode", "sagemaker_type"),
            serverless and len(subnets) > 0,
            "left out with sagemaker_type=serverless, which cannot join a VPC",
        ),
        Combination(
            ("subnet_ids", "mode", "batch_input"),
            (on_sagemaker or batch_in is not None) and len(subnets) == 1,
            "two or more, in different Availability Zones, for SageMaker",
        ),
        _together("subnet_ids", subnets, "security_group_ids", groups),
        _together("security_group_ids", groups, "subnet_ids", subnets),
        Combination(("uri_allowlist",), none_and_more, "none alone, or a list without none"),
        Combination(
            ("uri_allowlist", "network_isolation"),
            config.network_isolation and config.uri_allowlist not in (("*",), ("none",)),
            "left out with network_isolation, which closes the network for every uri",
        ),
    ]


def _together(key: str, value: object, other: str, other_value: object) -> Combination:
    broken = bool(value) and not other_value
    return Combination((key, other), broken, f"given together with {other}")


def _contains(folder: str, other: str) -> bool:
    """Return whether a folder of S3 is another one, or has it in it."""
    return f"{other.rstrip('/')}/".startswith(f"{folder.rstrip('/')}/")

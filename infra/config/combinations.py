"""Check combinations of keys that AWS would refuse, that cost too much, or that cause skew."""

import re

from infra.config.keys import ARM_FAMILIES, Config

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
SYNCHRONOUS_TIMEOUT_SECONDS = 60
_OLD_FAMILIES = ("ml.p2.", "ml.p3.", "ml.inf", "ml.trn")


def check(config: Config) -> list[tuple[str, bool, str]]:
    """Return each rule: its keys, True if it is broken, and words that complete "it must be ...".

    The message of a broken rule names the first key.
    """
    on_sagemaker, on_arm, kind = config.on_sagemaker, config.on_arm, config.sagemaker_type
    serverless = on_sagemaker and kind == "serverless"
    instance_type, allowlist = config.instance_type, config.uri_allowlist
    subnets, groups = config.subnet_ids, config.security_group_ids
    none_and_more = "none" in allowlist and len(allowlist) > 1
    fewest, most = config.min_instances, config.max_instances
    batch_in, batch_out = config.batch_input, config.batch_output
    provisioned = config.lambda_provisioned_concurrency
    reserved = config.lambda_reserved_concurrency
    return [
        (
            "model_data model_id",
            bool(config.model_data) and config.model_id is None,
            "given together with model_id, which both targets check it against; "
            "`python -m ops package` prints it",
        ),
        (
            "model_package_arn model_data",
            bool(config.model_package_arn and config.model_data),
            "given without model_data: it names the artifact itself",
        ),
        (
            "url_auth lambda_reserved_concurrency",
            config.url_auth == "none" and reserved is None,
            "iam, or come with lambda_reserved_concurrency, which caps what strangers can cost you",
        ),
        (
            "url_cors_origins url_auth",
            config.url_auth == "off" and len(config.url_cors_origins) > 0,
            "left out with url_auth=off: there is no URL to call",
        ),
        (
            "lambda_provisioned_concurrency lambda_reserved_concurrency",
            (provisioned or 0) >= (reserved or float("inf")),
            "less than lambda_reserved_concurrency: an update runs two versions for a while",
        ),
        (
            "lambda_timeout_seconds mode sagemaker_type",
            (config.on_lambda and on_sagemaker and kind != "async")
            and config.lambda_timeout_seconds > SYNCHRONOUS_TIMEOUT_SECONDS,
            f"at most {SYNCHRONOUS_TIMEOUT_SECONDS} beside a realtime or serverless endpoint, "
            "which ends a request then: the targets would answer differently",
        ),
        (
            "sagemaker_percent mode sagemaker_type",
            kind == "async" and config.mode == "both" and config.sagemaker_percent > 0,
            "0 with sagemaker_type=async, whose answers come later",
        ),
        (
            "keep_url mode sagemaker_type",
            kind == "async" and config.mode == "sagemaker" and config.keep_url,
            "false with sagemaker_type=async, to which a function cannot forward",
        ),
        (
            "instance_type mode sagemaker_type",
            config.on_instances and instance_type.startswith(_OLD_FAMILIES),
            "of a family that this image can use: with CPUs, or with a GPU of 2018 or later, such "
            "as ml.g4dn.xlarge; the image has CUDA 13 and no Neuron SDK",
        ),
        (
            "instance_type architecture",
            not on_arm and bool(re.match(r"ml\.[a-z]+[0-9]+g", instance_type)),
            "of an x86-64 family, such as ml.m5.large, unless architecture is arm64",
        ),
        (
            "instance_type architecture",
            on_arm and instance_type.split(".")[1] not in ARM_FAMILIES,
            f"of an Arm family without GPU with architecture=arm64: {', '.join(ARM_FAMILIES)}",
        ),
        (
            "architecture mode sagemaker_type",
            serverless and on_arm,
            "x86_64 with sagemaker_type=serverless, where AWS has no Arm CPUs",
        ),
        (
            "architecture batch_input",
            on_arm and batch_in is not None,
            "x86_64 with batch_input: transform jobs have no instances with Arm CPUs",
        ),
        (
            "build_args architecture",
            on_arm and "WITH_MXNET=1" in config.build_args,
            "without WITH_MXNET=1 with architecture=arm64: MXNet has no complete wheel for Arm",
        ),
        (
            "batch_input batch_output",
            bool(batch_in) and not batch_out,
            "given together with batch_output",
        ),
        (
            "batch_output batch_input",
            batch_out is not None
            and (batch_in is None or f"{batch_out}/".startswith(f"{batch_in.rstrip('/')}/")),
            "given together with batch_input, and outside it: a job would read answers as records",
        ),
        ("min_instances max_instances", fewest > most, "at most max_instances"),
        (
            "max_instances min_instances mode sagemaker_type instance_type",
            config.on_instances and instance_type.startswith("ml.t2.") and fewest < most,
            "as many as min_instances with an instance type of ml.t2, which AWS does not scale",
        ),
        (
            "min_instances mode sagemaker_type",
            on_sagemaker and kind != "async" and fewest == 0,
            "1 or more; only sagemaker_type=async can scale to none",
        ),
        (
            "data_capture_percent mode sagemaker_type",
            on_sagemaker and kind != "realtime" and config.data_capture_percent > 0,
            "0 unless sagemaker_type is realtime",
        ),
        (
            "network_isolation mode sagemaker_type",
            serverless and config.network_isolation,
            "false with sagemaker_type=serverless",
        ),
        (
            "subnet_ids mode sagemaker_type",
            serverless and len(subnets) > 0,
            "left out with sagemaker_type=serverless, which cannot join a VPC",
        ),
        (
            "subnet_ids mode batch_input",
            (on_sagemaker or batch_in is not None) and len(subnets) == 1,
            "two or more, in different Availability Zones, for SageMaker",
        ),
        (
            "subnet_ids security_group_ids",
            bool(subnets) and not groups,
            "given together with security_group_ids",
        ),
        (
            "security_group_ids subnet_ids",
            bool(groups) and not subnets,
            "given together with subnet_ids",
        ),
        ("uri_allowlist", none_and_more, "none alone, or a list without none"),
        (
            "uri_allowlist network_isolation",
            config.network_isolation and allowlist not in (("*",), ("none",)),
            "left out with network_isolation, which closes the network for every uri",
        ),
    ]

"""Read the CDK's context into a Config, strictly, and check what its keys mean together."""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from infra.config.keys import ARM_FAMILIES, ARM_INSTANCE_TYPE, RULES, Config, as_text

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
SYNCHRONOUS_TIMEOUT_SECONDS = 60
_OLD_FAMILIES = ("ml.p2.", "ml.p3.", "ml.inf", "ml.trn")

_NO_MODE = (
    "mode is missing: choose lambda, sagemaker or both, with `-c mode=lambda` for one command, or "
    '"mode": "lambda" in "context" of cdk.json for all'
)
# The CDK's flags and look-ups, and the keys that its CLI keeps in cdk.context.json.
_CDK_NAMES = re.compile("acknowledged-issue-numbers|cli-telemetry|.*[:/@].*")


class ConfigError(ValueError):
    """List all configuration mistakes, one line each."""


def read_config(context: Mapping[str, object]) -> Config:
    """Read the CDK's whole context: text from the command line or JSON from cdk.json.

    A key other than mode that is missing or None gets its default. Raises ConfigError, which lists
    all unknown names and invalid values, or else all combinations that cannot be deployed.
    """
    values: dict[str, Any] = {}
    mistakes = [_NO_MODE] if context.get("mode") is None else []
    for name, given in context.items():
        text = as_text(given)
        if (rule := RULES.get(name)) is None:
            if not _CDK_NAMES.fullmatch(name):
                near = get_close_matches(name, RULES, n=1)
                hint = f"did you mean {near[0]}?" if near else "docs/05-deployment.md lists all"
                mistakes.append(f"{name}={text!r}: there is no such key; {hint}")
        elif given is not None:
            values[name] = rule.parse(text)
            if values[name] is None:
                mistakes.append(f"{name}={text!r}: it must be {rule.allowed}{rule.hint(text)}")
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    if values.get("architecture") == "arm64":
        values.setdefault("instance_type", ARM_INSTANCE_TYPE)
    config = Config(**values)
    if broken := list(_check(config)):
        texts = {name: as_text(getattr(config, name)) for name, _ in broken}
        raise ConfigError(
            "\n".join(f"{name}={texts[name]!r}: it must be {allowed}" for name, allowed in broken)
        )
    return config


def _check(config: Config) -> Iterator[tuple[str, str]]:
    """Yield the key of each broken rule, and words that complete "it must be ...".

    AWS would refuse the combination, or it would cost too much or cause skew.
    """
    if config.model_data and not config.model_id:
        yield (
            "model_data",
            "given together with model_id, which both targets check it against; "
            "`python -m ops package` prints it",
        )
    if config.model_package_arn and config.model_data:
        yield "model_package_arn", "given without model_data: it names the artifact itself"
    reserved = config.lambda_reserved_concurrency
    if config.url_auth == "none" and reserved is None:
        yield (
            "url_auth",
            "iam, or come with lambda_reserved_concurrency, which caps what strangers can cost you",
        )
    if (config.lambda_provisioned_concurrency or 0) >= (reserved or float("inf")):
        yield (
            "lambda_provisioned_concurrency",
            "less than lambda_reserved_concurrency: an update runs two versions for a while",
        )
    if "none" in config.uri_allowlist and len(config.uri_allowlist) > 1:
        yield "uri_allowlist", "none alone, or a list without none"
    if bool(config.subnet_ids) != bool(config.security_group_ids):
        yield "subnet_ids", "given together with security_group_ids"
    if len(config.subnet_ids) == 1 and (config.on_sagemaker or config.batch_input):
        yield "subnet_ids", "two or more, in different Availability Zones, for SageMaker"
    data_in, data_out = config.batch_input or "", config.batch_output or ""
    if bool(data_in) != bool(data_out):
        yield "batch_input", "given together with batch_output"
    elif data_in and f"{data_out}/".startswith(f"{data_in.rstrip('/')}/"):
        yield "batch_output", "outside batch_input: a job would read answers as records"
    if config.on_arm and data_in:
        yield "architecture", "x86_64 with batch_input: transform jobs have no Arm CPUs"
    if config.on_sagemaker:
        yield from _check_endpoint(config)


def _check_endpoint(config: Config) -> Iterator[tuple[str, str]]:
    kind, instance_type = config.sagemaker_type, config.instance_type
    function_seconds = config.lambda_timeout_seconds if config.on_lambda else 0
    if kind == "async" and config.forward_percent > 0:
        yield "sagemaker_type", "realtime or serverless for sagemaker_percent or keep_url"
    if kind != "async" and function_seconds > SYNCHRONOUS_TIMEOUT_SECONDS:
        yield (
            "lambda_timeout_seconds",
            f"at most {SYNCHRONOUS_TIMEOUT_SECONDS} beside a realtime or serverless endpoint, "
            "which ends a request then: the targets would answer differently",
        )
    if kind != "async" and config.min_instances == 0:
        yield "min_instances", "1 or more; only sagemaker_type=async can scale to none"
    if kind != "realtime" and config.data_capture_percent > 0:
        yield "data_capture_percent", "0 unless sagemaker_type is realtime"
    if kind == "serverless":
        if config.on_arm or config.network_isolation or config.subnet_ids:
            allowed = "realtime or async with architecture=arm64, network_isolation or subnet_ids"
            yield "sagemaker_type", allowed
        return
    if (instance_type.split(".")[1] in ARM_FAMILIES) != config.on_arm:
        families = ", ".join(ARM_FAMILIES)
        yield "instance_type", f"of these families with architecture=arm64 only: {families}"
    if instance_type.startswith(_OLD_FAMILIES):
        yield (
            "instance_type",
            "of a family that this image can use: with CPUs, or with a GPU of 2018 or later, such "
            "as ml.g4dn.xlarge; the image has CUDA 13 and no Neuron SDK",
        )
    if config.min_instances > config.max_instances:
        yield "min_instances", "at most max_instances"
    elif instance_type.startswith("ml.t2.") and config.min_instances < config.max_instances:
        yield "max_instances", "min_instances with ml.t2, which AWS does not scale"

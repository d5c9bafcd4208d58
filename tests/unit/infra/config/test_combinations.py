"""Combinations that AWS would refuse: each is reported, and the nearest allowed one is not."""

import re
from typing import Any

import boto3
import pytest

from infra.config import combinations
from infra.config.context import ConfigError, read_config
from infra.config.keys import ARM_FAMILIES, Config
from support.templates import BATCH, GROUPS, MODEL_DATA, MODEL_ID, SUBNETS

ARM, ARM_TYPE = {"architecture": "arm64"}, re.compile(r"ml\.[a-z]+[0-9]+g[a-z]*\.")
ONE_SUBNET = SUBNETS.partition(",")[0]
PACKAGE = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/cats/1"
SERVERLESS = {"mode": "both", "sagemaker_type": "serverless"}
IN_ONE = {"subnet_ids": ONE_SUBNET, "security_group_ids": GROUPS}
IN_VPC = {"subnet_ids": SUBNETS, "security_group_ids": GROUPS}
CLOSED = {"mode": "both", "network_isolation": "true", "uri_allowlist": "s3://pictures"}
GIVEN_DATA = {"model_data": MODEL_DATA, "model_id": MODEL_ID}

# The key that is reported, what breaks the rule, and a change that mends it (None: not given).
CASES: list[tuple[str, dict[str, str], dict[str, str | None]]] = [
    ("model_data", {"model_data": MODEL_DATA}, {"model_id": MODEL_ID}),
    ("model_package_arn", {"model_package_arn": PACKAGE, **GIVEN_DATA}, {"model_data": None}),
    ("url_auth", {"url_auth": "none"}, {"lambda_reserved_concurrency": "1"}),
    (
        "lambda_provisioned_concurrency",
        {"lambda_provisioned_concurrency": "2", "lambda_reserved_concurrency": "2"},
        {"lambda_reserved_concurrency": "3"},
    ),
    (
        "lambda_timeout_seconds",
        {"mode": "both", "lambda_timeout_seconds": "61"},
        {"sagemaker_type": "async"},
    ),
    (
        "lambda_timeout_seconds",
        {**SERVERLESS, "lambda_timeout_seconds": "61"},
        {"lambda_timeout_seconds": "60"},
    ),
    (
        "lambda_timeout_seconds",
        {"mode": "sagemaker", "keep_url": "true", "lambda_timeout_seconds": "61"},
        {"keep_url": "false"},
    ),
    (
        "sagemaker_percent",
        {"mode": "both", "sagemaker_type": "async", "sagemaker_percent": "1"},
        {"sagemaker_percent": "0"},
    ),
    (
        "keep_url",
        {"mode": "sagemaker", "sagemaker_type": "async", "keep_url": "true"},
        {"sagemaker_type": "serverless"},
    ),
    (
        "instance_type",
        {"mode": "sagemaker", "instance_type": "ml.p3.2xlarge"},
        {"instance_type": "ml.g4dn.xlarge"},
    ),
    (
        "instance_type",
        {"mode": "both", "instance_type": "ml.inf2.xlarge"},
        {"sagemaker_type": "serverless"},
    ),
    ("instance_type", {"instance_type": "ml.m6gd.large"}, {"architecture": "arm64"}),
    ("instance_type", {**ARM, "instance_type": "ml.m5.large"}, {"instance_type": "ml.r8g.large"}),
    ("instance_type", {**ARM, "instance_type": "ml.g5.large"}, {"architecture": "x86_64"}),
    # Of Arm's, but no family that SageMaker hosts.
    ("instance_type", {**ARM, "instance_type": "ml.t4g.large"}, {"instance_type": None}),
    ("architecture", {**SERVERLESS, **ARM}, {"sagemaker_type": "async"}),
    ("architecture", {**SERVERLESS, **ARM}, {"mode": "lambda"}),
    ("architecture", {**BATCH, **ARM}, {"batch_input": None, "batch_output": None}),
    ("build_args", {**ARM, "build_args": "WITH_MXNET=1"}, {"build_args": "WITH_MXNET=0"}),
    ("batch_input", {"batch_input": "s3://jobs"}, {"batch_output": "s3://answers"}),
    ("batch_output", {"batch_output": "s3://jobs"}, {"batch_input": "s3://jobs/in"}),
    (
        "batch_output",
        {"batch_input": "s3://jobs/a", "batch_output": "s3://jobs/a/"},
        {"batch_output": "s3://jobs/ab"},
    ),
    (
        "batch_output",
        {"batch_input": "s3://jobs/", "batch_output": "s3://jobs/out"},
        {"batch_input": "s3://jobs/in"},
    ),
    ("min_instances", {"min_instances": "3"}, {"max_instances": "3"}),
    # The default of max_instances breaks it.
    (
        "max_instances",
        {"mode": "sagemaker", "instance_type": "ml.t2.medium"},
        {"max_instances": "1"},
    ),
    (
        "url_cors_origins",
        {"url_auth": "off", "url_cors_origins": "*"},
        {"url_auth": "iam"},
    ),
    ("min_instances", {"mode": "sagemaker", "min_instances": "0"}, {"sagemaker_type": "async"}),
    ("data_capture_percent", {**SERVERLESS, "data_capture_percent": "1"}, {"mode": "lambda"}),
    (
        "data_capture_percent",
        {"mode": "both", "sagemaker_type": "async", "data_capture_percent": "1"},
        {"sagemaker_type": "realtime"},
    ),
    ("network_isolation", {**SERVERLESS, "network_isolation": "true"}, {"sagemaker_type": "async"}),
    ("subnet_ids", {**SERVERLESS, **IN_VPC}, {"sagemaker_type": "realtime"}),
    ("subnet_ids", {**BATCH, **IN_ONE}, {"subnet_ids": SUBNETS}),
    ("subnet_ids", {"mode": "both", **IN_ONE}, {"mode": "lambda"}),
    ("subnet_ids", {"subnet_ids": SUBNETS}, {"security_group_ids": GROUPS}),
    ("security_group_ids", {"security_group_ids": GROUPS}, {"subnet_ids": SUBNETS}),
    ("uri_allowlist", {"uri_allowlist": "*,none"}, {"uri_allowlist": "*,example.com"}),
    ("uri_allowlist", CLOSED, {"uri_allowlist": "none"}),
    ("uri_allowlist", CLOSED, {"network_isolation": "false"}),
]


def mistakes(context: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_config({"mode": "lambda", **context})
    return str(caught.value).splitlines()


def test_every_rule_has_a_case() -> None:
    reported = {line.partition(": ")[2] for _, broken, _ in CASES for line in mistakes(broken)}
    rules = combinations.check(Config(mode="lambda"))
    assert reported == {f"it must be {allowed}" for _, _, allowed in rules}


@pytest.mark.parametrize(("key", "broken", "mended"), CASES)
def test_a_broken_rule_is_one_line_and_its_mending_passes(
    key: str, broken: dict[str, str], mended: dict[str, str | None]
) -> None:
    """A key that is wrong by itself is not reported again."""
    (line,) = mistakes(broken)
    assert line.startswith(f"{key}=")
    read_config({"mode": "lambda", **broken, **mended})
    (line,) = mistakes({**broken, key: "?"})
    assert line.startswith(f"{key}='?': ")


def test_the_families_of_arm_are_those_that_sagemaker_hosts() -> None:
    """And none is for transform jobs."""
    model = boto3.client("sagemaker", region_name="us-east-1").meta.service_model
    found = {
        shape: {name.split(".")[1] for name in model.shape_for(shape).enum if ARM_TYPE.match(name)}
        for shape in ("ProductionVariantInstanceType", "TransformInstanceType")
    }
    hosted, transforming = found.values()
    assert (hosted, transforming) == ({*ARM_FAMILIES}, set())


def test_rules_of_a_target_that_the_mode_leaves_out_do_not_apply() -> None:
    assert read_config({**SERVERLESS, **IN_VPC, "mode": "lambda"}).mode == "lambda"
    assert read_config({"mode": "sagemaker", "lambda_timeout_seconds": "61"}).mode == "sagemaker"

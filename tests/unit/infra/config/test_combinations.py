"""Each combination that AWS would refuse is reported, and the nearest allowed one is not."""

import inspect
import re
from typing import Any

import boto3
import pytest

from infra.config import context as config_context
from infra.config.context import ConfigError, read_config
from infra.config.keys import ARM_FAMILIES
from support.templates import BATCH, GROUPS, MODEL_DATA, MODEL_ID, SUBNETS

ARM, ARM_TYPE = {"mode": "both", "architecture": "arm64"}, re.compile(r"ml\.[a-z]+[0-9]+g[a-z]*\.")
ASYNC = {"mode": "both", "sagemaker_type": "async"}
REALTIME = {"sagemaker_type": "realtime"}
KEPT = {"mode": "sagemaker", "keep_url": "true"}
WAITING, TYPE = {"lambda_timeout_seconds": "61"}, "instance_type"
PROVISIONED, RESERVED = "lambda_provisioned_concurrency", "lambda_reserved_concurrency"
PACKAGE = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/cats/1"
SERVERLESS = {"mode": "both", "sagemaker_type": "serverless"}
IN_ONE = {"subnet_ids": SUBNETS.partition(",")[0], "security_group_ids": GROUPS}
IN_VPC = {"subnet_ids": SUBNETS, "security_group_ids": GROUPS}
GIVEN_DATA = {"model_data": MODEL_DATA, "model_id": MODEL_ID}


def jobs(data_in: str, data_out: str) -> dict[str, str]:
    return {"batch_input": data_in, "batch_output": data_out}


# The reported key, keys that break a rule, and a change that fixes them (None removes a key).
CASES: list[tuple[str, dict[str, str], dict[str, str | None]]] = [
    ("model_data", {"model_data": MODEL_DATA}, {"model_id": MODEL_ID}),
    ("model_package_arn", {"model_package_arn": PACKAGE, **GIVEN_DATA}, {"model_data": None}),
    ("url_auth", {"url_auth": "none"}, {RESERVED: "1"}),
    (PROVISIONED, {PROVISIONED: "2", RESERVED: "2"}, {RESERVED: "3"}),
    ("lambda_timeout_seconds", {"mode": "both", **WAITING}, {"sagemaker_type": "async"}),
    ("lambda_timeout_seconds", {**KEPT, **WAITING}, {"keep_url": "false"}),
    ("sagemaker_type", {**ASYNC, "sagemaker_percent": "1"}, {"sagemaker_percent": "0"}),
    ("sagemaker_type", {**KEPT, "sagemaker_type": "async"}, {"sagemaker_type": "serverless"}),
    ("instance_type", {"mode": "sagemaker", TYPE: "ml.p3.2xlarge"}, {TYPE: "ml.g4dn.xlarge"}),
    ("instance_type", {"mode": "both", TYPE: "ml.m6gd.large"}, {"architecture": "arm64"}),
    ("instance_type", {**ARM, TYPE: "ml.m5.large"}, {TYPE: "ml.r8g.large"}),
    ("instance_type", {**ARM, TYPE: "ml.t4g.large"}, {TYPE: None}),  # SageMaker has no t4g
    ("sagemaker_type", {**ARM, **SERVERLESS}, {"sagemaker_type": "async"}),
    ("architecture", {**BATCH, **ARM}, {"batch_input": None, "batch_output": None}),
    ("batch_input", {"batch_input": "s3://jobs"}, {"batch_output": "s3://answers"}),
    ("batch_input", {"batch_output": "s3://jobs"}, {"batch_input": "s3://jobs/in"}),
    ("batch_output", jobs("s3://jobs/a/", "s3://jobs/a/b"), {"batch_output": "s3://jobs/ab"}),
    ("min_instances", {"mode": "both", "min_instances": "3"}, {"max_instances": "3"}),
    # The default of max_instances breaks the rule.
    ("max_instances", {"mode": "sagemaker", TYPE: "ml.t2.medium"}, {"max_instances": "1"}),
    ("min_instances", {"mode": "sagemaker", "min_instances": "0"}, {"sagemaker_type": "async"}),
    ("data_capture_percent", {**ASYNC, "data_capture_percent": "1"}, REALTIME),
    ("sagemaker_type", {**SERVERLESS, "network_isolation": "true"}, {"sagemaker_type": "async"}),
    ("sagemaker_type", {**SERVERLESS, **IN_VPC}, {"sagemaker_type": "realtime"}),
    ("subnet_ids", {**BATCH, **IN_ONE}, {"subnet_ids": SUBNETS}),
    ("subnet_ids", {"mode": "both", **IN_ONE}, {"mode": "lambda"}),
    ("subnet_ids", {"subnet_ids": SUBNETS}, {"security_group_ids": GROUPS}),
    ("subnet_ids", {"security_group_ids": GROUPS}, {"subnet_ids": SUBNETS}),
    ("uri_allowlist", {"uri_allowlist": "*,none"}, {"uri_allowlist": "*,example.com"}),
]


def mistakes(context: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_config({"mode": "lambda", **context})
    return str(caught.value).splitlines()


def test_every_rule_has_a_case() -> None:
    reported = {line.partition(": ")[2] for _, broken, _ in CASES for line in mistakes(broken)}
    assert len(reported) == inspect.getsource(config_context).count("yield ") - 1  # a `yield from`


@pytest.mark.parametrize(("key", "broken", "fix"), CASES)
def test_a_rule(key: str, broken: dict[str, str], fix: dict[str, str | None]) -> None:
    (line,) = mistakes(broken)
    assert line.startswith(f"{key}=")
    read_config({"mode": "lambda", **broken, **fix})
    (line,) = mistakes({**broken, key: "?"})  # an invalid value is reported once
    assert line.startswith(f"{key}='?': ")


def test_sagemaker_hosts_the_arm_families_and_runs_no_transform_jobs_on_them() -> None:
    model = boto3.client("sagemaker", region_name="us-east-1").meta.service_model
    hosted, transforming = (
        {name.split(".")[1] for name in model.shape_for(shape).enum if ARM_TYPE.match(name)}
        for shape in ("ProductionVariantInstanceType", "TransformInstanceType")
    )
    assert (hosted, transforming) == ({*ARM_FAMILIES}, set())


def test_rules_of_a_target_that_the_mode_leaves_out_do_not_apply() -> None:
    assert read_config({**SERVERLESS, **IN_VPC, "mode": "lambda"}).mode == "lambda"
    assert read_config({"mode": "sagemaker", "lambda_timeout_seconds": "61"}).mode == "sagemaker"

"""Combinations that AWS would refuse: each is reported, and the nearest one is not."""

from typing import Any, NamedTuple

import pytest

from infra import combinations
from infra.config import Config
from infra.context import ConfigError, read_config
from templates import BATCH, GROUPS, MODEL_DATA, MODEL_ID, SUBNETS


class Case(NamedTuple):
    """Keys that break a combination, the value that is reported, and what mends it."""

    broken: dict[str, str]
    value: str
    mended: dict[str, str | None]  # None: not given


ONE_SUBNET = SUBNETS.partition(",")[0]

PACKAGE = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/cats/1"

# By the keys of the combination, of which the first is reported.
CASES = {
    ("model_data", "model_id"): [
        Case({"model_data": MODEL_DATA}, MODEL_DATA, {"model_id": MODEL_ID}),
        Case({"model_data": MODEL_DATA}, MODEL_DATA, {"model_data": None}),
    ],
    ("model_package_arn", "model_data"): [
        Case(
            {"model_package_arn": PACKAGE, "model_data": MODEL_DATA, "model_id": MODEL_ID},
            PACKAGE,
            {"model_data": None},
        ),
        Case(
            {"model_package_arn": PACKAGE, "model_data": MODEL_DATA, "model_id": MODEL_ID},
            PACKAGE,
            {"model_package_arn": None},
        ),
    ],
    ("url_auth", "lambda_reserved_concurrency"): [
        Case({"url_auth": "none"}, "none", {"lambda_reserved_concurrency": "1"}),
        Case({"url_auth": "none"}, "none", {"url_auth": "iam"}),
    ],
    ("lambda_provisioned_concurrency", "lambda_reserved_concurrency"): [
        Case(
            {"lambda_provisioned_concurrency": "2", "lambda_reserved_concurrency": "2"},
            "2",
            {"lambda_reserved_concurrency": "3"},
        ),
        Case(
            {"lambda_provisioned_concurrency": "9", "lambda_reserved_concurrency": "1"},
            "9",
            {"lambda_reserved_concurrency": None},
        ),
    ],
    ("lambda_timeout_seconds", "mode", "sagemaker_type"): [
        Case({"mode": "both", "lambda_timeout_seconds": "61"}, "61", {"sagemaker_type": "async"}),
        Case(
            {"mode": "both", "lambda_timeout_seconds": "61"},
            "61",
            {"lambda_timeout_seconds": "60"},
        ),
        Case(
            {"mode": "both", "lambda_timeout_seconds": "900", "sagemaker_type": "serverless"},
            "900",
            {"mode": "sagemaker"},
        ),
    ],
    ("instance_type", "mode", "sagemaker_type"): [
        Case(
            {"mode": "sagemaker", "instance_type": "ml.p3.2xlarge"},
            "ml.p3.2xlarge",
            {"instance_type": "ml.g4dn.xlarge"},
        ),
        Case(
            {"mode": "both", "instance_type": "ml.inf2.xlarge"},
            "ml.inf2.xlarge",
            {"sagemaker_type": "serverless"},
        ),
        Case(
            {"mode": "sagemaker", "instance_type": "ml.trn1.2xlarge", "sagemaker_type": "async"},
            "ml.trn1.2xlarge",
            {"mode": "lambda"},
        ),
    ],
    ("batch_input", "batch_output"): [
        Case({"batch_input": "s3://jobs"}, "s3://jobs", {"batch_output": "s3://answers"}),
        Case({"batch_input": "s3://jobs"}, "s3://jobs", {"batch_input": None}),
    ],
    ("batch_output", "batch_input"): [
        Case({"batch_output": "s3://jobs"}, "s3://jobs", {"batch_input": "s3://jobs/in"}),
        Case(
            {"batch_input": "s3://jobs/a", "batch_output": "s3://jobs/a/"},
            "s3://jobs/a/",
            {"batch_output": "s3://jobs/ab"},
        ),
        Case(
            {"batch_input": "s3://jobs/", "batch_output": "s3://jobs/out"},
            "s3://jobs/out",
            {"batch_input": "s3://jobs/in"},
        ),
    ],
    ("min_instances", "max_instances"): [
        Case({"min_instances": "3"}, "3", {"max_instances": "3"}),
        Case({"min_instances": "3", "max_instances": "1"}, "3", {"min_instances": "1"}),
    ],
    ("max_instances", "min_instances", "mode", "sagemaker_type", "instance_type"): [
        # The default breaks it.
        Case({"mode": "sagemaker", "instance_type": "ml.t2.medium"}, "2", {"max_instances": "1"}),
        Case(
            {"mode": "both", "instance_type": "ml.t2.medium", "max_instances": "4"},
            "4",
            {"instance_type": "ml.t3.medium"},
        ),
        Case(
            {"mode": "both", "instance_type": "ml.t2.medium"}, "2", {"sagemaker_type": "serverless"}
        ),
    ],
    ("min_instances", "mode", "sagemaker_type"): [
        Case({"mode": "sagemaker", "min_instances": "0"}, "0", {"min_instances": "1"}),
        Case({"mode": "sagemaker", "min_instances": "0"}, "0", {"sagemaker_type": "async"}),
    ],
    ("data_capture_percent", "mode", "sagemaker_type"): [
        Case(
            {"mode": "sagemaker", "sagemaker_type": type_, "data_capture_percent": "1"},
            "1",
            mended,
        )
        for type_ in ("serverless", "async")
        for mended in ({"data_capture_percent": "0"}, {"sagemaker_type": "realtime"})
    ],
    ("network_isolation", "mode", "sagemaker_type"): [
        Case(
            {"mode": "both", "sagemaker_type": "serverless", "network_isolation": "true"},
            "true",
            mended,
        )
        for mended in ({"network_isolation": "false"}, {"sagemaker_type": "async"})
    ],
    ("subnet_ids", "mode", "sagemaker_type"): [
        Case(
            {
                "mode": "both",
                "sagemaker_type": "serverless",
                "subnet_ids": SUBNETS,
                "security_group_ids": GROUPS,
            },
            SUBNETS,
            mended,
        )
        for mended in (
            {"subnet_ids": None, "security_group_ids": None},
            {"sagemaker_type": "realtime"},
        )
    ],
    ("subnet_ids", "batch_input"): [
        Case(
            {**BATCH, "subnet_ids": ONE_SUBNET, "security_group_ids": GROUPS},
            ONE_SUBNET,
            mended,
        )
        for mended in ({"subnet_ids": SUBNETS}, {"batch_input": None, "batch_output": None})
    ],
    ("subnet_ids", "mode"): [
        Case(
            {"mode": mode, "subnet_ids": ONE_SUBNET, "security_group_ids": GROUPS},
            ONE_SUBNET,
            {"subnet_ids": SUBNETS},
        )
        for mode in ("sagemaker", "both")
    ],
    ("subnet_ids", "security_group_ids"): [
        Case({"subnet_ids": SUBNETS}, SUBNETS, {"security_group_ids": GROUPS}),
        Case({"subnet_ids": SUBNETS}, SUBNETS, {"subnet_ids": None}),
    ],
    ("security_group_ids", "subnet_ids"): [
        Case({"security_group_ids": GROUPS}, GROUPS, {"subnet_ids": SUBNETS}),
    ],
    ("uri_allowlist",): [
        Case({"uri_allowlist": "none,example.com"}, "none,example.com", {"uri_allowlist": "none"}),
        Case({"uri_allowlist": "*,none"}, "*,none", {"uri_allowlist": "*,example.com"}),
    ],
    ("uri_allowlist", "network_isolation"): [
        Case(
            {"mode": "both", "network_isolation": "true", "uri_allowlist": "s3://pictures"},
            "s3://pictures",
            mended,
        )
        for mended in (
            {"uri_allowlist": None},
            {"uri_allowlist": "none"},
            {"network_isolation": "false"},
        )
    ],
}
every_case = pytest.mark.parametrize(
    ("keys", "case"),
    [
        pytest.param(keys, case, id="-".join((*keys, *case.mended)))
        for keys, cases in CASES.items()
        for case in cases
    ],
)


def parse(context: dict[str, Any]) -> Config:
    return read_config(context)


def mistakes(context: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(context)
    return str(caught.value).splitlines()


def allowed(keys: tuple[str, ...]) -> str:
    (text,) = (rule.allowed for rule in combinations.ALL if rule.keys == keys)
    return text


def test_every_combination_is_tested() -> None:
    assert [rule.keys for rule in combinations.ALL] == [*CASES]


@every_case
def test_a_broken_combination_is_one_line_with_key_value_and_what_is_allowed(
    keys: tuple[str, ...], case: Case
) -> None:
    assert mistakes(case.broken) == [f"{keys[0]}={case.value!r}: it must be {allowed(keys)}"]


@every_case
def test_the_nearest_allowed_combination_passes(keys: tuple[str, ...], case: Case) -> None:
    parse({**case.broken, **case.mended})


@every_case
def test_a_combination_with_a_target_that_is_left_out_is_no_mistake(
    keys: tuple[str, ...], case: Case
) -> None:
    """One that is wrong whatever the targets are is."""
    for mode in ("lambda", "sagemaker"):
        given = {**case.broken, "mode": mode}
        about_sagemaker = keys[0] != "lambda_timeout_seconds"
        if "mode" in keys and (mode == "lambda" or not about_sagemaker):
            assert parse(given).mode == mode
        else:
            assert len(mistakes(given)) == 1


@every_case
def test_a_key_that_is_wrong_by_itself_is_not_reported_again(
    keys: tuple[str, ...], case: Case
) -> None:
    for key in keys:
        (line,) = mistakes({**case.broken, key: "?"})
        assert line.startswith(f"{key}='?': ")


def test_several_combinations_are_reported_together() -> None:
    lines = mistakes(
        {
            "mode": "sagemaker",
            "sagemaker_type": "serverless",
            "network_isolation": True,
            "data_capture_percent": 5,
            "url_auth": "none",
        }
    )
    assert [line.partition(": ")[0] for line in lines] == [
        "url_auth='none'",
        "data_capture_percent='5'",
        "network_isolation='true'",
    ]


def test_single_keys_and_combinations_are_reported_together() -> None:
    lines = mistakes({"url_auth": "none", "lambda_memory_mb": "lots", "model_data": MODEL_DATA})
    keys = [line.partition("=")[0] for line in lines]
    assert keys == ["lambda_memory_mb", "model_data", "url_auth"]


def test_one_key_is_reported_once_however_many_rules_it_breaks() -> None:
    (line,) = mistakes({"mode": "sagemaker", "sagemaker_type": "serverless", "subnet_ids": SUBNETS})
    assert line.startswith("subnet_ids=")

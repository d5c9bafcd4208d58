"""Context keys that do not exist: each is refused with what helps, and the CDK's own are not."""

from dataclasses import fields
from typing import Any

import pytest

from infra.config import Config
from infra.context import ConfigError, read_config
from ops.faces import ROOT

KEYS = {key.name for key in fields(Config)}


def refused(context: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_config(context)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("Mode", "mode"),
        ("modes", "mode"),
        ("lambda_memory", "lambda_memory_mb"),
        ("lambda-memory-mb", "lambda_memory_mb"),
        ("lambdaMemoryMb", "lambda_memory_mb"),
        ("min_instance", "min_instances"),
        ("instance_typ", "instance_type"),
        ("sagemaker_typ", "sagemaker_type"),
        ("subnets_ids", "subnet_ids"),
        ("url_allowlist", "uri_allowlist"),
        ("alarm_mail", "alarm_email"),
    ],
)
def test_a_near_miss_is_told_what_it_misses(key: str, meant: str) -> None:
    assert refused({key: "x"}) == [f"{key}='x': there is no such key; did you mean {meant}?"]


@pytest.mark.parametrize(
    ("key", "instead"),
    [
        ("vpc_id", {"subnet_ids", "security_group_ids"}),
        ("availability_zones", {"subnet_ids"}),
        ("async_output", set()),
        ("region", set()),
    ],
)
def test_a_needless_key_is_told_why(key: str, instead: set[str]) -> None:
    (line,) = refused({key: "x"})
    assert line.startswith(f"{key}='x': there is no such key; ")
    why = line.partition("; ")[2]
    assert len(why.split()) >= 3
    assert "did you mean" not in why
    assert instead == {name for name in KEYS if name in why.replace(",", " ").split()}


def test_any_other_is_told_where_all_are() -> None:
    (line,) = refused({"zzz": "x"})
    assert line == "zzz='x': there is no such key; docs/05-deployment.md lists all"
    text = (ROOT / "docs" / "05-deployment.md").read_text()
    assert [name for name in KEYS if f"`{name}`" not in text] == []


@pytest.mark.parametrize(
    ("given", "said"), [(False, "'false'"), (["a"], "'[\"a\"]'"), (3, "'3'"), (None, "'null'")]
)
def test_what_json_holds_is_said_as_json(given: object, said: str) -> None:
    assert refused({"zzz": given}) == [
        f"zzz={said}: there is no such key; docs/05-deployment.md lists all"
    ]


def test_unknown_keys_come_with_all_other_mistakes() -> None:
    lines = refused({"zzz": "x", "mode": "y", "Mode": "both", "model_data": "z", "a:b": "c"})
    assert [line.partition("=")[0] for line in lines] == ["mode", "model_data", "zzz", "Mode"]


@pytest.mark.parametrize(
    "key",
    [
        "a:b",
        "a/b",
        "@a",
        "aws:cdk:enable-path-metadata",
        "aws-cdk:enableDiffNoFail",
        "@aws-cdk/aws-iam:minimizePolicies",
        "vpc-provider:account=123456789012:region=eu-west-1",
        # The CDK's CLI writes these beside cdk.json: `cdk acknowledge`, `cdk cli-telemetry`.
        "acknowledged-issue-numbers",
        "cli-telemetry",
    ],
)
def test_the_cdks_own_are_left_alone(key: str) -> None:
    for given in ("x", True, [1], None):
        assert read_config({key: given, "mode": "both"}) == Config(mode="both")


@pytest.mark.parametrize("key", sorted(KEYS))
def test_no_key_looks_like_the_cdks_own(key: str) -> None:
    (line,) = refused({f"{key}_": "x"})
    assert line == f"{key}_='x': there is no such key; did you mean {key}?"

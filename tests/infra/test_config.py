"""Context -> Config: strict, and all mistakes at once."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from infra.config import Config, ConfigError

CDK_JSON = Path(__file__).parent.parent.parent / "cdk.json"


def parse(**context: Any) -> Config:
    return Config.from_context(context.get)


def test_nothing_given_is_the_defaults() -> None:
    assert parse() == Config()
    assert Config().mode == "lambda"


def test_cdk_json_states_the_default() -> None:
    context = json.loads(CDK_JSON.read_text())["context"]
    assert Config.from_context(context.get) == Config()


@pytest.mark.parametrize("key", fields(Config), ids=lambda key: key.name)
def test_each_key_explains_itself_and_obeys_its_own_rule(key: Any) -> None:
    assert key.metadata["doc"]
    assert key.metadata["rule"].allowed
    assert key.metadata["rule"].parse(str(key.default)) == key.default


@pytest.mark.parametrize(
    ("key", "given", "value"),
    [
        ("mode", "lambda", "lambda"),
        ("mode", "sagemaker", "sagemaker"),
        ("mode", "both", "both"),
        ("stack_name", "cats-in-production", "cats-in-production"),
        ("model_name", "mobilenetv3_large", "mobilenetv3_large"),
        ("model_name", "resnet18_v1b_0.89", "resnet18_v1b_0.89"),
        ("lambda_memory_mb", "128", 128),
        ("lambda_memory_mb", "10240", 10240),
        ("lambda_memory_mb", 3008, 3008),  # a JSON number, from cdk.json
        ("lambda_timeout_seconds", "900", 900),
        ("instance_type", "ml.c7i.2xlarge", "ml.c7i.2xlarge"),
        ("instance_type", "ml.g5.xlarge", "ml.g5.xlarge"),
    ],
)
def test_values_from_the_command_line_and_from_json(key: str, given: object, value: object) -> None:
    assert getattr(parse(**{key: given}), key) == value


@pytest.mark.parametrize(
    ("key", "given", "allowed"),
    [
        ("mode", "x", "lambda, sagemaker, both"),
        ("mode", "", "lambda, sagemaker, both"),
        ("mode", "Lambda", "lambda, sagemaker, both"),
        ("mode", "false", "lambda, sagemaker, both"),
        ("mode", False, "lambda, sagemaker, both"),
        ("mode", ["lambda"], "lambda, sagemaker, both"),
        ("stack_name", "2cats", "a letter first"),
        ("stack_name", "cats\n", "letters"),
        ("stack_name", "c" * 129, "1 to 128"),
        ("model_name", "../cats", "letters"),
        ("model_name", "", "letters"),
        ("lambda_memory_mb", "127", "from 128 to 10240"),
        ("lambda_memory_mb", "10241", "from 128 to 10240"),
        ("lambda_memory_mb", "1e3", "from 128 to 10240"),
        ("lambda_memory_mb", " 512", "from 128 to 10240"),
        ("lambda_memory_mb", "-512", "from 128 to 10240"),
        ("lambda_memory_mb", "９９９", "from 128 to 10240"),  # noqa: RUF001 - digits, but not ASCII
        ("lambda_memory_mb", "1" * 5000, "from 128 to 10240"),
        ("lambda_memory_mb", 512.5, "from 128 to 10240"),
        ("lambda_memory_mb", True, "from 128 to 10240"),
        ("lambda_timeout_seconds", "0", "from 1 to 900"),
        ("lambda_timeout_seconds", "901", "from 1 to 900"),
        ("instance_type", "m5.large", "ml.<family>.<size>"),
        ("instance_type", "ml.m5", "ml.<family>.<size>"),
        ("instance_type", "ml.m6g.large", "x86-64"),
        ("instance_type", "ml.c6gn.large", "x86-64"),
    ],
)
def test_a_mistake_is_one_line_with_key_value_and_choices(
    key: str, given: object, allowed: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(**{key: given})
    (line,) = str(caught.value).splitlines()
    value = given if isinstance(given, str) else json.dumps(given)
    assert line.startswith(f"{key}={value!r}: ")
    assert allowed in line


def test_all_mistakes_come_together() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(mode="x", lambda_memory_mb="lots", instance_type="big", stack_name="fine")
    keys = [line.partition("=")[0] for line in str(caught.value).splitlines()]
    assert keys == ["mode", "lambda_memory_mb", "instance_type"]


@pytest.mark.parametrize(
    ("mode", "targets"), [("lambda", (1, 0)), ("sagemaker", (0, 1)), ("both", (1, 1))]
)
def test_the_mode_names_the_targets(mode: str, targets: tuple[int, int]) -> None:
    config = parse(mode=mode)
    assert (config.on_lambda, config.on_sagemaker) == targets

"""Context -> Config: the defaults, and all mistakes at once."""

import json
from dataclasses import fields
from typing import Any

import pytest

from infra.config import Config
from infra.context import ConfigError, read_config
from ops.faces import ROOT
from templates import GROUPS, SUBNETS


def parse(**context: Any) -> Config:
    return read_config(context)


def test_nothing_given_is_the_defaults() -> None:
    assert parse() == Config()
    assert Config().mode == "lambda"


def test_cdk_json_states_the_default() -> None:
    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    assert read_config(context) == Config()


@pytest.mark.parametrize("key", fields(Config), ids=lambda key: key.name)
def test_each_key_explains_itself_and_obeys_its_own_rule(key: Any) -> None:
    assert key.metadata["doc"]
    assert key.metadata["group"]
    assert key.metadata["rule"].allowed
    if key.default in (None, ()):
        return  # stands for a key that is not given
    text = ",".join(key.default) if isinstance(key.default, tuple) else json.dumps(key.default)
    assert key.metadata["rule"].parse(text.strip('"')) == key.default


def test_a_reader_meets_five_keys_first() -> None:
    groups = [key.metadata["group"] for key in fields(Config)]
    assert groups.count("First") == 5
    assert groups == sorted(groups, key=[*dict.fromkeys(groups)].index)  # each in one piece


def test_all_mistakes_come_together() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(mode="x", lambda_memory_mb="lots", instance_type="big", stack_name="fine")
    keys = [line.partition("=")[0] for line in str(caught.value).splitlines()]
    assert keys == ["mode", "instance_type", "lambda_memory_mb"]


def test_the_cdk_hands_over_what_json_holds() -> None:
    from aws_cdk import App

    context = {
        "network_isolation": False,
        "lambda_memory_mb": 2048,
        "subnet_ids": SUBNETS.split(","),
        "security_group_ids": [GROUPS],
    }
    config = read_config(App(context=context).node.get_all_context())
    assert config == parse(
        network_isolation="false",
        lambda_memory_mb="2048",
        subnet_ids=SUBNETS,
        security_group_ids=GROUPS,
    )


@pytest.mark.parametrize(
    ("mode", "targets"), [("lambda", (1, 0)), ("sagemaker", (0, 1)), ("both", (1, 1))]
)
def test_the_mode_names_the_targets(mode: str, targets: tuple[int, int]) -> None:
    config = parse(mode=mode)
    assert (config.on_lambda, config.on_sagemaker) == targets

"""Read the context: defaults, unknown names, and all mistakes at once."""

import json
from dataclasses import asdict
from typing import Any

import pytest

from infra.config.context import ConfigError, read_config
from infra.config.keys import MEANINGS, RULES, Config
from ops.local_servers import ROOT
from support.templates import MODEL_DATA, MODEL_ID


def refused(**context: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_config({"mode": "lambda", **context})
    return str(caught.value).splitlines()


def test_without_a_mode_one_line_says_what_to_choose_and_where() -> None:
    """A default would remove the other target of a stack that has both."""
    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    with pytest.raises(ConfigError) as caught:
        read_config({**context, "min_instances": "0", "lambda_timeout_seconds": "61"})
    (line,) = str(caught.value).splitlines()
    assert line.startswith("mode is missing: choose lambda, sagemaker or both, with `-c mode=")
    assert '"mode": "lambda" in "context" of cdk.json' in line


def test_only_what_differs_from_the_defaults_was_given() -> None:
    keys = {
        "mode": "both",
        "model_data": MODEL_DATA,
        "model_id": MODEL_ID,
        "min_instances": "2",
        "uri_allowlist": "s3://pictures,example.com",
        "examiner": "false",
    }
    defaults = {"lambda_memory_mb": "1769", "url_auth": "iam"}
    given = read_config({**keys, **defaults}).given
    assert given == keys
    assert read_config(given) == read_config(keys)


def test_the_architecture_brings_a_default_instance_type_of_its_own() -> None:
    config = read_config({"mode": "both", "architecture": "arm64"})
    assert config.instance_type == "ml.c7g.large"
    assert read_config(config.given) == config
    named = {"architecture": "arm64", "instance_type": "ml.m8g.xlarge"}
    assert read_config({"mode": "both", **named}).instance_type == "ml.m8g.xlarge"


def test_each_default_obeys_its_own_rule() -> None:
    config = Config(mode="lambda")
    given = {name: value for name, value in asdict(config).items() if value not in (None, ())}
    assert read_config({**given, "uri_allowlist": ["*"]}) == config


def test_every_key_is_explained_and_a_reader_meets_five_first() -> None:
    assert [name for group in MEANINGS.values() for name in group] == [*RULES]
    assert len(MEANINGS["First"]) == 5


def test_all_mistakes_are_reported_together_and_each_key_once() -> None:
    """Combinations are checked if there is no other mistake."""
    combined = {"mode": "both", "min_instances": "0", "url_auth": "none", "a:b": "c"}
    lines = refused(**combined, zzz="x", Mode="both", lambda_memory_mb="lots", stack_name="fine")
    assert [line.partition("=")[0] for line in lines] == ["zzz", "Mode", "lambda_memory_mb"]
    lines = refused(**combined)
    assert [line.partition("=")[0] for line in lines] == ["url_auth", "min_instances"]


@pytest.mark.parametrize(
    ("key", "advice"),
    [
        ("lambdaMemoryMb", "did you mean lambda_memory_mb?"),
        ("zzz", "docs/05-deployment.md lists all"),
    ],
)
def test_an_unknown_key_gets_advice(key: str, advice: str) -> None:
    assert refused(**{key: False}) == [f"{key}='false': there is no such key; {advice}"]


def test_the_cdks_own_keys_are_accepted() -> None:
    """`cdk acknowledge` and `cdk cli-telemetry` write the last two to cdk.context.json."""
    keys = ("vpc-provider:account=1", "@aws-cdk/a:b", "acknowledged-issue-numbers", "cli-telemetry")
    for key in keys:
        assert read_config({key: [1], "mode": "both"}) == Config(mode="both")

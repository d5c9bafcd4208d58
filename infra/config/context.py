"""Read the CDK's context into a Config, strictly."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from infra.config import combinations
from infra.config.keys import ARM_INSTANCE_TYPE, RULES, Config, as_text

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
    if broken := list(combinations.check(config)):
        texts = {name: as_text(getattr(config, name)) for name, _ in broken}
        raise ConfigError(
            "\n".join(f"{name}={texts[name]!r}: it must be {allowed}" for name, allowed in broken)
        )
    return config

"""Read the CDK's context into a Config, strictly, and report all mistakes at once."""

import json
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from infra.config import combinations
from infra.config.keys import ARM_INSTANCE_TYPE, RULES, Config

# Names that are not keys but that a user may expect.
_HINTS = {
    "vpc_id": "set subnet_ids and security_group_ids instead",
    "availability_zones": "set subnet_ids instead",
    "async_output": "the stack creates the bucket; its outputs name it",
    "region": "the CDK reads it from AWS_REGION or --profile",
}
_NO_MODE = (
    "mode is missing: choose lambda, sagemaker or both, with `-c mode=lambda` for one command, or "
    '"mode": "lambda" in "context" of cdk.json for all'
)
# The CDK's flags and look-ups, and the keys that its CLI keeps in cdk.context.json.
_CDK_NAMES = re.compile("acknowledged-issue-numbers|cli-telemetry|.*[:/@].*")


class ConfigError(ValueError):
    """List all configuration mistakes, one line each."""


def read_config(context: Mapping[str, object]) -> Config:
    """Read the CDK's whole context. A key other than mode that is missing or None gets its default.

    Values are text from the command line or JSON from cdk.json. Raises ConfigError, which lists
    invalid values, then invalid combinations, then unknown names.
    """
    values: dict[str, Any] = {}
    texts: dict[str, str] = {}
    mistakes = {"mode": _NO_MODE} if context.get("mode") is None else {}
    for name, rule in RULES.items():
        given = context.get(name)
        if given is None:
            continue
        texts[name] = text = _text(given)
        if rule.many and isinstance(given, list):
            text = ",".join(map(_text, given))
        if (value := rule.parse(text)) is None:
            mistakes[name] = rule.allowed + rule.hint(text)
        else:
            values[name] = value
    if values.get("architecture") == "arm64":
        values = {"instance_type": ARM_INSTANCE_TYPE, **values}
    config = Config(**{"mode": "lambda", **values})
    for keys, broken, allowed in combinations.check(config):
        name, *_ = keys.split()
        if broken and not mistakes.keys() & {*keys.split()}:
            texts.setdefault(name, _text(getattr(config, name)))
            mistakes[name] = allowed
    lines = [
        f"{name}={texts[name]!r}: it must be {allowed}" if name in texts else allowed
        for name, allowed in mistakes.items()
    ]
    for name in context:
        if name in RULES or _CDK_NAMES.fullmatch(name):
            continue
        near = get_close_matches(name, RULES, n=1)
        other = f"did you mean {near[0]}?" if near else "docs/05-deployment.md lists all"
        hint = _HINTS.get(name) or other
        lines.append(f"{name}={_text(context[name])!r}: there is no such key; {hint}")
    if lines:
        raise ConfigError("\n".join(lines))
    return config


def _text(value: object) -> str:
    """Return the value as text on the command line."""
    return value if isinstance(value, str) else json.dumps(value)

"""Read the CDK's context into a Config, strictly, and report all mistakes at once."""

import json
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from infra.config import combinations
from infra.config.keys import ARM_INSTANCE_TYPE, RULES, Config

# Keys of other constructs that a user may look for.
_HINTS = {
    "vpc_id": "subnet_ids and security_group_ids say it all",
    "availability_zones": "subnet_ids say them",
    "async_output": "the stack makes the bucket; its outputs name it",
    "region": "the CDK's own: AWS_REGION, or --profile",
}
_NO_MODE = (
    "mode is missing: choose lambda, sagemaker or both, with `-c mode=lambda` for one command, or "
    '"mode": "lambda" in "context" of cdk.json for all'
)
# The CDK's own: its flags and look-ups, and what its CLI keeps in cdk.context.json.
_CDK_NAMES = re.compile("acknowledged-issue-numbers|cli-telemetry|.*[:/@].*")


class ConfigError(ValueError):
    """Reports all configuration mistakes, one line each."""


def read_config(context: Mapping[str, object]) -> Config:
    """Read the CDK's whole context; a key other than mode may be missing or None: its default.

    Values come as text from the command line and as JSON from cdk.json; both are parsed alike.
    Raises ConfigError with every mistake of single keys, combinations and unknown names.
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
    for combination in combinations.check(config):
        name = combination.keys[0]
        if combination.broken and not mistakes.keys() & {*combination.keys}:
            texts.setdefault(name, _text(getattr(config, name)))
            mistakes[name] = combination.allowed
    lines = [
        f"{name}={texts[name]!r}: it must be {allowed}" if name in texts else allowed
        for name, allowed in mistakes.items()
    ]
    if lines := [*lines, *_unknown(context)]:
        raise ConfigError("\n".join(lines))
    return config


def _unknown(context: Mapping[str, object]) -> Iterator[str]:
    """Yield a line for each name that is no key, with a hint."""
    for name in context:
        if name in RULES or _CDK_NAMES.fullmatch(name):
            continue
        near = get_close_matches(name, RULES, n=1)
        hint = _HINTS.get(name) or (
            f"did you mean {near[0]}?" if near else "docs/05-deployment.md lists all"
        )
        yield f"{name}={_text(context[name])!r}: there is no such key; {hint}"


def _text(value: object) -> str:
    """Return the value as the command line would have it."""
    return value if isinstance(value, str) else json.dumps(value)

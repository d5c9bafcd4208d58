"""The CDK's context -> Config: strict, and all mistakes at once."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

from infra import combinations
from infra.config import Config
from infra.rules import Rule

# Keys that a user of other constructs would look for.
_NEEDLESS = {
    "vpc_id": "subnet_ids and security_group_ids say it all",
    "availability_zones": "subnet_ids say them",
    "async_output": "the stack makes the bucket; its outputs name it",
    "region": "the CDK's own: AWS_REGION, or --profile",
}
# The CDK's: its flags and look-ups, and what its CLI keeps in cdk.context.json.
_OF_THE_CDK = re.compile("acknowledged-issue-numbers|cli-telemetry|.*[:/@].*")


class ConfigError(ValueError):
    """All configuration mistakes at once, one line each."""


def read_config(context: Mapping[str, object]) -> Config:
    """Read the CDK's whole context; a key that is missing or None has its default.

    Values come as text from the command line and as JSON from cdk.json; both are parsed alike.
    Raises ConfigError that names the key, the value and what is allowed, for every mistake: those
    of single keys, of combinations that AWS would refuse at deploy time, and of names that are no
    key. The CDK's own names are left alone.
    """
    values: dict[str, Any] = {}
    texts: dict[str, str] = {}
    mistakes: dict[str, str] = {}
    for key in fields(Config):
        given = context.get(key.name)
        if given is None:
            continue
        rule: Rule[Any] = key.metadata["rule"]
        texts[key.name] = text = _text(given)
        if rule.many and isinstance(given, list):
            text = ",".join(map(_text, given))
        value = rule.parse(text)
        if value is None:
            mistakes[key.name] = rule.allowed + rule.hint(text)
        else:
            values[key.name] = value
    config = Config(**values)
    for combination in combinations.ALL:
        name = combination.keys[0]
        if not mistakes.keys() & {*combination.keys} and combination.broken(config):
            texts.setdefault(name, _text(getattr(config, name)))
            mistakes[name] = combination.allowed
    lines = [f"{name}={texts[name]!r}: it must be {allowed}" for name, allowed in mistakes.items()]
    if lines := [*lines, *_unknown(context)]:
        raise ConfigError("\n".join(lines))
    return config


def _unknown(context: Mapping[str, object]) -> Iterator[str]:
    names = [key.name for key in fields(Config)]
    for name in context:
        if name in names or _OF_THE_CDK.fullmatch(name):
            continue
        near = get_close_matches(name, names, n=1)
        hint = _NEEDLESS.get(name) or (
            f"did you mean {near[0]}?" if near else "docs/05-deployment.md lists all"
        )
        yield f"{name}={_text(context[name])!r}: there is no such key; {hint}"


def _text(value: object) -> str:
    """As the command line would have it."""
    return value if isinstance(value, str) else json.dumps(value)

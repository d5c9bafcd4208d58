"""The CDK's context -> Config: strict, and all mistakes at once."""

import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from infra import combinations
from infra.config import Config
from infra.rules import Rule


class ConfigError(ValueError):
    """All configuration mistakes at once, one line each."""


def read_config(context: Callable[[str], object]) -> Config:
    """Read every key with `context(key)`, which answers None for one that is not given.

    Values come as text from the command line and as JSON from cdk.json; both are parsed alike.
    Raises ConfigError that names the key, the value and what is allowed, for every mistake:
    those of single keys, and of combinations that AWS would refuse at deploy time.
    """
    values: dict[str, Any] = {}
    texts: dict[str, str] = {}
    mistakes: dict[str, str] = {}
    for key in fields(Config):
        given = context(key.name)
        if given is None:
            continue
        rule: Rule[Any] = key.metadata["rule"]
        texts[key.name] = text = _text(given)
        if rule.many and isinstance(given, list):
            text = ",".join(map(_text, given))
        value = rule.parse(text)
        if value is None:
            mistakes[key.name] = rule.allowed
        else:
            values[key.name] = value
    config = Config(**values)
    for combination in combinations.ALL:
        name = combination.keys[0]
        if not mistakes.keys() & {*combination.keys} and combination.broken(config):
            texts.setdefault(name, _text(getattr(config, name)))
            mistakes[name] = combination.allowed
    if mistakes:
        lines = (
            f"{name}={texts[name]!r}: it must be {allowed}" for name, allowed in mistakes.items()
        )
        raise ConfigError("\n".join(lines))
    return config


def _text(value: object) -> str:
    """As the command line would have it."""
    return value if isinstance(value, str) else json.dumps(value)

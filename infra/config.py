"""What a deployment may choose: every context key, with its default, its rule and its meaning."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Generic, Literal, TypeVar, get_args

Mode = Literal["lambda", "sagemaker", "both"]

T = TypeVar("T")


class ConfigError(ValueError):
    """All configuration mistakes at once, one line each."""


@dataclass(frozen=True)
class Rule(Generic[T]):
    """What a key's value may be."""

    allowed: str
    """Completes the sentence "it must be ..."."""
    parse: Callable[[str], T | None]
    """The value that a text means, or None where the text breaks the rule."""


def _one_of(choices: Mapping[str, T]) -> Rule[T]:
    return Rule(f"one of {', '.join(choices)}", choices.get)


def _whole(low: int, high: int) -> Rule[int]:
    def parse(text: str) -> int | None:
        # Nine digits hold every limit here, and int() refuses thousands of them with a traceback.
        number = int(text) if re.fullmatch("[0-9]{1,9}", text) else low - 1
        return number if low <= number <= high else None

    return Rule(f"a whole number from {low} to {high}", parse)


def _matching(pattern: str, allowed: str) -> Rule[str]:
    return Rule(allowed, lambda text: text if re.fullmatch(pattern, text) else None)


def _key(rule: Rule[Any], doc: str) -> dict[str, Any]:
    return {"rule": rule, "doc": doc}


@dataclass(frozen=True)
class Config:
    """The validated choices of one deployment.

    Each field is a context key of the same name: `-c KEY=VALUE`, or `context` in cdk.json. Its
    metadata hold the `rule` that a value must meet and a `doc` line.
    """

    mode: Mode = field(
        default="lambda",  # costs nothing while idle
        metadata=_key(
            _one_of({mode: mode for mode in get_args(Mode)}), "where the image is deployed"
        ),
    )
    stack_name: str = field(
        default="DualInferenceStack",
        # https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStack.html
        metadata=_key(
            _matching(
                "[A-Za-z][A-Za-z0-9-]{0,127}",
                "1 to 128 letters, digits or hyphens, a letter first",
            ),
            "the CloudFormation stack; another name is another deployment",
        ),
    )
    model_name: str = field(
        default="efficientnet_lite0",
        metadata=_key(
            # It also names a folder in the image.
            _matching(
                "[A-Za-z0-9][A-Za-z0-9._-]{0,127}",
                "1 to 128 letters, digits, '.', '_' or '-', a letter or digit first",
            ),
            "the model that is built into the image",
        ),
    )
    lambda_memory_mb: int = field(
        default=1769,  # https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
        metadata=_key(
            _whole(128, 10240), "the function's memory; CPU comes with it, one vCPU for 1,769 MB"
        ),
    )
    lambda_timeout_seconds: int = field(
        default=30,
        metadata=_key(_whole(1, 900), "how long one invocation of the function may take"),
    )
    instance_type: str = field(
        default="ml.m5.large",
        metadata=_key(
            # A digit followed by g is an Arm family (ml.c7g, ml.m6gd); the image is for x86-64.
            _matching(
                r"ml\.(?![a-z]+[0-9]+g)[a-z][a-z0-9-]*\.[a-z0-9-]+",
                "ml.<family>.<size> of an x86-64 family, such as ml.m5.large",
            ),
            "the endpoint's instance type; another one makes a new endpoint",
        ),
    )

    @classmethod
    def from_context(cls, context: Callable[[str], object]) -> "Config":
        """Read every key with `context(key)`, which answers None for one that is not given.

        Values come as text from the command line and as JSON from cdk.json; both are parsed alike.
        Raises ConfigError that names the key, the value and what is allowed, for every mistake.
        """
        values: dict[str, Any] = {}
        mistakes = []
        for key in fields(cls):
            given = context(key.name)
            if given is None:
                continue
            text = given if isinstance(given, str) else json.dumps(given)
            rule: Rule[Any] = key.metadata["rule"]
            values[key.name] = rule.parse(text)
            if values[key.name] is None:
                mistakes.append(f"{key.name}={text!r}: it must be {rule.allowed}")
        if mistakes:
            raise ConfigError("\n".join(mistakes))
        return cls(**values)

    @property
    def on_lambda(self) -> bool:
        """Whether this deployment has the Lambda target."""
        return self.mode in ("lambda", "both")

    @property
    def on_sagemaker(self) -> bool:
        """Whether this deployment has the SageMaker target."""
        return self.mode in ("sagemaker", "both")

"""Define every context key: its type, its rule and its default."""

import json
import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

# SageMaker's limit for the value of an environment variable.
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ContainerDefinition.html
_MAX_ENVIRONMENT_VALUE = 1024


@dataclass(frozen=True)
class Rule:
    """Parse a key's value, and say what is allowed."""

    allowed: str  # completes the sentence "it must be ..."
    parse: Callable[[str], Any]  # returns None for an invalid text
    names: Sequence[str] = ()  # if not empty, a misspelt name gets the nearest of these

    def hint(self, text: str) -> str:
        near = get_close_matches(text, self.names)
        return f"; did you mean {' or '.join(near)}?" if near else ""


def _whole(low: int, high: int) -> Rule:
    def parse(text: str) -> int | None:
        # int() raises an error for more than 4,300 digits; nine are enough for every limit here.
        number = int(text) if re.fullmatch("[0-9]{1,9}", text) else low - 1
        return number if low <= number <= high else None

    return Rule(f"a whole number from {low} to {high}", parse)


def _matching(pattern: str, allowed: str) -> Rule:
    return Rule(allowed, lambda text: text if re.fullmatch(pattern, text) else None)


def _list_of(pattern: str, items: str, most: int) -> Rule:
    """Return a rule for 1 to `most` items that together fit into one environment variable."""

    def parse(text: str) -> tuple[str, ...] | None:
        found = tuple(dict.fromkeys(item.strip() for item in text.split(",")))
        fits = len(found) <= most and len(",".join(found)) <= _MAX_ENVIRONMENT_VALUE
        return found if fits and all(re.fullmatch(pattern, item) for item in found) else None

    return Rule(f"{items}, separated by commas", parse)


def as_text(value: object) -> str:
    """Return a value, as JSON or parsed, as `-c` takes it."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ",".join(map(as_text, value))
    return value if isinstance(value, str) else json.dumps(value)


# GluonCV's classification models without resnet50_v1b_gn, which MXNet cannot export.
MODEL_NAMES = Path(__file__).with_name("zoo_names.txt").read_text().split()
_DEFAULT_MODEL = MODEL_NAMES[0]

# The Arm families that SageMaker hosts, as of 2026-11.
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProductionVariant.html
ARM_FAMILIES = (
    *("c6g", "c6gd", "c6gn", "c7g", "c8g", "m6g", "m6gd", "m8g"),
    *("r6g", "r6gd", "r7gd", "r8g"),
)
ARM_INSTANCE_TYPE = "ml.c7g.large"

_BUCKET = "s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
# 1 to 65535
_PORT = "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"

# Rules that do not fit on the line of their key.
# https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStack.html
_STACK_NAME = _matching(
    "[A-Za-z][A-Za-z0-9-]{0,127}", "1 to 128 letters, digits or hyphens, a letter first"
)
# The names of models and folders also name a folder in the image.
_MODEL_NAME = Rule(
    f"{_DEFAULT_MODEL}, or a name of docs/03-zoo-models.md",
    lambda text: text if text in MODEL_NAMES else None,
    names=MODEL_NAMES,
)
_INSTANCE_TYPE = _matching(
    r"ml\.(?!.*-gb)[a-z][a-z0-9-]*\.[a-z0-9-]+",  # NVIDIA's gb200 has Arm CPUs
    "ml.FAMILY.SIZE, such as ml.m5.large or ml.c7g.large",
)
_EMAIL = _matching(r"[^@\s,]+@[^@\s,]+\.[^@\s,]+", "one address, such as team@example.com")
_MODEL_FOLDER = _matching(
    r"(?:[^\x00-\x1f]*/)?[A-Za-z0-9][A-Za-z0-9._-]{0,127}/?",
    "a folder such as examples/iris, named by letters, digits, '.', '_' or '-'",
)
_MODEL_DATA = _matching(
    rf"(?=.{{1,{_MAX_ENVIRONMENT_VALUE}}}$){_BUCKET}/[A-Za-z0-9_!.()'/=+@:-]+\.tar\.gz",
    "s3://BUCKET/KEY.tar.gz, in a bucket of this account",
)
_MODEL_ID = _matching("[0-9a-f]{64}", "a model id: 64 hexadecimal digits, lower case")
# Packages without a group, such as those of AWS Marketplace, have no approval status.
_MODEL_PACKAGE_ARN = _matching(
    "arn:aws[a-z-]*:sagemaker:[a-z0-9-]+:[0-9]{12}:model-package"
    "/[A-Za-z0-9][A-Za-z0-9-]{0,62}/[1-9][0-9]{0,8}",
    "the ARN of a version: arn:aws:sagemaker:REGION:ACCOUNT:model-package/GROUP/VERSION",
)
# Each is an ARG of the Dockerfile.
_BUILD_ARGS = _list_of(
    r"(AWS_SERVICES|(BASE|EXPORTER)_IMAGE|MXNET_GLUON_REPO|PIP_INDEX_URL|WITH_MXNET)"
    r"=[^,\x00-\x1f]+",
    "NAME=VALUE, of AWS_SERVICES, BASE_IMAGE, EXPORTER_IMAGE, MXNET_GLUON_REPO, PIP_INDEX_URL, "
    "WITH_MXNET",
    most=6,
)
_REBUILD = _matching("[A-Za-z0-9.-]{1,64}", "a word, such as a date: 2026-11-30")
_FOLDER = _matching(
    # *, ? and $ would be wildcards in the role's policy.
    rf"(?=.{{1,512}}$){_BUCKET}(/[A-Za-z0-9_!.()'=+@:-]+)*/?",
    "s3://BUCKET or s3://BUCKET/FOLDER, in a bucket of this account",
)
# https://docs.aws.amazon.com/lambda/latest/api/API_Cors.html
_ORIGIN = r"\*|https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?"
_ORIGINS = _list_of(_ORIGIN, "origins such as https://example.com, or *", most=100)
_ALLOWLIST = _list_of(
    rf"\*|(\*\.)?({_LABEL}\.)+{_LABEL}(:({_PORT}))?|{_BUCKET}|none",
    "hosts (images.example.com, *.example.com:8443), buckets (s3://BUCKET), "
    "* (every public host) or none",
    most=100,
)
# The limits of SageMaker and of Lambda.
_SUBNETS = _list_of("subnet-[0-9a-f]{8,17}", "subnet ids", most=16)
_GROUPS = _list_of("sg-[0-9a-f]{8,17}", "security group ids", most=5)
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
_Days = Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827, 3653]


@dataclass(frozen=True)
class Config:
    """The validated choices of one deployment.

    Each field is a context key of the same name: `-c KEY=VALUE`, or `context` in cdk.json. Its rule
    is its type, or annotates it. None and () mean that the key is not set. Keys of a target that
    the mode leaves out are checked but have no effect.
    """

    # There is no default, because deploying another mode than before removes a target.
    mode: Literal["lambda", "sagemaker", "both"]
    stack_name: Annotated[str, _STACK_NAME] = "DualInferenceStack"
    model_name: Annotated[str, _MODEL_NAME] = _DEFAULT_MODEL
    # With architecture=arm64, read_config sets ARM_INSTANCE_TYPE.
    instance_type: Annotated[str, _INSTANCE_TYPE] = "ml.m5.large"
    alarm_email: Annotated[str | None, _EMAIL] = None

    model_folder: Annotated[str | None, _MODEL_FOLDER] = None
    model_data: Annotated[str | None, _MODEL_DATA] = None
    model_id: Annotated[str | None, _MODEL_ID] = None
    model_package_arn: Annotated[str | None, _MODEL_PACKAGE_ARN] = None
    architecture: Literal["x86_64", "arm64"] = "x86_64"
    build_args: Annotated[tuple[str, ...], _BUILD_ARGS] = ()
    rebuild: Annotated[str | None, _REBUILD] = None

    # https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
    lambda_memory_mb: Annotated[int, _whole(128, 10240)] = 1769
    lambda_timeout_seconds: Annotated[int, _whole(1, 900)] = 30
    lambda_ephemeral_mb: Annotated[int, _whole(512, 10240)] = 512
    lambda_reserved_concurrency: Annotated[int | None, _whole(1, 100_000)] = None
    lambda_provisioned_concurrency: Annotated[int | None, _whole(1, 100_000)] = None

    sagemaker_type: Literal["realtime", "serverless", "async"] = "realtime"
    min_instances: Annotated[int, _whole(0, 100)] = 1
    max_instances: Annotated[int, _whole(1, 100)] = 2
    invocations_per_instance_per_minute: Annotated[int, _whole(1, 1_000_000)] = 3000
    data_capture_percent: Annotated[int, _whole(0, 100)] = 0
    # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProductionVariantServerlessConfig.html
    serverless_memory_mb: Literal[1024, 2048, 3072, 4096, 5120, 6144] = 3072
    serverless_max_concurrency: Annotated[int, _whole(1, 200)] = 10
    sagemaker_percent: Annotated[int, _whole(0, 100)] = 0
    keep_url: bool = False
    spill: bool = False
    batch_input: Annotated[str | None, _FOLDER] = None
    batch_output: Annotated[str | None, _FOLDER] = None

    url_auth: Literal["iam", "none", "off"] = "iam"
    url_cors_origins: Annotated[tuple[str, ...], _ORIGINS] = ()
    uri_allowlist: Annotated[tuple[str, ...], _ALLOWLIST] = ("*",)
    network_isolation: bool = False
    subnet_ids: Annotated[tuple[str, ...], _SUBNETS] = ()
    security_group_ids: Annotated[tuple[str, ...], _GROUPS] = ()
    log_retention_days: _Days = 30
    examiner: bool = True

    @property
    def built_in(self) -> str:
        """Return the name of the model in the image."""
        return Path(self.model_folder).name if self.model_folder else self.model_name

    @property
    def given(self) -> dict[str, str]:
        """Return the mode, and each key that differs from its default, as `-c` takes them."""
        return {
            field.name: as_text(value)
            for field in fields(self)
            if (value := getattr(self, field.name)) != field.default
        }

    @property
    def on_lambda(self) -> bool:
        """Return True if this deployment has a function; with keep_url, the function forwards."""
        return self.mode in ("lambda", "both") or self.keep_url

    @property
    def on_sagemaker(self) -> bool:
        return self.mode in ("sagemaker", "both")

    @property
    def on_arm(self) -> bool:
        return self.architecture == "arm64"

    @property
    def forward_percent(self) -> int:
        """Return the share of the function's calls that the endpoint answers, 0 to 100."""
        if self.mode == "both":
            return self.sagemaker_percent
        return 100 if self.mode == "sagemaker" and self.keep_url else 0

    @property
    def is_doorman(self) -> bool:
        """Return True if the function forwards every call, and so loads no model."""
        return self.forward_percent == 100 and not self.spill


def _rule(hint: Any) -> Rule:
    """Return the rule of a field by its type."""
    if get_origin(hint) is Annotated:
        rule: Rule = get_args(hint)[1]
        return rule
    if hint is bool:
        return Rule("true or false", {"true": True, "false": False}.get)
    choices = {str(choice): choice for choice in get_args(hint)}
    return Rule(f"one of {', '.join(choices)}", choices.get)


RULES = {name: _rule(hint) for name, hint in get_type_hints(Config, include_extras=True).items()}
# The keys of each group, in the order of RULES, with the meaning of each.
MEANINGS: dict[str, dict[str, str]] = tomllib.loads(
    Path(__file__).with_name("keys.toml").read_text()
)

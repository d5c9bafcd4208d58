"""What a deployment may choose: every context key, with its default, its rule and its meaning."""

import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from infra import zoo
from infra.rules import (
    MAX_ENVIRONMENT_VALUE,
    Rule,
    boolean,
    list_of,
    matching,
    name_of,
    one_number_of,
    one_of,
    whole,
)

# What a reader meets first, and then what for.
FIRST = "First"
MODEL = "The model"
ON_LAMBDA = "Lambda"
ON_SAGEMAKER = "SageMaker"
ACCESS = "Who may call, and what the container may reach"

_SUBNET_LIMIT = 16  # SageMaker's; Lambda has the same
_GROUP_LIMIT = 5
_PORT = (  # 1 to 65535
    "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
)
# Without *, ? and $, which would be wildcards in the role's policy.
_FOLDER = r"(?=.{1,512}$)s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9_!.()'=+@:-]+)*/?"
_A_FOLDER = "s3://BUCKET or s3://BUCKET/FOLDER, in a bucket of this account"


def _key(default: Any, rule: Rule[Any], doc: str, group: str) -> Any:
    return field(default=default, metadata={"rule": rule, "doc": doc, "group": group})


@dataclass(frozen=True)
class Config:
    """The validated choices of one deployment.

    Each field is a context key of the same name: `-c KEY=VALUE`, or `context` in cdk.json. Its
    metadata hold the `rule` that a value must meet, a `doc` line and a `group`. None and () stand
    for a key that is not given. A key of a target that the mode leaves out is checked all the same
    and has no effect.
    """

    mode: Literal["lambda", "sagemaker", "both"] = _key(
        "lambda",  # no compute is billed while idle
        one_of(("lambda", "sagemaker", "both")),
        "where the image is deployed",
        FIRST,
    )
    stack_name: str = _key(
        "DualInferenceStack",
        # https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStack.html
        matching(
            "[A-Za-z][A-Za-z0-9-]{0,127}", "1 to 128 letters, digits or hyphens, a letter first"
        ),
        "the CloudFormation stack; another name is another deployment",
        FIRST,
    )
    model_name: str = _key(
        zoo.DEFAULT,
        # It also names a folder in the image.
        name_of(zoo.NAMES, f"{zoo.DEFAULT}, or a name of docs/03-zoo-models.md"),
        "the model that is built into the image",
        FIRST,
    )
    instance_type: str = _key(
        "ml.m5.large",
        # A digit followed by g is an Arm family (ml.c7g, ml.m6gd), and gb200 is; not the image.
        matching(
            r"ml\.(?![a-z]+[0-9]+g|.*-gb)[a-z][a-z0-9-]*\.[a-z0-9-]+",
            "ml.FAMILY.SIZE of an x86-64 family, such as ml.m5.large",
        ),
        "the endpoint's instance type; another one makes a new endpoint",
        FIRST,
    )
    alarm_email: str | None = _key(
        None,
        matching(r"[^@\s,]+@[^@\s,]+\.[^@\s,]+", "one address, such as team@example.com"),
        "who hears of alarms; AWS sends a confirmation first",
        FIRST,
    )

    model_folder: str | None = _key(
        None,
        # Its last part also names a folder in the image.
        matching(
            r"(?:[^\x00-\x1f]*/)?[A-Za-z0-9][A-Za-z0-9._-]{0,127}/?",
            "a folder such as examples/iris, named by letters, digits, '.', '_' or '-'",
        ),
        "another kind of model, built into the image: inference.py, artifact/, requirements.txt",
        MODEL,
    )
    model_data: str | None = _key(
        None,
        matching(
            rf"(?=.{{1,{MAX_ENVIRONMENT_VALUE}}}$)"
            r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[A-Za-z0-9_!.()'/=+@:-]+\.tar\.gz",
            "s3://BUCKET/KEY.tar.gz, in a bucket of this account",
        ),
        "an artifact that both targets serve instead of the built-in one; needs model_id",
        MODEL,
    )
    model_id: str | None = _key(
        None,
        matching("[0-9a-f]{64}", "a model id: 64 hexadecimal digits, lower case"),
        "the model id that both targets check before they answer",
        MODEL,
    )
    model_package_arn: str | None = _key(
        None,
        # A package without a group, as the Marketplace has them, has no approval.
        matching(
            "arn:aws[a-z-]*:sagemaker:[a-z0-9-]+:[0-9]{12}:model-package"
            "/[A-Za-z0-9][A-Za-z0-9-]{0,62}/[1-9][0-9]{0,8}",
            "the ARN of a version: arn:aws:sagemaker:REGION:ACCOUNT:model-package/GROUP/VERSION",
        ),
        "an approved package of SageMaker's Model Registry, whose artifact both targets serve",
        MODEL,
    )

    lambda_memory_mb: int = _key(
        1769,  # https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
        whole(128, 10240),
        "the function's memory; CPU comes with it, one vCPU for 1,769 MB",
        ON_LAMBDA,
    )
    lambda_timeout_seconds: int = _key(
        30, whole(1, 900), "how long one invocation of the function may take", ON_LAMBDA
    )
    lambda_ephemeral_mb: int = _key(
        512,
        whole(512, 10240),
        "the function's /tmp, where model_data is unpacked: room for twice its size",
        ON_LAMBDA,
    )
    lambda_reserved_concurrency: int | None = _key(
        None,
        whole(1, 100_000),
        "at most so many executions at once, set aside for this function: also a cap on its cost",
        ON_LAMBDA,
    )
    lambda_provisioned_concurrency: int | None = _key(
        None,
        whole(1, 100_000),
        "so many executions kept warm, billed by the hour; as they fill, more are, "
        "up to lambda_reserved_concurrency less this number",
        ON_LAMBDA,
    )

    sagemaker_type: Literal["realtime", "serverless", "async"] = _key(
        "realtime",
        one_of(("realtime", "serverless", "async")),
        "the kind of endpoint; another one makes a new endpoint",
        ON_SAGEMAKER,
    )
    min_instances: int = _key(
        1,
        whole(0, 100),
        "the fewest instances; 0 for async only; from 2 on, an update starts with one of them",
        ON_SAGEMAKER,
    )
    max_instances: int = _key(
        2, whole(1, 100), "the most instances; as many as min_instances: no scaling", ON_SAGEMAKER
    )
    invocations_per_instance_per_minute: int = _key(
        3000,
        whole(1, 1_000_000),
        "the traffic of one instance that scaling aims at (realtime)",
        ON_SAGEMAKER,
    )
    data_capture_percent: int = _key(
        0,
        whole(0, 100),
        "the share of requests and answers that are kept in a bucket of the stack (realtime)",
        ON_SAGEMAKER,
    )
    serverless_memory_mb: int = _key(
        3072,
        # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProductionVariantServerlessConfig.html
        one_number_of(range(1024, 6145, 1024)),
        "the memory of a serverless endpoint; CPU comes with it",
        ON_SAGEMAKER,
    )
    serverless_max_concurrency: int = _key(
        10, whole(1, 200), "at most so many requests at once (serverless)", ON_SAGEMAKER
    )

    batch_input: str | None = _key(
        None,
        matching(_FOLDER, _A_FOLDER),
        "what batch transform jobs may read: it makes a model for them, in any mode",
        ON_SAGEMAKER,
    )
    batch_output: str | None = _key(
        None,
        matching(_FOLDER, _A_FOLDER),
        "where batch transform jobs write their answers",
        ON_SAGEMAKER,
    )

    url_auth: Literal["iam", "none"] = _key(
        "iam",
        one_of(("iam", "none")),
        "who may call the function's URL: signed callers, or everybody",
        ACCESS,
    )
    url_cors_origins: tuple[str, ...] = _key(
        (),
        list_of(
            r"\*|https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?",
            "origins such as https://example.com, or *, separated by commas",
            most=100,  # https://docs.aws.amazon.com/lambda/latest/api/API_Cors.html
        ),
        "the pages whose scripts may call the function's URL from a browser",
        ACCESS,
    )
    uri_allowlist: tuple[str, ...] = _key(
        ("*",),
        list_of(
            r"\*|(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
            rf"(:({_PORT}))?"
            r"|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]|none",
            "hosts (images.example.com, *.example.com:8443), buckets (s3://BUCKET), "
            "* (every public host) or none, separated by commas",
            most=100,
        ),
        "what the uri of a request may name; both roles may read the buckets",
        ACCESS,
    )
    network_isolation: bool = _key(
        False,
        boolean(),
        "cut the endpoint's container off the network; both targets then take bytes and data: only",
        ACCESS,
    )
    subnet_ids: tuple[str, ...] = _key(
        (),
        list_of("subnet-[0-9a-f]{8,17}", "subnet ids, separated by commas", _SUBNET_LIMIT),
        "the VPC subnets that both targets are attached to; S3 and the internet need routes there",
        ACCESS,
    )
    security_group_ids: tuple[str, ...] = _key(
        (),
        list_of("sg-[0-9a-f]{8,17}", "security group ids, separated by commas", _GROUP_LIMIT),
        "the security groups of both targets in these subnets",
        ACCESS,
    )
    log_retention_days: int = _key(
        30,
        # https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
        one_number_of((1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827, 3653)),
        "how long logs are kept, of both targets",
        ACCESS,
    )

    @property
    def built_in(self) -> str:
        """The name of the model in the image."""
        return Path(self.model_folder).name if self.model_folder else self.model_name

    @property
    def on_lambda(self) -> bool:
        """Whether this deployment has the Lambda target."""
        return self.mode in ("lambda", "both")

    @property
    def on_sagemaker(self) -> bool:
        """Whether this deployment has the SageMaker target."""
        return self.mode in ("sagemaker", "both")

    @property
    def on_instances(self) -> bool:
        """Whether this deployment runs instances of `instance_type`."""
        return self.on_sagemaker and self.sagemaker_type != "serverless"

    @property
    def on_gpu(self) -> bool:
        """Whether these have a GPU, for which the image is built."""
        return self.on_instances and bool(re.match(r"ml\.[gp][0-9]", self.instance_type))


RULES: dict[str, Rule[Any]] = {key.name: key.metadata["rule"] for key in fields(Config)}

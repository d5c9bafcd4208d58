"""The valid and invalid values of each context key, and the messages."""

from dataclasses import asdict

import pytest

from infra.config.context import ConfigError, read_config
from infra.config.keys import MODEL_NAMES, RULES, Config, as_text
from serving.core.allowlist import UriAllowlist
from support.templates import GROUPS, MODEL_DATA, MODEL_ID, SUBNETS


def numbered(prefix: str, count: int) -> str:
    return ",".join(f"{prefix}{n:017x}" for n in range(count))


PACKAGE = "arn:aws:sagemaker:eu-west-1:123456789012:model-package"
PACKAGE_IN_CHINA = "arn:aws-cn:sagemaker:cn-north-1:123456789012:model-package/cats-and-dogs/123"

# The limits of whole numbers, and the keys that are true or false.
LIMITS = {
    **{"lambda_memory_mb": (128, 10240), "lambda_timeout_seconds": (1, 900)},
    **{"lambda_ephemeral_mb": (512, 10240), "lambda_reserved_concurrency": (1, 100_000)},
    **{"lambda_provisioned_concurrency": (1, 100_000), "serverless_max_concurrency": (1, 200)},
    **{"min_instances": (0, 100), "max_instances": (1, 100), "sagemaker_percent": (0, 100)},
    **{"invocations_per_instance_per_minute": (1, 1_000_000), "data_capture_percent": (0, 100)},
}
SWITCHES = ("keep_url", "spill", "network_isolation", "examiner")
# Valid values, as text from the command line or JSON from cdk.json, and the parsed values.
GOOD: dict[str, list[tuple[object, object]]] = {
    **{key: [(str(low), low), (high, high)] for key, (low, high) in LIMITS.items()},
    # "false" is text, which Python treats as true.
    **{key: [("true", True), ("false", False), (False, False)] for key in SWITCHES},
    "mode": [(mode, mode) for mode in ("lambda", "sagemaker", "both")],
    "stack_name": [(name, name) for name in ("c", "cats-in-production", "C" * 128)],
    "model_name": [(name, name) for name in ("efficientnet_lite0", "mobilenetv3_large")],
    "instance_type": [(i, i) for i in ("ml.c7i.2xlarge", "ml.g5.xlarge", "ml.g4dn.xlarge")],
    "alarm_email": [(a, a) for a in ("team@example.com", "o'hara+ml@mail.example.co.uk")],
    "model_folder": [(f, f) for f in ("examples/iris", "../my models/cats.v2/", "/cats")],
    "model_data": [(d, d) for d in (MODEL_DATA, "s3://b-1/a_b(1)/x=1/v1+2.tar.gz")],
    "model_id": [(MODEL_ID, MODEL_ID)],
    "model_package_arn": [(arn, arn) for arn in (f"{PACKAGE}/cats/1", PACKAGE_IN_CHINA)],
    "architecture": [(name, name) for name in ("x86_64", "arm64")],
    "build_args": [
        ("WITH_MXNET=0, AWS_SERVICES=s3 sts", ("WITH_MXNET=0", "AWS_SERVICES=s3 sts")),
        (["PIP_INDEX_URL=https://a/b?c=d"], ("PIP_INDEX_URL=https://a/b?c=d",)),
    ],
    "rebuild": [("2026-11-30", "2026-11-30")],
    "sagemaker_type": [(kind, kind) for kind in ("realtime", "serverless", "async")],
    "serverless_memory_mb": [("1024", 1024), (6144, 6144)],
    "batch_input": [(f, f) for f in ("s3://b-1", "s3://jobs/in/", "s3://jobs/a=1/b_(2)")],
    "batch_output": [(f, f) for f in ("s3://b-1/out", "s3://jobs/out/")],
    "url_auth": [("iam", "iam"), ("off", "off")],
    "url_cors_origins": [
        ("https://a.example, http://b.c:3000", ("https://a.example", "http://b.c:3000")),
        (["https://a.example", "*"], ("https://a.example", "*")),
    ],
    "uri_allowlist": [
        ("none", ("none",)),
        ("*, *.example.com", ("*", "*.example.com")),
        (["10.0.0.1", "s3://b.c-d"], ("10.0.0.1", "s3://b.c-d")),
        ("*.example.com:8443,10.0.0.1:65535", ("*.example.com:8443", "10.0.0.1:65535")),
    ],
    "subnet_ids": [(given, (*SUBNETS.split(","),)) for given in (SUBNETS, SUBNETS.split(","))],
    "security_group_ids": [(GROUPS, (GROUPS,)), ([GROUPS], (GROUPS,))],
    "log_retention_days": [("1", 1), ("3653", 3653), (400, 400)],
}
# Other keys that a key needs.
NEEDED: dict[str, dict[str, str]] = {
    "model_data": {"model_id": MODEL_ID},
    "min_instances": {"max_instances": "100"},
    "batch_input": {"batch_output": "s3://answers"},
    "batch_output": {"batch_input": "s3://jobs/in"},
    "max_instances": {"min_instances": "1"},
    "subnet_ids": {"security_group_ids": GROUPS},
    "security_group_ids": {"subnet_ids": SUBNETS},
}
NUMBER = ["", "1e3", " 512", "-512", "５１２", "1" * 5000, 512.5, True]  # noqa: RUF001 - digits, but not ASCII
BAD: dict[str, list[object]] = {
    **{key: [str(low - 1), str(high + 1)] for key, (low, high) in LIMITS.items()},
    "lambda_memory_mb": [*NUMBER, "127", "10241"],
    **{key: ["False", "0", "", 1, "null"] for key in SWITCHES},
    "mode": ["x", "", "Lambda", "false", False],
    "stack_name": ["2cats", "cats\n", "c" * 129, "cats_in_production", ""],
    "model_name": ["../cats", "", ".cats", "m" * 129, "a/b", "resnet50_v1b_gn\n"],
    "instance_type": ["m5.large", "ml.m5", "ml.p6-gb200.36xlarge", "ml.m5.large\n"],
    "alarm_email": ["team", "team@", "@example.com", "a@b.com,c@d.com", "a b@example.com", True],
    "model_folder": ["", ".", "..", "examples/..", "my cats", "cats\n", "c" * 129],
    "model_data": [
        *["https://models.s3.amazonaws.com/cats.tar.gz", "s3://models/cats.zip"],
        *["s3://models/*.tar.gz", "s3://models/${aws:username}.tar.gz"],  # wildcards in a policy
        "s3://models/" + "k" * 1024 + ".tar.gz",
        "s3://models/cats.tar.gz\n",
    ],
    "model_id": ["", "cats", MODEL_ID.upper(), MODEL_ID[1:], MODEL_ID + "0"],
    "model_package_arn": ["cats/1", *(f"{PACKAGE}/{name}" for name in ("cats", "cats/latest"))],
    "architecture": ["arm", "aarch64", "amd64", "ARM64", "", True],
    "build_args": ["", "BASE_IMAGE", "BASE_IMAGE=", "MODEL_NAME=cats", "WITH_MXNET=0\n,", True],
    "rebuild": ["", "30 November", "a" * 65],
    "sagemaker_type": ["batch", "Async", "", True],
    "serverless_memory_mb": ["1000", "7168", "512", "3GB", 3072.5],
    "batch_input": ["jobs", "s3://", "s3://jobs/*", "s3://JOBS/in", "s3://jobs//in", "s3://w/é"],
    "batch_output": ["jobs/out", "https://jobs.s3.amazonaws.com/", "s3://jobs/${aws:username}", ""],
    "url_auth": ["aws_iam", "NONE", "", "None", False],
    "url_cors_origins": [
        *["a.example", "https://a.example/", "https://a.example,", "", []],
        ",".join(f"https://{n}.io" for n in range(101)),
    ],
    "uri_allowlist": [
        *["localhost", "https://example.com", "a*.example.com", "example.com,,example.org"],
        *["example.com:0", "example.com:65536", "example.com:08443", "*:8443"],
        *["s3://pictures/cats", "s3://*", ""],
        # SageMaker limits a variable to 1,024 bytes.
        ",".join(f"{n}.images.example.com" for n in range(50)),
    ],
    "subnet_ids": ["subnet-1", GROUPS, "", [], numbered("subnet-", 17)],
    "security_group_ids": ["sg-x", SUBNETS, numbered("sg-", 6)],
    "log_retention_days": ["0", "2", "31", "forever", "3654"],
}


def test_every_key_is_tested() -> None:
    assert GOOD.keys() == BAD.keys() == RULES.keys()


@pytest.mark.parametrize(
    ("key", "given", "value"),
    [(key, given, value) for key, values in GOOD.items() for given, value in values],
)
def test_values_from_the_command_line_and_from_json(key: str, given: object, value: object) -> None:
    read = asdict(read_config({"mode": "lambda", **NEEDED.get(key, {}), key: given}))[key]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("key", "given"), [(key, given) for key, values in BAD.items() for given in values]
)
def test_a_mistake_is_one_line_with_key_value_and_what_is_allowed(key: str, given: object) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config({"mode": "lambda", key: given})
    (line,) = str(caught.value).splitlines()
    allowed = f"{key}={as_text(given)!r}: it must be {RULES[key].allowed}"
    assert line.partition("; did you mean ")[0] == allowed


@pytest.mark.parametrize("given", [given for given, _ in GOOD["uri_allowlist"]])
def test_the_container_takes_every_entry_that_is_allowed(given: object) -> None:
    config = read_config({"mode": "lambda", "uri_allowlist": given})
    UriAllowlist.parse(",".join(config.uri_allowlist))


def test_a_misspelt_model_gets_the_nearest_before_anything_is_built() -> None:
    hint = r"; did you mean mobilenet1\.0 or mobilenetv2_1\.0 or mobilenet0\.5\?$"
    with pytest.raises(ConfigError, match=hint):
        read_config({"mode": "lambda", "model_name": "mobilenet_1.0"})


@pytest.mark.filterwarnings("ignore")  # MXNet and GluonCV use deprecated functions
def test_the_names_are_those_that_the_image_can_be_built_with() -> None:
    from serving.artifact.zoo import classification_names

    names = {*classification_names(), Config(mode="lambda").model_name}
    assert {*MODEL_NAMES, "resnet50_v1b_gn"} == names
    assert len(set(MODEL_NAMES)) == len(MODEL_NAMES)

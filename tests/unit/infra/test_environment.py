"""The container's variables are the same at both targets, and it can read them."""

import json
from typing import Any

from infra.config.keys import MODEL_NAMES
from serving.core.settings import Settings
from support.templates import MODEL_DATA, MODEL_ID
from support.variables import variables_read

ON_LAMBDA, ON_SAGEMAKER = "AWS::Lambda::Function", "AWS::SageMaker::Model"


def test_the_container_reads_every_variable_that_is_set(every: Any) -> None:
    for environment in every.environments().values():
        assert set(environment) <= variables_read()
        Settings.from_environment(environment)  # raises an error for an invalid value


def test_both_targets_are_told_the_same(both: Any) -> None:
    environments = both.environments()
    assert environments[ON_LAMBDA] == environments[ON_SAGEMAKER]
    ((tag, _),) = both.images.items()
    expected = {"MODEL_NAME": "efficientnet_lite0", "IMAGE_ID": tag, "URI_ALLOWLIST": "*"}
    assert environments[ON_LAMBDA] == expected
    assert "ModelDataUrl" not in both.only(ON_SAGEMAKER)[1]["PrimaryContainer"]


def test_both_targets_serve_the_same_artifact_and_take_the_same_uris(configured: Any) -> None:
    everything = configured("everything")
    environments = everything.environments()
    assert environments[ON_LAMBDA]["MODEL_DATA_URL"] == MODEL_DATA
    assert environments[ON_LAMBDA]["MODEL_ID"] == MODEL_ID
    assert environments[ON_SAGEMAKER]["MODEL_ID"] == MODEL_ID
    # SageMaker itself downloads and mounts it.
    assert everything.only(ON_SAGEMAKER)[1]["PrimaryContainer"]["ModelDataUrl"] == MODEL_DATA
    assert "MODEL_DATA_URL" not in environments[ON_SAGEMAKER]
    for environment in environments.values():
        settings = Settings.from_environment(environment)
        assert settings.uri_allowlist.allows_host("images.example.com")
        assert not settings.uri_allowlist.allows_host("example.org")
        assert "more-pictures" in settings.uri_allowlist.buckets


def test_under_network_isolation_no_target_takes_a_uri(configured: Any) -> None:
    isolated = configured("isolated")
    assert isolated.only(ON_SAGEMAKER)[1]["EnableNetworkIsolation"] is True
    for environment in isolated.environments().values():
        assert environment["URI_ALLOWLIST"] == "none"


def test_only_an_asynchronous_endpoint_takes_larger_bodies(configured: Any) -> None:
    environments = configured("async").environments()
    size = Settings.from_environment(environments[ON_SAGEMAKER]).max_body_bytes
    assert 4 * 1024 * 1024 < size <= 1024**3  # SageMaker's limit for it is 1 GB
    assert "MAX_BODY_BYTES" not in environments[ON_LAMBDA]


def longest(text: str, last: str, limit: int) -> str:
    """Return `text` repeated up to `limit` characters, ending with `last`."""
    return text * ((limit - len(last)) // len(text)) + last


def test_the_longest_values_fit_both_services(synthesize: Any) -> None:
    environments = synthesize(
        mode="both",
        sagemaker_type="async",
        model_name=max(MODEL_NAMES, key=len),
        model_data="s3://bucket/" + longest("k", ".tar.gz", 1024 - len("s3://bucket/")),
        model_id=MODEL_ID,
        uri_allowlist=longest("images.example.com,", "example.org", 1024),
    ).environments()
    # https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
    text = json.dumps(environments[ON_LAMBDA], ensure_ascii=False, separators=(",", ":"))
    assert len(text.encode()) <= 4 * 1024
    # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ContainerDefinition.html
    pairs = environments[ON_SAGEMAKER].items()
    assert all(len(value.encode()) <= 1024 for _, value in pairs)
    assert sum(len((name + value).encode()) for name, value in pairs) <= 32 * 1024

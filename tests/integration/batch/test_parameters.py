"""The parameters that the container asks of Batch Transform, by its machine."""

import pytest

from serving.core.settings import Settings
from serving.service import execution_parameters

MB = 1024**2


@pytest.mark.parametrize(
    ("workers", "body_bytes", "at_once", "payload_mb"),
    [
        (1, 4 * MB, 8, 4),
        (2, 4 * MB, 16, 4),
        (16, 4 * MB, 25, 4),
        (48, 4 * MB, 50, 2),
        (192, 4 * MB, 100, 1),
        (4, 64 * MB, 4, 25),
        (2, MB // 2, 16, 1),
    ],
)
def test_concurrent_payloads(workers: int, body_bytes: int, at_once: int, payload_mb: int) -> None:
    settings = Settings(workers=workers, max_body_bytes=body_bytes)
    assert execution_parameters(settings) == {
        "MaxConcurrentTransforms": at_once,
        "BatchStrategy": "SINGLE_RECORD",
        "MaxPayloadInMB": payload_mb,
    }
    assert at_once * payload_mb <= 100
    # With two workers or fewer, one process could get all requests, and must refuse none.
    assert workers > 2 or at_once <= settings.max_waiting


@pytest.mark.parametrize(
    ("environment", "most"),
    [
        ({}, 4 * MB),
        ({"SAGEMAKER_MAX_PAYLOAD_IN_MB": "6"}, 4 * MB),
        ({"SAGEMAKER_BATCH": "true"}, 4 * MB),
        ({"SAGEMAKER_BATCH": "true", "SAGEMAKER_MAX_PAYLOAD_IN_MB": "6"}, 6 * MB),
        ({"SAGEMAKER_BATCH": "true", "SAGEMAKER_MAX_PAYLOAD_IN_MB": "1"}, 4 * MB),
    ],
)
def test_only_a_job_may_raise_the_limit_of_a_body(environment: dict[str, str], most: int) -> None:
    settings = Settings.from_environment(environment)
    assert settings.max_body_bytes == most
    assert settings.is_transform == ("SAGEMAKER_BATCH" in environment)

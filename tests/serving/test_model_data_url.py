"""MODEL_DATA_URL in S3: moto's server stands for S3, behind the real boto3."""

import tarfile
from pathlib import Path
from typing import Any

import boto3
import pytest

from serving.artifact import check, resolve
from serving.errors import StartError
from serving.settings import Settings, UriAllowlist
from upstream import Upstream


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch, local_upstream: Upstream) -> Any:
    for name, value in local_upstream.environment.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="models")
    return client


def test_the_artifact_is_unpacked_and_checked(
    s3: Any, artifact_folder: Path, tmp_path: Path
) -> None:
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz", compresslevel=1) as tar:
        tar.add(artifact_folder, ".")
    s3.upload_file(str(tmp_path / "model.tar.gz"), "models", "cats/model.tar.gz")
    expected = check(artifact_folder).model_id
    settings = Settings(
        model_data_url="s3://models/cats/model.tar.gz",
        model_id=expected,
        uri_allowlist=UriAllowlist(),  # it is for what requests name
    )
    found = resolve(settings, None)
    assert found.model_id == expected
    assert found.folder != artifact_folder


def test_an_object_that_is_not_there(s3: Any) -> None:
    for url in ("s3://models/absent", "s3://models/absent?X-Amz-Signature=abc"):
        with pytest.raises(StartError) as failure:
            resolve(Settings(model_data_url=url))
        assert str(failure.value) == (
            "MODEL_DATA_URL=s3://models/absent cannot be unpacked: S3 answered NoSuchKey"
        )

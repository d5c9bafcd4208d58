"""Image manifests and images in ECR.

SageMaker's CreateModel refuses OCI manifests, and Lambda refuses image indexes. infra therefore
builds with `--output type=docker,oci-mediatypes=false`, or without `--output` if
DOCKER_BUILDKIT=0 selects the legacy builder.
"""

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import Aws, code_of

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEXES = (
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
)
PUBLISH = "cdk publish-assets --unstable=publish-assets"


def split_image(uri: str) -> tuple[str, dict[str, str]]:
    """Split `HOST/REPOSITORY:TAG` into the repository and ECR's image identifier."""
    repository, _, tag = uri.partition("/")[2].partition(":")
    return repository, {"imageTag": tag}


def ecr_image(aws: Aws, repository: str, identifier: Mapping[str, str]) -> Mapping[str, Any] | None:
    """Return ECR's description of an image, or None. Raise one of AWS_ERRORS."""
    try:
        reply = aws.client("ecr").batch_get_image(
            repositoryName=repository,
            imageIds=[identifier],
            acceptedMediaTypes=[MANIFEST, OCI_MANIFEST, *INDEXES],
        )
    except ClientError as error:
        if code_of(error) == "RepositoryNotFoundException":
            return None
        raise
    images: list[Mapping[str, Any]] = reply["images"]
    return images[0] if images else None

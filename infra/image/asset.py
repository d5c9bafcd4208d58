"""The container image that every target runs."""

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk.aws_iam import IRole, Policy
from constructs import Construct

from infra.common.access import OF_THIS_ACCOUNT, allow, s3_arn
from infra.config.context import ConfigError
from infra.image import build_context
from infra.image.build_context import CONTAINER

# SageMaker's CreateModel refuses OCI manifests and Lambda refuses image indexes, so the image has
# to be one Docker manifest (V2, schema 2). Since BuildKit 0.31 every export has OCI media types
# unless told otherwise (https://github.com/moby/buildkit/pull/6824 and 6844). Attestations, which
# would make an index, are off: the CDK CLI builds with BUILDX_NO_DEFAULT_ATTESTATIONS=1.
DOCKER_MANIFEST = "type=docker,oci-mediatypes=false"


def uses_legacy_builder() -> bool:
    """Return True for Docker's legacy builder, which always writes one Docker manifest."""
    return os.environ.get("DOCKER_BUILDKIT", "").lower() in ("0", "f", "false")


class Image(Construct):
    """Build the image from container/, and hold the settings that every target passes to it.

    The tag of its one asset is the hash of the build's inputs, and so is IMAGE_ID. Raises
    ConfigError for a `model_folder` that lacks a file, and for the legacy builder on Arm: MXNet
    exports on x86-64, and all stages of the legacy builder have one platform.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        model_name: str,
        model_folder: Path | None = None,
        model_data: str | None = None,
        model_id: str | None = None,
        uri_allowlist: Sequence[str] = ("*",),
        with_cuda: bool = False,
        build_args: Sequence[str] = (),  # each NAME=VALUE
        rebuild: str | None = None,  # another value builds the image again, without the cache
        on_arm: bool = False,
    ) -> None:
        super().__init__(scope, construct_id)
        self.on_arm, self.model_data, self.uri_allowlist = on_arm, model_data, uri_allowlist
        if on_arm and uses_legacy_builder():
            raise ConfigError("architecture='arm64': it needs BuildKit, without DOCKER_BUILDKIT=0")
        platforms = ecr_assets.Platform
        with TemporaryDirectory() as temporary:  # the CDK copies it at once
            context = CONTAINER
            if model_folder:
                context = Path(temporary, "context")
                build_context.write(model_folder, context)
            self.asset = ecr_assets.DockerImageAsset(
                self,
                "Asset",
                directory=str(context),
                build_args={
                    **({"WITH_MXNET": "0"} if on_arm else {}),  # MXNet does not run on Arm
                    **dict(argument.split("=", 1) for argument in build_args),
                    "MODEL_NAME": model_name,
                    **({"WITH_CUDA": "1"} if with_cuda else {}),
                    **({"REBUILD": rebuild} if rebuild else {}),
                },
                platform=platforms.LINUX_ARM64 if on_arm else platforms.LINUX_AMD64,
                # The legacy builder has no `--output`. Both builders make the same image, so the
                # tag does not depend on `outputs`.
                outputs=None if uses_legacy_builder() else [DOCKER_MANIFEST],
                invalidation=ecr_assets.DockerImageAssetInvalidationOptions(outputs=False),
            )
        self.environment = {
            "MODEL_NAME": model_name,
            "IMAGE_ID": self.asset.asset_hash,
            "URI_ALLOWLIST": ",".join(uri_allowlist),
            **({"MODEL_ID": model_id} if model_id else {}),
        }

    def grant_read(self, scope: Construct, role: IRole) -> list[Policy]:
        """Let `role` read the one object `model_data` and the buckets of `uri_allowlist`."""
        buckets = [item for item in self.uri_allowlist if item.startswith("s3://")]
        if not self.model_data and not buckets:
            return []
        digest = sha256(f"{self.model_data} {buckets}".encode()).hexdigest()
        policy = Policy(scope, f"Reads{digest[:8]}", roles=[role])
        read = ["s3:GetObject"]
        if self.model_data:
            allow(policy, read, s3_arn(self.model_data), conditions=OF_THIS_ACCOUNT)
        reason = "uri_allowlist lists the bucket: a request may name any of its objects"
        for bucket in buckets:
            allow(policy, read, s3_arn(f"{bucket}/*"), wildcard=reason)
        return [policy]

"""The one container image that every target runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from aws_cdk.aws_ecr import IRepository
from aws_cdk.aws_ecr_assets import (
    DockerImageAsset,
    DockerImageAssetInvalidationOptions,
    Platform,
)
from constructs import Construct

from infra import build_context
from infra.build_context import CONTAINER
from infra.config import Config

# SageMaker's CreateModel refuses OCI manifests and Lambda refuses image indexes, so the image has
# to be one Docker manifest (V2, schema 2).
# - One manifest: an attestation would make it an index. The CDK CLI builds with
#   BUILDX_NO_DEFAULT_ATTESTATIONS=1, so nothing is left to do here.
# - Docker's media types: since BuildKit 0.31 every export, `type=docker` too, has OCI's unless told
#   otherwise (https://github.com/moby/buildkit/pull/6824 and 6844), and an engine with the
#   containerd image store pushes what was exported. `type=docker` loads it with any builder.
DOCKER_MANIFEST = "type=docker,oci-mediatypes=false"


def docker_outputs(environment: Mapping[str, str]) -> Sequence[str] | None:
    """What `docker build --output` is to be given, by the environment that it will run in.

    Docker's own switch DOCKER_BUILDKIT=0 chooses the legacy builder, which knows no `--output` and
    always writes Docker's manifests.
    """
    legacy = environment.get("DOCKER_BUILDKIT", "").lower() in ("0", "f", "false")
    return None if legacy else [DOCKER_MANIFEST]


class Image(Construct):
    """The image built from container/, and what every target tells it in its environment.

    It is one asset, published once: `uri`, and `tag` in `repository`, are the same reference. The
    tag is the hash of what the image is built from, and so is IMAGE_ID. Raises ConfigError for a
    `model_folder` that is none.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        docker_outputs: Sequence[str] | None,
    ) -> None:
        super().__init__(scope, construct_id)
        with TemporaryDirectory() as temporary:  # the CDK copies it at once
            context = CONTAINER
            if config.model_folder:
                context = Path(temporary, "context")
                build_context.write(Path(config.model_folder), context)
            asset = DockerImageAsset(
                self,
                "Asset",
                directory=str(context),
                build_args={
                    "MODEL_NAME": config.built_in,
                    **({"WITH_CUDA": "1"} if config.on_gpu else {}),
                },
                platform=Platform.LINUX_AMD64,  # whatever machine deploys
                outputs=docker_outputs,
                # Either builder makes the same image: it keeps its tag.
                invalidation=DockerImageAssetInvalidationOptions(outputs=False),
            )
        self.repository: IRepository = asset.repository
        self.tag = asset.image_tag
        self.uri = asset.image_uri
        # The container of a closed endpoint reaches nothing: the function refuses what it cannot.
        allowlist = ("none",) if config.network_isolation else config.uri_allowlist
        self.environment = {
            "MODEL_NAME": config.built_in,
            "IMAGE_ID": asset.asset_hash,
            "URI_ALLOWLIST": ",".join(allowlist),
            **({"MODEL_ID": config.model_id} if config.model_id else {}),
        }

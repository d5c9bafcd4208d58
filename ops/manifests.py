"""Whether the image's manifest is one that both targets take. Nothing here does I/O.

SageMaker's CreateModel refuses OCI manifests, and Lambda refuses image indexes. infra/image.py
therefore builds with `--output type=docker,oci-mediatypes=false`, and with no `--output` where
DOCKER_BUILDKIT=0 chooses the legacy builder.
"""

from collections.abc import Mapping

from ops.findings import Finding, State

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEXES = (
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
)
MEDIA_TYPES = (MANIFEST, OCI_MANIFEST, *INDEXES)
PUBLISH = "cdk publish-assets --unstable=publish-assets"

NOT_PUSHED = Finding(
    State.WARNING,
    "no image is pushed yet, so there is no manifest to read",
    f"`{PUBLISH}` pushes it and deploys nothing; then run this again",
)


def of_builder(
    program: str, environment: Mapping[str, str], *, runs: bool, has_buildx: bool
) -> Finding:
    """Whether `cdk deploy` could build, and a manifest that SageMaker takes.

    `program` is what the CDK runs; `runs` says that it is there and its engine answers.
    """
    name = program.rsplit("/", 1)[-1]
    legacy = environment.get("DOCKER_BUILDKIT", "").lower() in ("0", "f", "false")
    if not runs:
        return Finding(
            State.FAILS,
            f"{program} is not there, or its engine does not answer `{program} info`",
            "install and start Docker (https://docs.docker.com/engine/install), or name another "
            "program in CDK_DOCKER",
        )
    if name == "docker":
        if legacy:
            return Finding(State.OK, "docker's legacy builder, which writes Docker's manifests")
        if has_buildx:
            return Finding(State.OK, "docker with BuildKit, which is told to write Docker's")
        return Finding(
            State.FAILS,
            "docker has no buildx, and without it no `docker build --output`",
            "install docker-buildx-plugin, or export DOCKER_BUILDKIT=0",
        )
    if name == "podman":
        if legacy and environment.get("BUILDAH_FORMAT") == "docker":
            return Finding(State.OK, "podman, which is told to write Docker's manifests")
        return Finding(
            State.FAILS,
            "podman has no `--output type=docker`, and by itself it writes OCI manifests, which "
            "SageMaker refuses",
            "export DOCKER_BUILDKIT=0 BUILDAH_FORMAT=docker",
        )
    return Finding(
        State.WARNING,
        f"it is not known which manifests {program} writes; SageMaker refuses OCI's",
        f"`{PUBLISH}` pushes the image and deploys nothing; then run this again",
    )


def of_manifest(media_type: str | None, image: str, *, on_sagemaker: bool) -> Finding:
    """`image` says which one it is; the media type is None where the repository has no such."""
    if media_type is None:
        return Finding(
            State.FAILS, f"{image} is no longer in its repository", f"`{PUBLISH}` pushes it again"
        )
    if media_type == MANIFEST:
        return Finding(State.OK, f"{image} has a Docker manifest")
    # The asset's hash leaves the builder out, so the tag stays; and ECR's tags do not move.
    fix = (
        f"delete it (aws ecr batch-delete-image), put the builder right, then `{PUBLISH}` "
        "pushes it again and deploys nothing"
    )
    if media_type in INDEXES:
        return Finding(State.FAILS, f"{image} is an index, which both targets refuse", fix)
    kind = "an OCI manifest" if media_type == OCI_MANIFEST else f"a {media_type}"
    state = State.FAILS if on_sagemaker else State.WARNING
    return Finding(state, f"{image} has {kind}, which SageMaker refuses", fix)

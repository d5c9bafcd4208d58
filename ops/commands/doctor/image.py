"""Checks of the image builder and of the pushed image's manifest."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from ops.aws import NoStack, stack_outputs
from ops.commands.doctor.account import AccountChecks
from ops.findings import Finding, State, failure, ok, warning
from ops.manifests import INDEXES, MANIFEST, OCI_MANIFEST, PUBLISH, ecr_image, split_image

_ENGINE_SECONDS = 30


def builder() -> Finding:
    """Check that `cdk deploy` can build the image with a manifest that SageMaker accepts."""
    program = os.environ.get("CDK_DOCKER") or "docker"
    legacy = os.environ.get("DOCKER_BUILDKIT", "").lower() in ("0", "f", "false")
    if not _succeeds(program, "info"):
        return failure(
            f"{program} is not installed, or its engine does not answer `{program} info`",
            "install and start Docker (https://docs.docker.com/engine/install), or name "
            "another program in CDK_DOCKER",
        )
    name = program.rpartition("/")[2]
    if name not in ("docker", "podman"):
        return warning(
            f"{program} may write OCI manifests, which SageMaker refuses",
            f"`{PUBLISH}` pushes the image and deploys nothing; then run this again",
        )
    if name == "podman":
        if legacy and os.environ.get("BUILDAH_FORMAT") == "docker":
            return ok("podman, set to write Docker manifests")
        return failure(
            "podman has no `--output type=docker`, and by default it writes OCI manifests, "
            "which SageMaker refuses",
            "export DOCKER_BUILDKIT=0 BUILDAH_FORMAT=docker",
        )
    if legacy:
        return ok("docker's legacy builder, which writes Docker manifests")
    if _succeeds(program, "buildx", "version"):
        return ok("docker with BuildKit, set to write Docker manifests")
    fix = "install docker-buildx-plugin, or export DOCKER_BUILDKIT=0"
    return failure("docker has no buildx, which `docker build --output` needs", fix)


def manifest(account: AccountChecks, assembly: Path) -> Finding:
    """Check the image of the last synthesis if it was pushed, or else the deployed image."""
    for repository, tag in _synthesized(account, assembly):
        if found := _judge(account, repository, {"imageTag": tag}, f"synthesized image {tag[:12]}"):
            return found
    try:
        uri = stack_outputs(account.aws, account.stack_name).get("ImageUri", "")
    except NoStack:
        return warning(
            "no image was pushed yet, so there is no manifest to check",
            f"`{PUBLISH}` pushes it and deploys nothing; then run this again",
        )
    image = f"deployed image {uri.rpartition(':')[2][:12]}"
    gone = failure(f"the {image} is no longer in its repository", f"`{PUBLISH}` pushes it again")
    return _judge(account, *split_image(uri), image) or gone


def _judge(
    account: AccountChecks, repository: str, identifier: dict[str, str], image: str
) -> Finding | None:
    """Check an image's manifest, or return None if the image does not exist."""
    if not (found := ecr_image(account.aws, repository, identifier)):
        return None
    media_type = found.get("imageManifestMediaType") or "manifest of an unknown kind"
    if media_type == MANIFEST:
        return ok(f"the {image} has a Docker manifest")
    # Another builder does not change the asset's tag, and ECR refuses to overwrite a tag.
    fix = (
        f"delete it (aws ecr batch-delete-image), correct the builder, then `{PUBLISH}` "
        "pushes it again and deploys nothing"
    )
    if media_type in INDEXES:
        return failure(f"the {image} is an index, which both targets refuse", fix)
    kind = "an OCI manifest" if media_type == OCI_MANIFEST else f"a {media_type}"
    state = State.FAILS if account.on_sagemaker else State.WARNING
    return Finding(state, f"the {image} has {kind}, which SageMaker refuses", fix)


def _synthesized(account: AccountChecks, assembly: Path) -> Iterator[tuple[str, str]]:
    """Yield repository and tag of each image of the stack in the cloud assembly."""
    path = assembly / f"{account.stack_name}.assets.json"
    if not path.is_file():
        return
    for image in json.loads(path.read_text())["dockerImages"].values():
        for destination in image["destinations"].values():
            repository = (
                destination["repositoryName"]
                .replace("${AWS::AccountId}", account.identity["Account"])
                .replace("${AWS::Region}", account.aws.region)
            )
            yield repository, destination["imageTag"]


def _succeeds(*command: str) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=_ENGINE_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0

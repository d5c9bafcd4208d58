"""Checks of the image builder and of the pushed image's manifest."""

import json
import os
import subprocess
from contextlib import suppress
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
        says = f"{program} is not installed, or its engine does not answer `{program} info`"
        install = "install and start Docker (https://docs.docker.com/engine/install)"
        return failure(says, f"{install}, or name another program in CDK_DOCKER")
    name = program.rpartition("/")[2]
    if name not in ("docker", "podman"):
        fix = f"`{PUBLISH}` pushes the image and deploys nothing; then run this again"
        return warning(f"{program} may write OCI manifests, which SageMaker refuses", fix)
    if name == "podman":
        if legacy and os.environ.get("BUILDAH_FORMAT") == "docker":
            return ok("podman, set to write Docker manifests")
        says = "podman has no `--output type=docker`; SageMaker refuses its OCI manifests"
        return failure(says, "export DOCKER_BUILDKIT=0 BUILDAH_FORMAT=docker")
    if legacy:
        return ok("docker's legacy builder, which writes Docker manifests")
    if _succeeds(program, "buildx", "version"):
        return ok("docker with BuildKit, set to write Docker manifests")
    fix = "install docker-buildx-plugin, or export DOCKER_BUILDKIT=0"
    return failure("docker has no buildx, which `docker build --output` needs", fix)


def manifest(account: AccountChecks, assembly: Path) -> Finding:
    """Check the image of the last synthesis if it was pushed, or else the deployed image."""
    path = assembly / f"{account.stack_name}.assets.json"
    images = json.loads(path.read_text())["dockerImages"].values() if path.is_file() else ()
    for place in (place for image in images for place in image["destinations"].values()):
        name = place["repositoryName"].replace("${AWS::AccountId}", account.identity["Account"])
        name, tag = name.replace("${AWS::Region}", account.aws.region), place["imageTag"]
        if found := _judge(account, name, {"imageTag": tag}, f"synthesized image {tag[:12]}"):
            return found
    try:
        uri = stack_outputs(account.aws, account.stack_name).get("ImageUri", "")
    except NoStack:
        fix = f"`{PUBLISH}` pushes it and deploys nothing; then run this again"
        return warning("no image was pushed yet, so there is no manifest to check", fix)
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
    fix = "delete it (aws ecr batch-delete-image), correct the builder, then "
    fix += f"`{PUBLISH}` pushes it again and deploys nothing"
    if media_type in INDEXES:
        return failure(f"the {image} is an index, which both targets refuse", fix)
    kind = "an OCI manifest" if media_type == OCI_MANIFEST else f"a {media_type}"
    state = State.FAILS if account.on_sagemaker else State.WARNING
    return Finding(state, f"the {image} has {kind}, which SageMaker refuses", fix)


def _succeeds(*command: str) -> bool:
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(command, capture_output=True, check=True, timeout=_ENGINE_SECONDS)
        return True
    return False

"""`python -m ops doctor`: check what a deployment needs and what is deployed.

It changes nothing.
"""

import argparse
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from ops import cli
from ops.aws import Aws
from ops.commands.doctor.account import AccountChecks
from ops.commands.doctor.stack import StackChecks
from ops.commands.plan import MODES
from ops.findings import Check, Finding, State, as_json, exit_status, failure, ok, warning
from ops.local_servers import ROOT
from ops.manifests import INDEXES, MANIFEST, PUBLISH, ecr_image, split_image

EXAMPLES = """\
examples:
  python -m ops doctor                             check everything for both targets
  python -m ops doctor --mode lambda               leave out what only an endpoint needs
  python -m ops doctor --instance-type ml.c5.xlarge --model-data s3://bucket/model.tar.gz
  cdk publish-assets --unstable=publish-assets     push the image and deploy nothing, to check its
                                                   manifest before the deployment

exit status: 0 all checks passed; 1 a check failed; 2 something could not be checked
"""
_ENGINE_SECONDS = 30
_QUOTA_ACTIONS = "servicequotas:ListServiceQuotas and servicequotas:ListAWSDefaultServiceQuotas"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    cli.add_stack_arguments(parser)
    add = parser.add_argument
    add("--mode", default="both", choices=MODES, help="what to deploy (default: %(default)s)")
    add("--instance-type", default="ml.m5.large", metavar="TYPE", help="default: %(default)s")
    add("--instances", type=cli.COUNT, default=2, metavar="N", help="max_instances; default: 2")
    wanted = "default: none"
    add("--reserved-concurrency", type=cli.COUNT, default=0, metavar="N", help=wanted)
    add("--provisioned-concurrency", type=cli.COUNT, default=0, metavar="N", help=wanted)
    add("--transform-instances", type=cli.COUNT, metavar="N", help="of --instance-type, for batch")
    add("--model-data", metavar="URI", help="the artifact: s3://BUCKET/KEY.tar.gz")
    add("--model-package-arn", metavar="ARN", help="the artifact's package in the Model Registry")
    cli.add_json_argument(parser)


def run(options: argparse.Namespace) -> int:
    """Print the findings; return 0 if all passed, 1 if a check failed, 2 if one is unknown."""
    found: dict[str, Finding] = {}
    shown_fixes: set[str] = set()
    for check in checks(options):
        with cli.Spinner(f"checking {check.name}"):
            finding = found[check.name] = check.run()
        if options.json:
            continue
        line = f"{finding.state.value} {check.name:<18} {finding.says}"
        cli.print_plain(line, finding.state.style)
        if finding.fix and finding.fix not in shown_fixes:
            cli.print_plain(f"  {'':<18} fix: {finding.fix}")
            shown_fixes.add(finding.fix)
    code = exit_status(found.values())
    if options.json:
        report = [as_json(name, finding) for name, finding in found.items()]
        cli.print_json({"ok": code == 0, "checks": report})
    return code


def checks(options: argparse.Namespace) -> Iterator[Check]:
    instance_type = options.instance_type
    on_lambda, on_sagemaker = options.mode != "sagemaker", options.mode != "lambda"
    aws = Aws(options.region)
    aws.sign_in()
    account = AccountChecks(aws, options.stack, on_sagemaker=on_sagemaker)
    stack = StackChecks(aws, options.stack)
    yield Check("credentials", account.credentials, "sts:GetCallerIdentity")
    yield Check("region", account.region)
    yield Check("CDK bootstrap", lambda: account.bootstrap(ROOT), "ssm:GetParameter")
    yield Check("image builder", builder)
    image = partial(manifest, account, stack, ROOT / "cdk.out")
    yield Check("image manifest", image, "ecr:BatchGetImage")
    if on_lambda:
        reserved, provisioned = options.reserved_concurrency, options.provisioned_concurrency
        concurrency = partial(account.concurrency, reserved, provisioned, stack)
        yield Check("Lambda concurrency", concurrency, "lambda:GetAccountSettings")
        yield Check("function URL", lambda: stack.function_url(ROOT))
        yield Check("alias", stack.alias, "lambda:GetAlias")
    if on_sagemaker:
        quota = partial(account.instance_quota, "endpoint", instance_type, options.instances)
        yield Check("endpoint instances", quota, _QUOTA_ACTIONS)
        yield Check("endpoint", stack.endpoint, StackChecks.ENDPOINT_ACTIONS)
        yield Check("endpoint logs", stack.log_groups, "logs:DescribeLogGroups")
    yield Check("next deployment", lambda: stack.keys(ROOT), "cloudformation:DescribeStacks")
    if options.transform_instances:
        instances = options.transform_instances
        quota = partial(account.instance_quota, "transform job", instance_type, instances)
        yield Check("transform instances", quota, _QUOTA_ACTIONS)
    if options.model_data:
        yield Check("model data", lambda: account.model_data(options.model_data), "s3:GetObject")
    if options.model_package_arn:
        package = partial(account.model_package, options.model_package_arn)
        action = "sagemaker:DescribeModelPackage and s3:GetObject"
        yield Check("model package", package, action)


def builder() -> Finding:
    """Check that `cdk deploy` can build the image with a manifest that SageMaker accepts."""
    program = os.environ.get("CDK_DOCKER") or "docker"
    if not _succeeds(program, "info"):
        says = f"{program} is not installed, or its engine does not answer `{program} info`"
        install = "install and start Docker (https://docs.docker.com/engine/install)"
        return failure(says, f"{install}, or name another program in CDK_DOCKER")
    if Path(program).name != "docker":
        fix = "with podman, export DOCKER_BUILDKIT=0 BUILDAH_FORMAT=docker; "
        fix += f"`{PUBLISH}` pushes the image and deploys nothing; then run this again"
        return warning(f"{program} may write OCI manifests, which SageMaker refuses", fix)
    if os.environ.get("DOCKER_BUILDKIT", "").lower() in ("0", "f", "false"):
        return ok("docker's legacy builder, which writes Docker manifests")
    if _succeeds(program, "buildx", "version"):
        return ok("docker with BuildKit, set to write Docker manifests")
    fix = "install docker-buildx-plugin, or export DOCKER_BUILDKIT=0"
    return failure("docker has no buildx, which `docker build --output` needs", fix)


def manifest(account: AccountChecks, stack: StackChecks, assembly: Path) -> Finding:
    """Check the image of the last synthesis if it was pushed, or else the deployed image."""
    path = assembly / f"{stack.stack_name}.assets.json"
    images = json.loads(path.read_text())["dockerImages"].values() if path.is_file() else ()
    for place in (place for image in images for place in image["destinations"].values()):
        name = place["repositoryName"].replace("${AWS::AccountId}", account.identity["Account"])
        name, tag = name.replace("${AWS::Region}", account.aws.region), place["imageTag"]
        if found := _judge(account, name, tag, f"synthesized image {tag[:12]}"):
            return found
    if not (uri := stack.outputs.get("ImageUri")):
        fix = f"`{PUBLISH}` pushes it and deploys nothing; then run this again"
        return warning("no image was pushed yet, so there is no manifest to check", fix)
    repository, identifier = split_image(uri)
    image = f"deployed image {identifier['imageTag'][:12]}"
    gone = failure(f"the {image} is no longer in its repository", f"`{PUBLISH}` pushes it again")
    return _judge(account, repository, identifier["imageTag"], image) or gone


def _judge(account: AccountChecks, repository: str, tag: str, image: str) -> Finding | None:
    """Check an image's manifest, or return None if the image does not exist."""
    if not (found := ecr_image(account.aws, repository, {"imageTag": tag})):
        return None
    media_type = found.get("imageManifestMediaType")
    if media_type == MANIFEST:
        return ok(f"the {image} has a Docker manifest")
    # Another builder does not change the asset's tag, and ECR refuses to overwrite a tag.
    fix = "delete it (aws ecr batch-delete-image), correct the builder, then "
    fix += f"`{PUBLISH}` pushes it again and deploys nothing"
    if media_type in INDEXES:
        return failure(f"the {image} is an index, which both targets refuse", fix)
    state = State.FAILS if account.on_sagemaker else State.WARNING
    return Finding(state, f"the {image} has a {media_type}, which SageMaker refuses", fix)


def _succeeds(*command: str) -> bool:
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(command, capture_output=True, check=True, timeout=_ENGINE_SECONDS)
        return True
    return False

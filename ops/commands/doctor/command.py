"""`python -m ops doctor`: check what a deployment needs and what is deployed.

It changes nothing.
"""

import argparse
from collections.abc import Iterator
from functools import partial

from ops import cli
from ops.aws import Aws
from ops.commands.doctor.account import AccountChecks
from ops.commands.doctor.image import builder, manifest
from ops.commands.doctor.stack import StackChecks
from ops.commands.plan import MODES
from ops.findings import Check, Finding, as_json, exit_status
from ops.local_servers import ROOT

EXAMPLES = """\
examples:
  python -m ops doctor                             check everything for both targets
  python -m ops doctor --mode lambda               leave out what only an endpoint needs
  python -m ops doctor --instance-type ml.c5.xlarge --model-data s3://bucket/model.tar.gz
  cdk publish-assets --unstable=publish-assets     push the image and deploy nothing, to check its
                                                   manifest before the deployment

exit status: 0 all checks passed; 1 a check failed; 2 something could not be checked
"""
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
    yield Check("image manifest", lambda: manifest(account, ROOT / "cdk.out"), "ecr:BatchGetImage")
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

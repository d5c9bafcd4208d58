"""`python -m ops doctor`: what a deployment needs, checked before it fails; what runs, after it.

Nothing is changed. Each check stands alone: what one could not find out, another still does.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

from rich.console import Console

from ops.aws import AWS_ERRORS, UNREACHABLE, Aws, CannotAsk, add_stack_arguments, explain
from ops.faces import ROOT
from ops.findings import Finding, State, exit_status, unknown
from ops.probes import Probes

EXAMPLES = """\
examples:
  python -m ops doctor                             everything, for both targets
  python -m ops doctor --mode lambda               not what only an endpoint needs
  python -m ops doctor --instance-type ml.c5.xlarge --model-data s3://bucket/model.tar.gz
  cdk publish-assets --unstable=publish-assets     pushes the image and deploys nothing, so that
                                                   its manifest is checked before the deployment

exit status: 0 nothing would fail; 1 something would; 2 something could not be checked
"""
STYLES = {
    State.OK: "green",
    State.FAILS: "red",
    State.WARNING: "yellow",
    State.UNKNOWN: "yellow",
}


class Check(NamedTuple):
    name: str
    probe: Callable[[], Finding]
    action: str
    """The IAM action that it needs."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    add_stack_arguments(parser)
    parser.add_argument(
        "--mode",
        choices=("lambda", "sagemaker", "both"),
        default="both",
        help="what is going to be deployed (default: %(default)s)",
    )
    parser.add_argument(
        "--instance-type",
        default="ml.m5.large",
        metavar="TYPE",
        help="the endpoint's (default: %(default)s)",
    )
    parser.add_argument(
        "--instances",
        type=int,
        default=2,
        metavar="N",
        help="the most it may have: max_instances (default: %(default)s)",
    )
    parser.add_argument("--model-data", metavar="URI", help="the artifact: s3://BUCKET/KEY.tar.gz")
    parser.add_argument(
        "--model-package-arn", metavar="ARN", help="the registry's package that names the artifact"
    )
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")


def run(options: argparse.Namespace) -> int:
    """Exit status 0: nothing would fail; 1: something would; 2: something was not checked."""
    console = Console()
    found: dict[str, Finding] = {}
    said: set[str] = set()
    for check in checks(options):
        with Console(stderr=True).status(f"checking {check.name}"):
            found[check.name] = finding = examine(check)
        if not options.json:
            show(check.name, finding, console, said)
    code = exit_status(found.values())
    if options.json:
        report = [
            {"check": name, "state": f.state.name.lower(), "says": f.says, "fix": f.fix}
            for name, f in found.items()
        ]
        json.dump({"ok": code == 0, "checks": report}, sys.stdout, indent=2, ensure_ascii=False)
        print()
    return code


def checks(options: argparse.Namespace) -> Iterator[Check]:
    on_lambda, on_sagemaker = options.mode != "sagemaker", options.mode != "lambda"
    aws = Aws(options.region)
    probes = Probes(aws, options.stack, ROOT / "cdk.out", on_sagemaker=on_sagemaker)
    yield Check("credentials", probes.credentials, "sts:GetCallerIdentity")
    yield Check("region", probes.region, "")
    yield Check("CDK bootstrap", probes.bootstrap, "ssm:GetParameter")
    yield Check("image builder", probes.builder, "")
    yield Check("image manifest", probes.manifest, "ecr:BatchGetImage")
    if on_lambda:
        yield Check("Lambda concurrency", probes.concurrency, "lambda:GetAccountSettings")
    if on_sagemaker:
        yield Check(
            "endpoint instances",
            lambda: probes.instance_quota(options.instance_type, options.instances),
            "servicequotas:ListServiceQuotas and servicequotas:ListAWSDefaultServiceQuotas",
        )
        yield Check(
            "endpoint",
            probes.endpoint,
            "sagemaker:DescribeEndpoint and cloudformation:DescribeStackResources",
        )
    if options.model_data:
        yield Check("model data", lambda: probes.model_data(options.model_data), "s3:GetObject")
    if options.model_package_arn:
        yield Check(
            "model package",
            lambda: probes.model_package(options.model_package_arn),
            "sagemaker:DescribeModelPackage and s3:GetObject",
        )


def examine(check: Check) -> Finding:
    """What a check finds; what it could not ask is a finding, too."""
    try:
        return check.probe()
    except CannotAsk as error:
        return unknown(error)
    except AWS_ERRORS as error:
        why = explain(error, check.action)
        if check.name == "credentials" and not isinstance(error, UNREACHABLE):
            return Finding(State.FAILS, why.why, why.fix)
        return unknown(why)


def show(name: str, finding: Finding, console: Console, said: set[str]) -> None:
    """One line, and its fix below; one fix of several lines is said once."""
    console.print(finding.state.value, style=STYLES[finding.state], end=" ")
    console.out(f"{name:<18} {finding.says}", highlight=False)
    if finding.fix and finding.fix not in said:
        console.out(f"  {'':<18} fix: {finding.fix}", highlight=False)
        said.add(finding.fix)

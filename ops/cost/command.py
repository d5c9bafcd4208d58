"""Find the target that costs least this month, and the traffic at which that changes.

The command compares the list prices of Lambda (on demand and with executions kept warm), SageMaker
Serverless Inference and real-time endpoints. It changes nothing in the account.
"""

import argparse
import json
import math
import re
import sys
from dataclasses import replace
from pathlib import Path

from ops import cli
from ops.aws import STACK_NAME, Aws
from ops.cli import number
from ops.cost import CostError, prices, report, workload
from ops.cost.estimate import estimate
from ops.cost.measure import measure
from ops.cost.observe import observe
from ops.cost.targets import INSTANCE_TYPE
from ops.cost.workload import ARM, LAMBDA_MB_PER_VCPU, X86, RequestUsage, Workload, vcpu_share
from ops.inputs import default_requests, read_input
from ops.local_servers import ROOT

_LARGEST = sys.float_info.max
_POSITIVE = number(float, math.ulp(0.0), _LARGEST, "a number above 0")
# Lambda bills at least a millisecond: a smaller number must be in seconds.
_DURATION_MS = number(float, 1, _LARGEST, "a number of 1 or more")
_NOT_NEGATIVE = number(float, 0, _LARGEST, "a number of 0 or more")
_LAMBDA_MB = number(int, 128, 10240, "a whole number from 128 to 10240")
_SHARE = number(float, 0, 1, "a share from 0 to 1")
_PERCENT = number(int, 1, 100, "a whole number from 1 to 100")
# CloudWatch keeps 5-minute values for 63 days.
_DAYS = number(int, 1, 63, "a whole number from 1 to 63")
# AWS counts cold starts in less than 1 % of invocations.
# https://aws.amazon.com/blogs/compute/operating-lambda-performance-optimization-part-1/
COLD_SHARE = 0.01
EXAMPLES = """\
examples:
  python -m ops cost --requests 5M --duration-ms 40 --memory-mb 1769
  python -m ops cost --measure                     the model of this checkout, at any traffic
  python -m ops cost --measure --docker --p95-ms 80   the image, with memory for this latency
  python -m ops cost --stack --days 14             metrics of the deployed stack, from CloudWatch
  python -m ops cost --measure --profile hours.csv --plot cost.svg
  python -m ops cost --measure --requests 50M --one-url   an endpoint behind the function's URL
  python -m ops cost --refresh --region eu-central-1   update the prices from AWS

exit status: 0 estimated; 2 something is missing for an estimate
"""
# Options that apply to only one source of the request's usage.
_NEEDS = {"docker": "measure", "image": "measure", "p95_ms": "measure", "days": "stack"}
_NEEDS |= dict.fromkeys(("memory_mb", "cold_ms", "architecture"), "duration_ms")


def _count(text: str) -> float:
    """Parse 2500000, 2.5e6 or 2.5M. A point needs an exponent, because 2.500 may mean 2500."""
    for unit, exponent in (("k", "e3"), ("m", "e6"), ("b", "e9")):
        text = text.lower().replace(unit, exponent)
    if not re.fullmatch(r"[0-9]+(\.[0-9]+(?=e))?(e\+?[0-9]+)?", text):
        raise ValueError(text)
    return float(text)


_REQUESTS = number(
    _count, 1, workload.MOST_REQUESTS, "a number from 1 to 1e+13, such as 2500000, 2.5e6 or 2.5M"
)


def _instance(text: str) -> tuple[str, float | None]:
    kind, equals, rate = text.partition("=")
    if not re.fullmatch(INSTANCE_TYPE, kind):
        raise argparse.ArgumentTypeError(f"{kind} is not an instance type, such as ml.m5.large")
    return kind, _POSITIVE(rate) if equals else None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    usage = parser.add_argument_group("what a request uses (choose one)")
    add = usage.add_mutually_exclusive_group(required=True).add_argument
    add("--duration-ms", type=_DURATION_MS, metavar="MS", help="the duration billed on Lambda")
    add("--measure", action="store_true", help="measure the model here, as a process")
    name = str(cli.cdk_context(ROOT).get("stack_name", STACK_NAME))
    stack = f"read the usage and the traffic of a deployed stack (default: {name})"
    add("--stack", nargs="?", const=name, metavar="NAME", help=stack)
    add("--refresh", action="store_true", help="only update the region's prices in the price file")
    add = parser.add_argument_group("traffic").add_argument
    add("--requests", type=_REQUESTS, metavar="N", help="requests a month: 2500000, 2.5e6 or 2.5M")
    profile = "requests in each hour of a day (24) or a week (168): numbers with commas, or a CSV "
    profile += "file, with a heading if it has several columns, and the counts in the last one; "
    profile += "with --requests, only their shape counts"
    add("--profile", metavar="FILE", help=profile)
    add = parser.add_argument_group("more about the request").add_argument
    add("--memory-mb", type=_LAMBDA_MB, metavar="MB", help="Lambda's memory (default: 1769)")
    add("--architecture", choices=(X86, ARM), help="the CPU of --duration-ms (default: x86_64)")
    memory = "a serverless endpoint's memory (default: %(default)s)"
    sizes, default = range(1024, 6145, 1024), workload.DEFAULT_SERVERLESS_MB
    add("--serverless-mb", type=int, choices=sizes, default=default, metavar="MB", help=memory)
    add("--data-kb", type=_NOT_NEGATIVE, metavar="KB", help="size of request and response")
    add("--cold-ms", type=_POSITIVE, metavar="MS", help="a cold start, with --duration-ms")
    cold = "the share of Lambda's calls with a cold start, 0 to 1 (default: %(default)s)"
    add("--cold-share", type=_SHARE, default=COLD_SHARE, metavar="SHARE", help=cold)
    docker = "--measure this image at several memory sizes (default: one-image)"
    add("--docker", nargs="?", const="one-image", metavar="IMAGE", help=docker)
    add("--image", action="append", metavar="PATH", help="--measure with your own picture")
    add("--p95-ms", type=_POSITIVE, metavar="MS", help="--measure: the highest p95 latency allowed")
    add("--days", type=_DAYS, metavar="N", help="--stack: days to read, 1 to 63 (default: 14)")
    add = parser.add_argument_group("comparison and output").add_argument
    instance = "a real-time instance type, and how many requests a second it serves; may be "
    instance += "repeated (default: the stack's type, and the cheapest)"
    add("--instance", action="append", type=_instance, metavar="TYPE[=RATE]", help=instance)
    add("--least", type=cli.COUNT, default=1, metavar="N", help="fewest instances (default: 1)")
    kept = "Lambda's executions kept warm (default: as many as the traffic needs)"
    add("--provisioned", type=cli.COUNT, metavar="N", help=kept)
    behind = "also compare endpoints behind the function's URL: with this percentage of its calls "
    behind += "(default: 10), with all of them, and with the peaks on Lambda"
    add("--one-url", nargs="?", const=10, type=_PERCENT, metavar="PERCENT", help=behind)
    add("--free-tier", action="store_true", help="subtract Lambda's free tier")
    add("--region", help="default: AWS_REGION, the profile's, or us-east-1")
    add("--prices", type=Path, default=prices.SHIPPED, metavar="FILE", help="another price file")
    add("--plot", type=Path, metavar="FILE", help="draw an .svg or .png file; needs matplotlib")
    add("--brief", action="store_true", help="print the advice only")
    cli.add_json_argument(parser)


def run(options: argparse.Namespace) -> int:
    """Return 0 after an estimate. Raise CostError, CannotAsk, FaceError and OSError."""
    aws = Aws(options.region)
    if options.refresh or options.stack:
        aws.sign_in()
    if options.refresh:
        _refresh(aws, options.prices)
        return 0
    for name, source in _NEEDS.items():
        if vars(options)[name] is not None and not vars(options)[source]:
            raise CostError(f"--{name} needs --{source}".replace("_", "-"))
    if options.plot:
        report.check_plot(options.plot)
    region_prices = prices.load(options.prices, aws.region)
    traffic = workload.read_traffic(options.requests, options.profile)
    with cli.Spinner("finding out what a request uses"):
        work = _workload(aws, options)
    usage = work.usage
    serverless_mb = usage.serverless_memory_mb or options.serverless_mb
    usage = replace(
        usage,
        serverless_memory_mb=serverless_mb,
        serverless_ms=usage.serverless_ms or usage.vcpu_ms / vcpu_share(serverless_mb),
        data_bytes=usage.data_bytes if options.data_kb is None else options.data_kb * 1024,
    )
    found = estimate(
        replace(work, usage=usage, traffic=traffic or work.traffic),
        region_prices,
        dict(options.instance or ()),
        least_instances=options.least,
        executions=options.provisioned,
        free_tier=options.free_tier,
        forwarded_percent=options.one_url,
    )
    if options.plot:
        report.draw(found, options.plot)
    if options.json:
        cli.print_json(report.as_json(found))
    else:
        report.show(found, cli.console(), brief=options.brief)
    return 0


def _workload(aws: Aws, options: argparse.Namespace) -> Workload:
    if options.measure:
        pictures = [read_input(place) for place in options.image or ()] or default_requests()
        return measure(pictures, options.docker, options.p95_ms, options.cold_share)
    if options.stack:
        return observe(aws, options.stack, options.days or 14)
    memory_mb = options.memory_mb or LAMBDA_MB_PER_VCPU
    usage = RequestUsage(
        lambda_memory_mb=memory_mb,
        lambda_ms=options.duration_ms,
        vcpu_ms=options.duration_ms * vcpu_share(memory_mb),
        cold_ms=options.cold_ms or 0.0,
        cold_share=options.cold_share if options.cold_ms else 0.0,
    )
    return Workload(usage, architecture=options.architecture or X86)


def _refresh(aws: Aws, path: Path) -> None:
    regions = prices.read(path) if path.exists() else {}
    with cli.Spinner(f"reading the prices of {aws.region}"):
        groups = prices.read_from_aws(aws)
    if not groups:
        raise CostError(f"AWS has no prices of Lambda or SageMaker for {aws.region}")
    content = {"currency": "USD", "regions": {**regions, aws.region: groups}}
    path.write_text(json.dumps(content, indent=2) + "\n")
    cli.print_plain(f"{path}: prices of {aws.region} ({', '.join(groups)})")

"""`python -m ops cost`: where this model should run this month, and from which traffic on not.

Compares Lambda (by the call, and with executions kept warm), SageMaker Serverless Inference and
real-time endpoints by list prices. Nothing in the account is changed.
"""

import argparse
import json
import math
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from ops import local
from ops.aws import AWS_ERRORS, FALLBACK_REGION, STACK_NAME, Aws, CannotAsk, explain
from ops.cost import arithmetic, plot, plot_file, price_list, prices, traffic
from ops.cost.estimate import Estimate
from ops.cost.found import Choices, FindingError, Found
from ops.cost.measured import measure
from ops.cost.observed import observe
from ops.cost.plot_file import PlotError
from ops.cost.prices import PricesError
from ops.cost.report import as_json, brief, show
from ops.cost.targets import Work
from ops.cost.traffic import Traffic, TrafficError
from ops.faces import FaceError

EXAMPLES = """\
examples:
  python -m ops cost --requests 5M --duration-ms 40 --memory-mb 1769
  python -m ops cost --measure                     the model of this checkout, at any traffic
  python -m ops cost --measure --docker --p95-ms 80   the image; the cheapest memory that is so fast
  python -m ops cost --stack --days 14             what the deployed stack did, from CloudWatch
  python -m ops cost --measure --profile hours.csv --plot cost.svg
  python -m ops cost --refresh --region eu-central-1   prices of today, from AWS

exit status: 0 estimated; 2 something is missing for an estimate
"""
# From AWS's own count: under 1 % of invocations.
# https://aws.amazon.com/blogs/compute/operating-lambda-performance-optimization-part-1/
COLD_SHARE = 0.01
SERVERLESS_MB = 3072  # the default of the context key
_ERRORS = (CannotAsk, FindingError, FaceError, PlotError, PricesError, TrafficError)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    what = parser.add_argument_group("what a request takes: one of")
    what.add_argument("--duration-ms", type=_positive, metavar="MS", help="billed on Lambda")
    what.add_argument("--measure", action="store_true", help="of the model here, as a process")
    what.add_argument(
        "--stack",
        nargs="?",
        const=STACK_NAME,
        metavar="NAME",
        help=f"of a deployed stack (default: {STACK_NAME}), with its traffic",
    )
    what.add_argument(
        "--refresh",
        action="store_true",
        help="nothing: read the region's prices from AWS into the file of prices",
    )
    when = parser.add_argument_group("traffic")
    when.add_argument("--requests", metavar="N", help="a month: 2500000, 2.5e6 or 2.5M")
    when.add_argument(
        "--profile",
        metavar="FILE",
        help="requests by the hour of a day (24) or a week (168): a CSV file, whose last column "
        "counts, or numbers with commas; with --requests, only their shape",
    )
    more = parser.add_argument_group("more of the request")
    more.add_argument(
        "--memory-mb",
        type=_memory,
        metavar="MB",
        default=arithmetic.LAMBDA_MB_PER_VCPU,
        help="Lambda's, with --duration-ms (default: %(default)s)",
    )
    more.add_argument(
        "--serverless-mb",
        type=int,
        choices=range(1024, 6145, 1024),
        default=SERVERLESS_MB,
        metavar="MB",
        help="of a serverless endpoint (default: %(default)s)",
    )
    more.add_argument(
        "--data-kb",
        type=_not_negative,
        metavar="KB",
        help="sent and answered: SageMaker is paid for it",
    )
    more.add_argument(
        "--cold-ms", type=_positive, metavar="MS", help="a cold start, with --duration-ms"
    )
    more.add_argument(
        "--cold-share",
        type=_share,
        default=COLD_SHARE,
        metavar="SHARE",
        help="of Lambda's requests that are one, 0 to 1 (default: %(default)s)",
    )
    more.add_argument(
        "--docker",
        nargs="?",
        const="one-image",
        metavar="IMAGE",
        help="--measure the image (default: one-image) at several memory sizes",
    )
    more.add_argument(
        "--image", action="append", metavar="PATH", help="--measure with a picture of yours"
    )
    more.add_argument(
        "--p95-ms", type=_positive, metavar="MS", help="--measure: how fast 95 of 100 must be"
    )
    more.add_argument(
        "--days",
        type=int,
        choices=range(1, 64),  # CloudWatch keeps values of a minute for 15 days, of 5 for 63
        default=14,
        metavar="N",
        help="--stack: how far back, 1 to 63 (default: %(default)s)",
    )
    choice = parser.add_argument_group("what is compared, and how it is told")
    choice.add_argument(
        "--instance",
        action="append",
        type=_instance,
        default=[],
        metavar="TYPE[=RATE]",
        help="a real-time instance type, with the requests a second that one takes; may be "
        "repeated (default: the stack's, and the cheapest)",
    )
    choice.add_argument(
        "--least",
        type=_whole,
        default=1,
        metavar="N",
        help="the fewest instances of an endpoint (default: %(default)s)",
    )
    choice.add_argument(
        "--provisioned",
        type=_whole,
        metavar="N",
        help="Lambda's executions kept warm (default: shown with as many as are needed)",
    )
    choice.add_argument("--free-tier", action="store_true", help="take Lambda's off")
    choice.add_argument(
        "--region", help=f"default: AWS_REGION, the profile's, or {FALLBACK_REGION}"
    )
    choice.add_argument(
        "--prices", type=Path, default=prices.SHIPPED, metavar="FILE", help="a file of prices"
    )
    choice.add_argument(
        "--plot",
        nargs="?",
        const="",
        metavar="FILE",
        help="cost against traffic: as .svg or .png, or in the terminal",
    )
    choice.add_argument("--brief", action="store_true", help="print the advice only")
    choice.add_argument("--json", action="store_true", help="print JSON and nothing else")


def run(options: argparse.Namespace) -> int:
    """Exit status 0: estimated; 2: something is missing for an estimate."""
    errors = Console(stderr=True)
    try:
        aws = Aws(options.region)
        if options.refresh:
            return _refresh(aws, options.prices)
        asked = prices.load(options.prices, aws.region)
        given = traffic.parse(options.requests, options.profile)
        with errors.status("finding out what a request takes"):
            found = _find(options, aws)
        estimate = Estimate(_with(found, given, options), asked, _choices(options))
        _print(estimate, options)
        return 0
    except _ERRORS as error:
        said = str(error)
    except AWS_ERRORS as error:  # before any call: a profile or a configuration that is none
        said = str(explain(error, "sts:GetCallerIdentity"))
    except OSError as error:
        said = f"{error.filename}: {error.strerror}"
    errors.print(f"error: {said}", style="red", markup=False, highlight=False, soft_wrap=True)
    return 2


def _find(options: argparse.Namespace, aws: Aws) -> Found:
    """Raises FindingError, FaceError, CannotAsk, OSError."""
    ways = [bool(options.duration_ms), options.measure, bool(options.stack)]
    if sum(ways) != 1:
        raise FindingError(
            "say what a request takes, in one way: --duration-ms MS, --measure (the model here) "
            "or --stack (the deployed one)"
        )
    for option in ("docker", "image", "p95_ms"):
        if getattr(options, option) and not options.measure:
            raise FindingError(f"--{option.replace('_', '-')} goes with --measure")
    if options.measure:
        return measure(
            [local.read(place) for place in options.image or ()] or local.default_requests(),
            options.docker,
            p95_ms=options.p95_ms,
            serverless_memory_mb=options.serverless_mb,
            cold_share=options.cold_share,
        )
    if options.stack:
        now = datetime.now(UTC)
        mb = options.serverless_mb
        return observe(aws, options.stack, days=options.days, now=now, serverless_memory_mb=mb)
    vcpu_ms = arithmetic.one_vcpu_ms(options.duration_ms, options.memory_mb)
    work = Work(
        lambda_memory_mb=options.memory_mb,
        lambda_ms=options.duration_ms,
        serverless_memory_mb=options.serverless_mb,
        serverless_ms=arithmetic.lambda_ms(vcpu_ms, options.serverless_mb),
        vcpu_ms=vcpu_ms,
        cold_ms=options.cold_ms or 0.0,
        cold_share=options.cold_share if options.cold_ms else 0.0,
    )
    return Found(work)


def _with(found: Found, given: Traffic | None, options: argparse.Namespace) -> Found:
    """What the command line says of traffic and data comes before what was found."""
    if options.data_kb is not None:
        found = replace(found, work=replace(found.work, data_bytes=options.data_kb * 1024))
    return replace(found, traffic=given) if given else found


def _choices(options: argparse.Namespace) -> Choices:
    return Choices(dict(options.instance), options.least, options.provisioned, options.free_tier)


def _print(estimate: Estimate, options: argparse.Namespace) -> None:
    """Raises PlotError."""
    if options.plot:
        plot_file.write(plot.drawing(estimate), Path(options.plot))
    if options.json:
        json.dump(as_json(estimate), sys.stdout, indent=2, ensure_ascii=False)
        print()
        return
    console = Console()
    if options.brief:
        brief(estimate, console)
        return
    show(estimate, console)
    if options.plot == "":
        console.out(plot.in_terminal(plot.drawing(estimate)), highlight=False)


def _refresh(aws: Aws, path: Path) -> int:
    """Raises CannotAsk, PricesError."""
    console = Console()
    regions = prices.read(path) if path.exists() else {}
    api = Aws(price_list.API_REGION)
    with Console(stderr=True).status(f"reading the prices of {aws.region}"):
        groups = price_list.refresh(api, aws.region, datetime.now(UTC).date())
    if not groups:
        raise PricesError(f"AWS has no prices of Lambda or SageMaker for {aws.region}")
    regions[aws.region] = groups
    prices.write(path, regions)
    named = ", ".join(groups)
    console.print(f"{path}: prices of {aws.region} ({named})", highlight=False, soft_wrap=True)
    return 0


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a number") from None


def _positive(text: str) -> float:
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def _not_negative(text: str) -> float:
    return 0.0 if _number(text) == 0 else _positive(text)


def _share(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to 1")
    return value


def _whole(text: str) -> int:
    value = _number(text)
    if not (value >= 1 and value.is_integer()):
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of 1 or more")
    return int(value)


def _memory(text: str) -> int:
    value = _number(text)
    if not (128 <= value <= 10240 and value.is_integer()):
        raise argparse.ArgumentTypeError(f"{text} is not from 128 to 10240, Lambda's sizes")
    return int(value)


def _instance(text: str) -> tuple[str, float | None]:
    kind, _, rate = text.partition("=")
    if not kind.startswith("ml."):
        raise argparse.ArgumentTypeError(f"{kind} is no instance type such as ml.m5.large")
    return kind, _positive(rate) if rate else None

"""Say where the move from Lambda to SageMaker stands, and print the command of its next step.

The function's URL is the address of both targets. Nothing is changed.
"""

import argparse
import json
import math
import os
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from ops import cli
from ops.aws import Aws, CannotAsk, stack_outputs
from ops.commands.plan import deployed_keys
from ops.cost import CostError, prices, targets
from ops.cost.observe import ALIAS, metric_query, observe, read_metrics
from ops.cost.one_url import OneUrl
from ops.cost.prices import usd
from ops.cost.traffic import Traffic
from ops.findings import Check, Finding, State, as_json, exit_status, failure, ok, warning
from ops.local_servers import ROOT
from ops.parity import deployment
from ops.parity.checks import compare_images, compare_settings
from ops.parity.report import list_item
from ops.targets import ASYNC_OUTPUT

EXAMPLES = """\
examples:
  python -m ops move                 where the move stands, and its next command
  python -m ops move --back          the command of the step before
  python -m ops move --watch 30      again every 30 s, during a shift

exit status: 0 go on; 1 go back; 2 wait, or something is not known
"""
Keys = Mapping[str, str]
_OF_THE_MOVE = ("mode", "sagemaker_percent", "keep_url")
# The steps: each with the keys that a deployment of it has.
STEPS: tuple[Keys, ...] = (
    {"mode": "lambda"},
    {"mode": "both"},
    {"mode": "both", "sagemaker_percent": "10"},
    {"mode": "both", "sagemaker_percent": "100"},
    {"mode": "sagemaker", "keep_url": "true"},
)
_MOST_FAULTS = 0.01  # as the alarms of a shift have it
_DEVIATIONS = 4.0  # of a share: chance makes more of it once in 16,000 looks
_STRAYS = 0.01  # of the calls: pings, for example, are never forwarded
_LATE = timedelta(minutes=5)  # what is logged becomes a metric later than what AWS counts
_COST_DAYS = 1
_HOUR = timedelta(hours=1)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    cli.add_stack_arguments(parser)
    add = parser.add_argument
    add("--back", action="store_true", help="print the command of the step before")
    again = "look again after so long (default: 60), until Ctrl-C"
    add("--watch", nargs="?", const=60, type=cli.COUNT, metavar="SECONDS", help=again)
    cli.add_json_argument(parser)


def run(options: argparse.Namespace) -> int:
    """Print where the move stands; return 0 to go on, 1 to go back, 2 to wait."""
    aws = Aws(options.region)
    while True:
        with cli.Spinner("asking AWS"):
            move = look(aws, options.stack, back=options.back)
        if options.json:
            cli.print_json(move.as_json())
        else:
            _show(move)
        if not options.watch:
            return move.status
        time.sleep(options.watch)


@dataclass(frozen=True)
class Move:
    """Where the move of a stack stands, and what to do next."""

    stack: str
    keys: Keys
    answered: Mapping[str, int]  # calls of the last hour, by X-Served-By
    checks: Mapping[str, Finding]
    usd_per_million: Mapping[str, float]
    priced: str  # the region and the date of the prices, or why there is none
    back: bool

    @property
    def percent(self) -> int:
        """Return the share of the calls that is forwarded."""
        return percent_of(self.keys)

    @property
    def status(self) -> int:
        return exit_status(self.checks.values())

    @property
    def following(self) -> Keys | None:
        """Return the keys of the next step; None where there is none, or it is too early."""
        if self.back or self.status == 1:
            before = [step for step in STEPS if rank(step) < rank(self.keys)]
            if self.status == 1 and self.percent:
                # The step before the last one answers from the same endpoint.
                before = [step for step in before if percent_of(step) < self.percent]
            return before[-1] if before else None
        after = [step for step in STEPS if rank(step) > rank(self.keys)]
        return after[0] if after and self.status == 0 else None

    @property
    def command(self) -> str | None:
        """Return the command of the next step, with the keys that cdk.json lacks."""
        if self.following is None:
            return None
        written = {name: _as_text(value) for name, value in cli.cdk_context(ROOT).items()}
        unset = {"sagemaker_percent": "0", "keep_url": "false"}
        given = {name: value for name, value in unset.items() if name in written}
        given |= self.following
        given |= {name: value for name, value in self.keys.items() if name not in _OF_THE_MOVE}
        options = [f"{name}={value}" for name, value in given.items() if written.get(name) != value]
        return " ".join(["cdk deploy", *(f"-c {shlex.quote(option)}" for option in options)])

    @property
    def says(self) -> str:
        """Say in a line what the command does, or why there is none."""
        if self.following:
            forwards = "Back:" if self.back else "Next:"
            return "Something is wrong: go back." if self.status == 1 else forwards
        if self.status == 1:
            return "Something is wrong, and there is no step to go back to."
        if self.back:
            return "This is the first step."
        return "Wait: not everything is known." if self.status == 2 else "The move is complete."

    def as_json(self) -> dict[str, Any]:
        return {
            "stack": self.stack,
            **{name: self.keys.get(name, "") for name in _OF_THE_MOVE},
            "percent": self.percent,
            "answered": dict(self.answered),
            "checks": [as_json(name, finding) for name, finding in self.checks.items()],
            "usd_per_million": dict(self.usd_per_million),
            "priced": self.priced,
            "says": self.says,
            "command": self.command,
            "status": self.status,
        }


def _as_text(value: object) -> str:
    """Return a value of cdk.json as `-c` takes it."""
    if isinstance(value, list):
        return ",".join(map(_as_text, value))
    return value if isinstance(value, str) else json.dumps(value)


def percent_of(keys: Keys) -> int:
    """Return the share of the function's calls that the endpoint answers with these keys."""
    if keys["mode"] == "both":
        return int(keys.get("sagemaker_percent", 0))
    return 100 if keys["mode"] == "sagemaker" else 0


def rank(keys: Keys) -> tuple[int, int]:
    """Return the place of a deployment in the order of the move."""
    return ("lambda", "both", "sagemaker").index(keys["mode"]), percent_of(keys)


def look(aws: Aws, stack: str, *, back: bool = False) -> Move:
    """Read where the move stands. Raises CannotAsk."""
    outputs = stack_outputs(aws, stack)
    keys = deployed_keys(outputs)
    if ASYNC_OUTPUT in outputs:
        why = "the stack's endpoint is asynchronous: a function cannot forward to it"
        raise CannotAsk(why, "deploy another sagemaker_type beside it")
    if "FunctionName" not in outputs:
        why = "the stack has no function, and so no URL that could be the address of its endpoint"
        raise CannotAsk(why, "`cdk deploy -c mode=sagemaker -c keep_url=true` adds both")
    counted = _last_hour(aws, stack, outputs)
    answered = _who_answered(counted, percent_of(keys) / 100)
    checks = {"answers": _answers(answered, percent_of(keys)), "faults": _faults(counted)}
    if checks["answers"].state is State.UNKNOWN and checks["faults"].state is State.FAILS:
        # Or what is gone back from would still count, and send it back again.
        checks["faults"] = replace(checks["faults"], state=State.UNKNOWN)
    if "EndpointName" in outputs:
        action = "lambda:GetFunction and sagemaker:DescribeEndpoint"
        checks["parity"] = Check("parity", partial(_parity, aws, outputs), action).run()
        checks["skew"] = _skew(counted)
    costs, priced = _costs(aws, stack, keys)
    return Move(stack, keys, answered, checks, costs, priced, back)


def _last_hour(aws: Aws, stack: str, outputs: Keys) -> dict[str, float]:
    """Return what the last hour's metrics add up to. Raises CannotAsk."""
    name = outputs["FunctionName"].removesuffix(f":{ALIAS}").rpartition(":")[2]
    alias = {"FunctionName": name, "Resource": f"{name}:{ALIAS}"}
    asked: dict[str, tuple[str, str, Keys]] = {
        "calls": ("AWS/Lambda:Invocations", "Sum", alias),
        "errors": ("AWS/Lambda:Errors", "Sum", alias),
        "url_faults": ("AWS/Lambda:Url5xxCount", "Sum", {"FunctionName": name}),
        "forwarded": (f"{stack}:Forwarded", "SampleCount", {}),
        "spilled": (f"{stack}:Spilled", "Sum", {}),
        "examined": (f"{stack}:Examined", "Sum", {}),
        "exams": (f"{stack}:Skew", "SampleCount", {}),
        "skews": (f"{stack}:Skew", "Sum", {}),
    }
    queries = [
        metric_query(each, metric, statistic, 60, dimensions)
        for each, (metric, statistic, dimensions) in asked.items()
    ]
    end = datetime.now(UTC) - _LATE
    found = read_metrics(aws, queries, end - _HOUR, end)
    return {each: sum(found[each].values()) for each in asked}


def _who_answered(counted: Mapping[str, float], share: float) -> dict[str, int]:
    """Return the callers' calls by who answered; those of the examiner are no calls of the alias.

    It asks the endpoint as often itself as it asks a version, which forwards that share.
    """
    calls, spilled = counted["calls"], counted["spilled"]
    examined = counted["examined"] * share / (1 + share)
    forwarded = min(max(0.0, counted["forwarded"] - examined), calls)
    spilled = min(spilled, calls - forwarded)
    own = calls - forwarded - spilled
    found = {"lambda": own, "sagemaker": forwarded, "lambda-spill": spilled}
    return {who: round(number) for who, number in found.items()}


def _answers(answered: Mapping[str, int], percent: int) -> Finding:
    """Say who answered, and whether that is the share that was deployed."""
    calls = sum(answered.values())
    if not calls:
        return warning("no call in the last hour: there is nothing to judge by")
    names = {"lambda": "Lambda", "sagemaker": "SageMaker", "lambda-spill": "Lambda by spill"}
    shares = [
        f"{names[who]} {number:,} ({100 * number / calls:.1f} %)"
        for who, number in answered.items()
        if number
    ]
    says = f"{calls:,} calls in the last hour: {', '.join(shares)}"
    share, given = percent / 100, (calls - answered["lambda"]) / calls
    chance = _DEVIATIONS * math.sqrt(share * (1 - share) / calls)
    if abs(given - share) > max(_STRAYS, chance):
        why = f"{says}, where {percent} % was deployed"
        return Finding(State.UNKNOWN, why, "this is expected within an hour of a step")
    if answered["lambda-spill"]:
        fix = "the endpoint refuses calls or answers too slowly: give it more instances"
        return warning(says, fix)
    return ok(says)


def _faults(counted: Mapping[str, float]) -> Finding:
    # A crash behind the URL is in both. The URL's metric has the version's own 5xx.
    faults = counted["errors"] + counted["url_faults"]
    says = f"{faults:,.0f} calls failed in the last hour"
    if faults > _MOST_FAULTS * counted["calls"]:
        return failure(says, "the function's log group names them")
    return ok(says)


def _parity(aws: Aws, outputs: Keys) -> Finding:
    """Compare image and settings of both targets, without asking either."""
    salt = os.urandom(16)
    targets = [
        deployment.function(aws, outputs["FunctionName"], salt),
        deployment.endpoint(aws, outputs["EndpointName"], salt),
    ]
    for target in targets:
        if target.refused:
            raise target.refused
    images, settings = compare_images(targets).finding, compare_settings(targets).finding
    if images.state is not State.OK:
        return images
    return settings if settings.state is not State.OK else images


def _skew(counted: Mapping[str, float]) -> Finding:
    if counted["skews"]:
        return failure("an exam of the last hour found a skew", "the examiner's log group names it")
    if not counted["exams"]:
        return warning("no exam in the last hour", "`python -m ops parity` compares the answers")
    return ok("the last hour's exam found none")


def _costs(aws: Aws, stack: str, keys: Keys) -> tuple[dict[str, float], str]:
    """Return what a million calls cost at each step, by its name, at the last day's traffic."""
    try:
        listed = prices.load(prices.SHIPPED, aws.region)
        workload = observe(aws, stack, _COST_DAYS)
    except CostError as error:
        return {}, f"no cost: {error}"
    usage, kind, architecture = workload.usage, workload.instance_type, workload.architecture
    capacity = targets.capacity_of(kind, usage.vcpu_ms)
    if keys.get("sagemaker_type", "realtime") != "realtime" or not capacity:
        return {}, "no cost: only real-time instances of known capacity are priced"
    if kind not in listed.usd_per_hour or not listed.of_lambda(architecture):
        return {}, f"no cost: there is no price of {kind} and Lambda in {aws.region}"
    least = int(keys.get("min_instances", 1))
    endpoint = targets.real_time(usage, listed, kind, capacity, least)
    one_url = OneUrl(usage, listed, endpoint)
    traffic = workload.traffic or Traffic(1e6)
    found = {}
    for step in STEPS:
        if step["mode"] == "lambda":
            on_lambda = targets.on_demand(usage, listed, architecture=architecture)
            month = on_lambda.usd_per_month(traffic)
        else:
            spill = keys.get("spill") == "true"
            month = one_url.forwarding(traffic, percent_of(step), spill=spill).usd_per_month
        found[name_of(step)] = round(month / traffic.requests_per_month * 1e6, 2)
    return found, f"USD a million calls at the last day's traffic, {listed.title}"


def name_of(keys: Keys) -> str:
    return " ".join(f"{name}={keys[name]}" for name in _OF_THE_MOVE if name in keys)


def _show(move: Move) -> None:
    cli.print_plain(f"{move.stack}: {name_of(move.keys)}", "bold")
    for name, finding in move.checks.items():
        cli.print_plain(list_item(finding, name), finding.state.style)
    for step, costs in move.usd_per_million.items():
        mark = ">" if step == name_of(move.keys) else " "
        cli.print_plain(f"{mark} {step:<32} {usd(costs):>10}")
    cli.print_plain(f"({move.priced})", "dim")
    cli.print_plain(move.says, {0: "green", 1: "red", 2: "yellow"}[move.status])
    if move.command:
        cli.print_plain(f"  {move.command}")

"""Show where the move from Lambda to SageMaker stands, and print the command of its next step.

It changes nothing. During the move, the function's URL is the address of both targets.
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
from ops.cost.observe import ALIAS, Metric, observe, read_metrics
from ops.cost.one_url import OneUrl
from ops.findings import Check, Finding, State, as_json, exit_status, failure, ok, warning
from ops.local_servers import ROOT
from ops.parity import deployment
from ops.parity.checks import compare_images, compare_settings
from ops.parity.report import list_item
from ops.targets import ASYNC_OUTPUT

EXAMPLES = """\
examples:
  python -m ops move                 show where the move stands, and its next command
  python -m ops move --back          print the command of the previous step
  python -m ops move --watch 30      look again every 30 s, during a shift

exit status: 0 go on; 1 go back; 2 wait, or something is unknown
"""
Keys = Mapping[str, str]
_MOVE_KEYS = ("mode", "sagemaker_percent", "keep_url")
STEPS: tuple[Keys, ...] = (
    {"mode": "lambda"},
    {"mode": "both"},
    {"mode": "both", "sagemaker_percent": "10"},
    {"mode": "both", "sagemaker_percent": "100"},
    {"mode": "sagemaker", "keep_url": "true"},
)
_MAX_FAULT_SHARE = 0.01  # as in the alarms of a shift
_DEVIATIONS = 4.0  # a share deviates more than this by chance once in 16,000 looks
_STRAY_SHARE = 0.01  # pings, for example, are never forwarded
_DELAY = timedelta(minutes=5)  # metrics from logs arrive later than AWS's own metrics


def add_arguments(parser: argparse.ArgumentParser) -> None:
    cli.add_stack_arguments(parser)
    add = parser.add_argument
    add("--back", action="store_true", help="print the command of the previous step")
    again = "repeat after this time (default: 60) until Ctrl-C"
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
            move.show()
        if not options.watch:
            return move.status
        time.sleep(options.watch)


@dataclass(frozen=True)
class Move:
    stack: str
    keys: Keys
    answered: Mapping[str, int]  # calls in the last hour by X-Served-By
    checks: Mapping[str, Finding]
    usd_per_million: Mapping[str, float]
    priced: str  # region and date of the prices, or why there are none
    back: bool

    @property
    def status(self) -> int:
        return exit_status(self.checks.values())

    @property
    def following(self) -> Keys | None:
        """Return the keys of the step to take, or None if there is none or it is too early."""
        if self.back or self.status == 1:
            before = [step for step in STEPS if rank(step) < rank(self.keys)]
            if self.status == 1 and (percent := percent_of(self.keys)):
                # A failing endpoint must get fewer calls: the last two steps send it all calls.
                before = [step for step in before if percent_of(step) < percent]
            return before[-1] if before else None
        after = [step for step in STEPS if rank(step) > rank(self.keys)]
        return after[0] if after and self.status == 0 else None

    @property
    def command(self) -> str | None:
        """Return the command of the step to take, with the keys that cdk.json lacks."""
        if self.following is None:
            return None
        written = {name: _as_text(value) for name, value in cli.cdk_context(ROOT).items()}
        unset = {"sagemaker_percent": "0", "keep_url": "false"}
        given = {name: value for name, value in unset.items() if name in written}
        given |= self.following
        given |= {name: value for name, value in self.keys.items() if name not in _MOVE_KEYS}
        options = [f"{name}={value}" for name, value in given.items() if written.get(name) != value]
        return " ".join(["cdk deploy", *(f"-c {shlex.quote(option)}" for option in options)])

    @property
    def says(self) -> str:
        """Say what the command does, or why there is none."""
        if self.status == 1:
            back = ": go back." if self.following else ", and there is no step to go back to."
            return f"Something is wrong{back}"
        if self.following:
            return "Back:" if self.back else "Next:"
        if self.back:
            return "This is the first step."
        return "Wait: not everything is known." if self.status == 2 else "The move is complete."

    def as_json(self) -> dict[str, Any]:
        return {
            "stack": self.stack,
            **{name: self.keys.get(name, "") for name in _MOVE_KEYS},
            "percent": percent_of(self.keys),
            "answered": dict(self.answered),
            "checks": [as_json(name, finding) for name, finding in self.checks.items()],
            "usd_per_million": dict(self.usd_per_million),
            "priced": self.priced,
            "says": self.says,
            "command": self.command,
            "status": self.status,
        }

    def show(self) -> None:
        cli.print_plain(f"{self.stack}: {name_of(self.keys)}", "bold")
        for name, finding in self.checks.items():
            cli.print_plain(list_item(finding, name), finding.state.style)
        for step, costs in self.usd_per_million.items():
            mark = ">" if step == name_of(self.keys) else " "
            cli.print_plain(f"{mark} {step:<32} {prices.usd(costs):>10}")
        cli.print_plain(f"({self.priced})", "dim")
        cli.print_plain(self.says, {0: "green", 1: "red", 2: "yellow"}[self.status])
        if self.command:
            cli.print_plain(f"  {self.command}")


def _as_text(value: object) -> str:
    """Return a value of cdk.json in the form of `-c`."""
    if isinstance(value, list):
        return ",".join(map(_as_text, value))
    return value if isinstance(value, str) else json.dumps(value)


def percent_of(keys: Keys) -> int:
    """Return the percentage of calls that the endpoint answers."""
    if keys["mode"] == "both":
        return int(keys.get("sagemaker_percent", 0))
    return 100 if keys["mode"] == "sagemaker" else 0


def rank(keys: Keys) -> tuple[int, int]:
    """Return a deployment's sort key in the order of the move."""
    return ("lambda", "both", "sagemaker").index(keys["mode"]), percent_of(keys)


def look(aws: Aws, stack: str, *, back: bool = False) -> Move:
    """Read where the move stands. Raise CannotAsk."""
    outputs = stack_outputs(aws, stack)
    keys = deployed_keys(outputs)
    if ASYNC_OUTPUT in outputs:
        why = "the stack's endpoint is asynchronous, and a function cannot forward to it"
        raise CannotAsk(why, "deploy another sagemaker_type beside it")
    if "FunctionName" not in outputs:
        why = "the stack has no function, and so no URL that could be the address of its endpoint"
        raise CannotAsk(why, "`cdk deploy -c mode=sagemaker -c keep_url=true` adds both")
    counted = _last_hour(aws, stack, outputs)
    answered = _who_answered(counted, percent_of(keys) / 100)
    checks = {"answers": _answers(answered, percent_of(keys)), "faults": _faults(counted)}
    if checks["answers"].state is State.UNKNOWN and checks["faults"].state is State.FAILS:
        # The hour still has faults of the previous deployment, which must not cause a step back.
        checks["faults"] = replace(checks["faults"], state=State.UNKNOWN)
    if "EndpointName" in outputs:
        action = "lambda:GetFunction and sagemaker:DescribeEndpoint"
        checks["parity"] = Check("parity", partial(_parity, aws, outputs), action).run()
        checks["skew"] = _skew(counted)
    costs, priced = _costs(aws, stack, keys)
    return Move(stack, keys, answered, checks, costs, priced, back)


def _last_hour(aws: Aws, stack: str, outputs: Keys) -> dict[str, float]:
    """Return the sums of the last hour's metrics. Raise CannotAsk."""
    name = outputs["FunctionName"].removesuffix(f":{ALIAS}").rpartition(":")[2]
    alias = {"FunctionName": name, "Resource": f"{name}:{ALIAS}"}
    asked: dict[str, Metric] = {
        "calls": ("AWS/Lambda:Invocations", "Sum", alias),
        "errors": ("AWS/Lambda:Errors", "Sum", alias),
        "url_faults": ("AWS/Lambda:Url5xxCount", "Sum", {"FunctionName": name}),
        "forwarded": (f"{stack}:Forwarded", "SampleCount", {}),
        "spilled": (f"{stack}:Spilled", "Sum", {}),
        "examined": (f"{stack}:Examined", "Sum", {}),
        "exams": (f"{stack}:Skew", "SampleCount", {}),
        "skews": (f"{stack}:Skew", "Sum", {}),
    }
    end = datetime.now(UTC) - _DELAY
    found = read_metrics(aws, asked, 60, end - timedelta(hours=1), end)
    return {key: sum(found[key].values()) for key in asked}


def _who_answered(counted: Mapping[str, float], share: float) -> dict[str, int]:
    """Count calls by the target that answered, excluding the examiner's.

    The examiner calls the endpoint once for each call of a version, which forwards that share.
    """
    calls = counted["calls"]
    examined = counted["examined"] * share / (1 + share)
    forwarded = min(max(0.0, counted["forwarded"] - examined), calls)
    spilled = min(counted["spilled"], calls - forwarded)
    found = {"lambda": calls - forwarded - spilled, "sagemaker": forwarded, "lambda-spill": spilled}
    return {who: round(number) for who, number in found.items()}


def _answers(answered: Mapping[str, int], percent: int) -> Finding:
    """Compare the endpoint's share of the calls with the deployed one."""
    calls = sum(answered.values())
    if not calls:
        return warning("no call in the last hour, so there is nothing to judge")
    names = {"lambda": "Lambda", "sagemaker": "SageMaker", "lambda-spill": "Lambda by spill"}
    shares = [f"{names[who]} {n:,} ({100 * n / calls:.1f} %)" for who, n in answered.items() if n]
    says = f"{calls:,} calls in the last hour: {', '.join(shares)}"
    share, given = percent / 100, (calls - answered["lambda"]) / calls
    chance = _DEVIATIONS * math.sqrt(share * (1 - share) / calls)
    if abs(given - share) > max(_STRAY_SHARE, chance):
        why = f"{says}, but {percent} % was deployed"
        return Finding(State.UNKNOWN, why, "this is expected within an hour of a step")
    fix = "the endpoint refuses calls or answers too slowly: give it more instances"
    return warning(says, fix) if answered["lambda-spill"] else ok(says)


def _faults(counted: Mapping[str, float]) -> Finding:
    # Both metrics count a crash behind the URL, but only the URL's counts 5xx replies.
    faults = counted["errors"] + counted["url_faults"]
    says = f"{faults:,.0f} calls failed in the last hour"
    failing = faults > _MAX_FAULT_SHARE * counted["calls"]
    return failure(says, "see the function's log group") if failing else ok(says)


def _parity(aws: Aws, outputs: Keys) -> Finding:
    """Compare image and settings of both targets without calling them."""
    salt = os.urandom(16)
    function = deployment.function(aws, outputs["FunctionName"], salt)
    both = (function, deployment.endpoint(aws, outputs["EndpointName"], salt))
    for target in both:
        if target.refused:
            raise target.refused
    images, settings = compare_images(both).finding, compare_settings(both).finding
    return settings if images.state is State.OK and settings.state is not State.OK else images


def _skew(counted: Mapping[str, float]) -> Finding:
    if counted["skews"]:
        return failure("an exam of the last hour found a skew", "see the examiner's log group")
    if not counted["exams"]:
        return warning("no exam in the last hour", "`python -m ops parity` compares the answers")
    return ok("the last hour's exam found none")


def _costs(aws: Aws, stack: str, keys: Keys) -> tuple[dict[str, float], str]:
    """Return the costs of a million calls by step, at the last day's traffic, and their source."""
    if keys.get("sagemaker_type", "realtime") != "realtime":
        return {}, "no cost: only real-time instances are priced"
    try:
        listed = prices.load(prices.SHIPPED, aws.region)
        workload = observe(aws, stack, 1)
        usage, kind, least = workload.usage, workload.instance_type, keys.get("min_instances", 1)
        endpoint = targets.real_time(usage, listed, kind, None, int(least))
        on_lambda = targets.on_lambda(usage, listed, workload.architecture)
    except CostError as error:
        return {}, f"no cost: {error}"
    one_url = OneUrl(usage, listed, endpoint)
    found = {}
    for step in STEPS:
        if step["mode"] == "lambda":
            month = on_lambda.usd_per_month(workload.asked)
        else:
            spill = keys.get("spill") == "true"
            month = one_url.forwarding(workload.asked, percent_of(step), spill=spill).usd_per_month
        found[name_of(step)] = round(month / workload.asked.requests_per_month * 1e6, 2)
    return found, f"USD per million calls at the last day's traffic, {listed.title}"


def name_of(keys: Keys) -> str:
    return " ".join(f"{name}={keys[name]}" for name in _MOVE_KEYS if name in keys)

"""`python -m ops move`: where the move stands, and its next command.

Lambda and SageMaker are scripted; moto has CloudFormation and CloudWatch.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.config.context import read_config
from infra.lambda_target.target import DOORMAN_MEMORY_MB
from integration.ops.deployed import SETTINGS, Deployed
from integration.ops.operator_tools import Measured
from ops.commands import move
from ops.cost import one_url

GOLDEN = Path(__file__).parent / "golden"
REGION = "eu-west-1"  # has prices of instances
OUTPUTS = {"FunctionName": "the-function:live", "EndpointName": "the-endpoint"}
BOTH, DONE = {"mode": "both"}, {"mode": "sagemaker", "keep_url": "true"}
TENTH, ALL = {**BOTH, "sagemaker_percent": "10"}, {**BOTH, "sagemaker_percent": "100"}
EARLIER = {"Invocations": [3600.0], "Duration": [39.5 * 3600]}  # for the costs


@pytest.fixture
def stack(account: Any, script: Any, monkeypatch: pytest.MonkeyPatch) -> Deployed:
    """Return an account whose function and endpoint run one image, without a stack."""
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", script.url)
    found = Deployed(account, script, f"sha256:{'a' * 64}", "config", None)
    found.describe()
    return found


@pytest.fixture
def look(stack: Deployed, ops: Callable[..., Any]) -> Callable[..., Any]:
    """Deploy the stack with keys, record the last hour, with an exam, and run the command."""

    def run(keys: Mapping[str, str], measured: Measured, *arguments: str) -> Any:
        outputs = {**OUTPUTS, "ContextKeys": json.dumps({**keys, "stack_name": "Traffic"})}
        if keys["mode"] == "lambda":
            del outputs["EndpointName"]
        stack.account.deploy(outputs, region=REGION)
        now, found = datetime.now(UTC), {"Skew": [0.0], **measured}
        moments = ((now - timedelta(hours=3), EARLIER), (now - timedelta(minutes=20), found))
        stack.account.record(REGION, moments)
        return ops("move", "--stack", "Traffic", *arguments)

    return run


# Deployed keys, metrics of the last hour, and options.
CASES: dict[str, Sequence[Any]] = {
    "on Lambda": ({"mode": "lambda"}, {"Invocations": [3600.0]}),
    "on Lambda, failing": ({"mode": "lambda"}, {"Invocations": [99.0], "Errors": [9.0]}),
    "beside it, without a call": (BOTH, {}),
    "beside it": (BOTH, {"Invocations": [3600.0]}),
    "a tenth": (TENTH, {"Invocations": [400.0], "Forwarded": [52.0] * 41}),
    "a tenth, and back": (TENTH, {"Invocations": [400.0]}, "--back"),
    "a tenth, of which none came": (TENTH, {"Invocations": [400.0]}),
    "a tenth, with a skew": (TENTH, {"Skew": [2.0], "Invocations": [9.0], "Forwarded": [5.0]}),
    "a tenth that fails": (
        {**TENTH, "lambda_memory_mb": "3008", "build_args": "PIP_INDEX_URL=https://a.example/a b"},
        {"Invocations": [400.0], "Url5xxCount": [5.0], "Forwarded": [52.0] * 40},
    ),
    "all, and some spill": (
        {**ALL, "spill": "true"},
        {"Invocations": [40.0], "Forwarded": [52.0] * 37, "Spilled": [3.0]},
    ),
    "all": (ALL, {"Invocations": [40.0], "Forwarded": [52.0] * 40}),
    "all but some pings": (ALL, {"Invocations": [1000.0], "Forwarded": [52.0] * 993}),
    # The examiner calls versions, which forward and log its calls, but not the alias.
    "all, with exams": (ALL, {"Examined": [32.0], "Invocations": [4.0], "Forwarded": [52.0] * 20}),
    "a tenth, an exam alone": (TENTH, {"Examined": [18.0], "Forwarded": [52.0] * 3}),
    # The hour's faults are of the step before, and must not cause another step back.
    "beside it, after a tenth that failed": (
        BOTH,
        {"Invocations": [400.0], "Url5xxCount": [90.0], "Forwarded": [52.0] * 380},
    ),
    "complete": (DONE, {"Invocations": [5.0], "Forwarded": [9.0] * 5}),
    # The way back takes calls from the endpoint.
    "complete, and failing": (
        DONE,
        {"Invocations": [40.0], "Errors": [9.0], "Forwarded": [52.0] * 40},
    ),
    "the first step, and back": ({"mode": "lambda"}, {}, "--back"),
}


def masked(text: str) -> str:
    """Mask costs, which depend on the minute of the hour."""
    return re.sub(r" +\$[\d,.]+", " $N", text)


def golden(name: str) -> str:
    parts = (GOLDEN / "move.txt").read_text().split("== ")
    return dict(part.split("\n", 1) for part in parts if part)[name].strip()


@pytest.mark.parametrize("name", CASES)
def test_golden(look: Callable[..., Any], name: str) -> None:
    keys = CASES[name][0]
    done = look(*CASES[name])
    assert done.err == ""
    assert f"{masked(done.out).strip()}\nexit status {done.status}" == golden(name)
    if command := re.search("cdk deploy (.*)", done.out):
        pairs = re.findall(r"-c '?(\w+)=((?:[^' ]|(?<=a) (?=b))+)", command[1])
        config = asdict(read_config(dict(pairs)))
        kept = {name: keys[name] for name in ("lambda_memory_mb", "spill") if name in keys}
        assert {name: str(config[name]).lower() for name in kept} == kept


def test_golden_json(look: Callable[..., Any]) -> None:
    done = look(*CASES["a tenth"], "--json")
    told = json.loads(done.out)
    assert told.pop("usd_per_million").keys() == {move.name_of(step) for step in move.STEPS}
    assert told == json.loads((GOLDEN / "move.json").read_text())


def test_the_costs_are_those_of_ops_cost(look: Callable[..., Any], ops: Callable[..., Any]) -> None:
    """The URL in front of an endpoint costs more than the endpoint alone."""
    costs = json.loads(look(TENTH, {}, "--json").out)["usd_per_million"]
    asked = ("--stack", "Traffic", "--days", "1", "--json", "--instance", "ml.m5.large")
    found = json.loads(ops("cost", *asked, "--one-url").out)
    expected = {t["target"]: t["usd_per_million_requests"] for t in found["targets"]}
    for target, step in {
        "lambda": "mode=lambda",
        "realtime_shared": "mode=both sagemaker_percent=10",
        "realtime_by_url": "mode=sagemaker keep_url=true",
    }.items():
        assert costs[step] == pytest.approx(expected[target], abs=0.01)
    assert expected["realtime"] < expected["realtime_by_url"]


def test_targets_that_differ_go_back(look: Callable[..., Any], stack: Deployed) -> None:
    stack.describe(environment={**SETTINGS, "URI_ALLOWLIST": "none"})
    done = look(TENTH, {})
    assert done.status == 1
    assert "✗ parity: URI_ALLOWLIST: 'none' on Lambda, '*' on SageMaker" in done.out
    assert "cdk deploy -c mode=both -c stack_name=Traffic" in done.out


def test_during_a_shift_it_waits(look: Callable[..., Any], stack: Deployed) -> None:
    stack.describe(weights={"7": 0.1})
    done = look(TENTH, {})
    assert done.status == 2
    assert "is being moved to another version" in done.out
    assert "Wait" in done.out
    assert "cdk deploy" not in done.out


def test_it_looks_again(look: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(move.time, "sleep", sleep)
    done = look({"mode": "lambda"}, {}, "--watch", "5")
    assert (done.status, slept) == (130, [5, 5])
    assert done.out.count("Traffic: mode=lambda") == 2


@pytest.mark.parametrize(
    ("outputs", "says"),
    [
        ({"EndpointName": "e"}, "no function, and so no URL"),
        ({**OUTPUTS, "AsyncInput": "s3://b/in/"}, "asynchronous"),
    ],
)
def test_what_cannot_move(
    stack: Deployed, ops: Callable[..., Any], outputs: Mapping[str, str], says: str
) -> None:
    keys = json.dumps({"mode": "sagemaker"})
    stack.account.deploy({**outputs, "ContextKeys": keys}, region=REGION)
    done = ops("move", "--stack", "Traffic")
    assert done.status == 2
    assert says in done.err


def test_its_steps_are_the_stacks(stack: Deployed) -> None:
    configs = [read_config(dict(step)) for step in move.STEPS]
    assert [config.forward_percent for config in configs] == [0, 0, 10, 100, 100]
    assert [move.percent_of(step) for step in move.STEPS] == [0, 0, 10, 100, 100]
    assert one_url.DOORMAN_MEMORY_MB == DOORMAN_MEMORY_MB

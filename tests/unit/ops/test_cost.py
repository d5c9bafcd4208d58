"""Run `python -m ops cost` as an operator does, without AWS."""

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from infra.config.context import read_config
from infra.config.keys import Config
from ops import local_servers
from ops.cost import CostError, command, measure, prices, targets, workload
from ops.cost.measure import choose
from ops.cost.report import MOST_MARKED
from ops.cost.workload import MemorySize

Run = Callable[..., Any]
GOLDEN = Path(__file__).parent / "golden"
BY_HAND = ("--duration-ms", "674", "--memory-mb", "3008", "--region", "us-east-1")
SHORT = ("--duration-ms", "40", "--region", "us-east-1")
PROFILE = (
    *(*SHORT, "--data-kb", "1", "--requests", "900M", "--profile", "1," * 18 + "6,6,6,6,6,6"),
    *("--instance", "ml.m5.large=120", "--instance", "ml.t2.medium=20"),
    *("--least", "2", "--provisioned", "10", "--free-tier"),
)


@pytest.fixture
def cost(ops: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "120")
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/no/such/file")
    return partial(ops, "cost")


@pytest.fixture
def report(cost: Run) -> Run:
    """Run `ops cost --json`, which must succeed, and return its report."""

    def run(*arguments: str) -> Any:
        done = cost(*arguments, "--json")
        assert done.status == 0, done.err
        return json.loads(done.out)

    return run


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("cost.txt", (*BY_HAND, "--requests", "10M", "--data-kb", "0")),
        ("cost_traffic.txt", (*BY_HAND, "--data-kb", "50", "--cold-ms", "2000")),
        ("cost_profile.txt", PROFILE),
        ("cost_one_url.txt", (*SHORT, "--data-kb", "1", "--requests", "100M", "--one-url", "25")),
        ("cost_region.txt", ("--duration-ms", "40", "--region", "eu-west-1", "--requests", "1e6")),
    ],
)
def test_golden(cost: Run, name: str, arguments: Sequence[str]) -> None:
    done = cost(*arguments)
    assert (done.status, done.err) == (0, "")
    ours, golden = (
        [line.rstrip() for line in text.splitlines()]
        for text in (done.out, (GOLDEN / name).read_text())
    )
    assert ours == golden


def test_golden_json(cost: Run) -> None:
    """Compare nine digits, because CPUs differ in the last one."""
    done = cost(*BY_HAND, "--requests", "10M", "--data-kb", "50", "--json")
    assert done.status == 0, done.err
    ours, golden = (
        json.loads(text, parse_float=lambda digits: f"{float(digits):.9g}")
        for text in (done.out, (GOLDEN / "cost.json").read_text())
    )
    assert ours == golden


def test_the_cheapest_is_advised_with_a_command_that_the_stack_takes(report: Run) -> None:
    """Each target's command is read as `cdk deploy` reads it, and deploys that target."""
    found = report(*SHORT, "--requests", "100M")
    configs = {
        target["target"]: read_config(dict(re.findall(r"-c (\w+)=(\S+)", target["command"])))
        for target in found["targets"]
    }
    modes = {name: config.mode for name, config in configs.items()}
    on_lambda = {"lambda": "lambda", "lambda_kept_warm": "lambda"}
    assert modes == {**on_lambda, "serverless": "sagemaker", "realtime": "sagemaker"}
    assert configs["lambda"].lambda_memory_mb == 1769
    assert configs["lambda_kept_warm"].lambda_provisioned_concurrency == 3
    for name in ("serverless", "realtime"):
        assert configs[name].sagemaker_type == name


def test_the_other_architecture_is_priced_and_not_advised(report: Run) -> None:
    """Its price assumes that a request takes as long there. The goldens are of x86_64."""
    asked = (*BY_HAND, "--requests", "2M", "--data-kb", "50", "--architecture", "arm64")
    found = report(*asked)
    arm, x86 = (
        next(each for each in found[kind] if each["target"] == "lambda")
        for kind in ("targets", "not_measured")
    )
    # 3,008 MB are 2.9375 GB; times 0.674 s is 1.979875 GB-s, $26.3985 a million, and $0.20.
    assert arm["usd_per_million_requests"] == pytest.approx(26.60, abs=0.005)
    assert x86["usd_per_million_requests"] == pytest.approx(33.20, abs=0.005)
    for target, name in ((arm, "arm64"), (x86, "x86_64")):
        keys = dict(re.findall(r"-c (\w+)=(\S+)", target["command"]))
        assert read_config(keys).architecture == name
    assert arm["name"] in found["advice"]
    assert arm["command"] == found["command"]


def test_an_instance_for_arm_is_compared_by_the_rate_that_is_given(
    report: Run, tmp_path: Path
) -> None:
    """Without a rate, its vCPUs are assumed as fast as the measured ones, and it is marked."""
    content = json.loads(prices.SHIPPED.read_text())
    content["regions"]["us-east-1"]["instances"]["usd_per_hour"]["ml.c7g.large"] = 0.01
    file = tmp_path / "prices.json"
    file.write_text(json.dumps(content))
    asked = (*SHORT, "--requests", "100M", "--prices", str(file))
    given = report(*asked, "--instance", "ml.c7g.large=140")
    assert given["targets"][0]["name"] == "SageMaker ml.c7g.large"
    keys = dict(re.findall(r"-c (\w+)=(\S+)", given["command"]))
    assert read_config(keys).instance_type == "ml.c7g.large"
    for found in (report(*asked, "--instance", "ml.c7g.large"), report(*asked)):
        assert "ml.c7g.large" not in found["advice"]
        assert "SageMaker ml.c7g.large" in [each["name"] for each in found["not_measured"]]


def test_an_image_for_arm_is_priced_as_one(report: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    timing = measure.Timing([10.0, 12.0], 200.0, 400.0)
    times = {1769: timing}, "an image for Arm"
    monkeypatch.setattr(measure, "_time_containers", lambda *_: times)
    monkeypatch.setattr(local_servers, "architecture_of", lambda image: "arm64")
    monkeypatch.setattr(local_servers, "machine", lambda: "x86_64")
    found = report("--measure", "--docker", "--region", "us-east-1")
    assert found["architecture"] == "arm64"
    assert found["targets"][0]["name"] == "Lambda arm64, 1,769 MB"
    assert any("emulated here" in note for note in found["notes"])


def test_defaults_are_those_of_the_stack() -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    options = parser.parse_args(["--stack"])
    assert Config.stack_name == options.stack
    defaults = {
        name: read_config({"mode": "both", "architecture": name}).instance_type
        for name in workload.DEFAULT_INSTANCES
    }
    assert defaults == workload.DEFAULT_INSTANCES
    assert Config.serverless_memory_mb == options.serverless_mb
    assert Config.serverless_max_concurrency == targets.DEFAULT_SERVERLESS
    assert Config.lambda_timeout_seconds == targets.DEFAULT_LAMBDA_SECONDS


def test_traffic_beyond_the_limits_of_endpoints(report: Run) -> None:
    found = report("--duration-ms", "2000", "--region", "us-east-1", "--requests", "1B")
    runs = {t["target"]: (t["usd_per_month"], t["runs"]) for t in found["targets"]}
    assert runs["serverless"] == (None, "needs 1,088 at once; the most is 200")
    assert runs["realtime"][0] is None
    assert re.fullmatch("needs [0-9,]+ instances; the most is 100", runs["realtime"][1])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--duration-ms", "5", "--profile", "0.04," * 23 + "0.08"), "0.04 is not a whole number"),
        (("--duration-ms", "5", "--days", "3"), "--days needs --stack"),
        (("--duration-ms", "5", "--profile", "1,2,3"), "has 3 numbers; it must have 24"),
        (("--duration-ms", "5", "--profile", "0," * 23 + "0"), "and not only zeros"),
        (("--duration-ms", "5", "--region", "the moon"), "cost --refresh --region 'the moon'`"),
        (("--duration-ms", "5", "--profile", "10.5," * 166 + "x"), "x is not a number of 0 or"),
        (("--duration-ms", "5", "--plot", "cost.gif"), "the name must end with .svg or .png"),
    ],
)
def test_a_mistake_is_one_line(cost: Run, arguments: Sequence[str], said: str) -> None:
    done = cost(*arguments)
    assert (done.status, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert line.startswith("error: ")
    assert said in line


def price_file(**groups: object) -> str:
    """Return a price file of us-east-1."""
    return json.dumps({"currency": "USD", "regions": {"us-east-1": groups}})


DATED = {"date": "2026-01-01", "source": "me"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"currency": "EUR", "regions": {}}', "it holds no prices in USD"),
        (price_file(data={"usd_per_gb": 1}), "a date"),
        (price_file(data={**DATED, "usd_per_gb": "free"}), "and prices (usd_per_gb)"),
    ],
)
def test_a_broken_price_file(cost: Run, tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "mine.json"
    file.write_text(content)
    done = cost(*SHORT, "--prices", str(file))
    assert (done.status, said in done.err, done.err.count("\n")) == (2, True, 1)


def profile(heading: str, row: str) -> str:
    """Return a CSV file with 3,600 requests in each hour from 8 to 20, formatted by `row`."""
    counts = [3600 if 8 <= hour < 20 else 0 for hour in range(24)]
    return heading + "\n".join(row.format(hour=hour, n=count) for hour, count in enumerate(counts))


@pytest.mark.parametrize(
    "content",
    [
        profile("\ufeffhour,requests_2026\n", "{hour:02}:00,{n}"),
        profile("Stunde;Anfragen\n", "{hour};{n}"),
        profile("", "{n}"),
    ],
)
def test_a_csv_of_requests_by_hour_is_traffic_by_itself(
    report: Run, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "hours, a day.csv"
    file.write_text(content)
    found = report(*SHORT, "--profile", str(file))
    assert found["requests_per_second"] == pytest.approx(0.5)
    assert found["peak_requests_per_second"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (profile("Stunde;Anfragen\n", "{hour};{n},5"), "0,5 is not a number"),
        (profile("hour,requests\n", "{hour},1.250"), "1.25 is not a whole number of requests"),
        (profile("requests\n", "{n},5"), "name all columns in a heading, such as hour,requests"),
        (profile("", "{n},5"), "write decimal points, no decimal commas"),
    ],
)
def test_a_csv_with_commas_or_points_of_two_meanings_is_refused(
    cost: Run, tmp_path: Path, content: str, said: str
) -> None:
    """A user's report: the fraction was read as the count, 240 times too low, for $0.00."""
    file = tmp_path / "hours.csv"
    file.write_text(content)
    done = cost(*SHORT, "--profile", str(file))
    assert (done.status, done.out, said in done.err) == (2, "", True), done.err


def test_shares_with_three_decimals_are_a_shape(cost: Run) -> None:
    shares = ",".join(["4.167"] * 24)
    done = cost("--duration-ms", "40", "--requests", "1M", "--profile", shares, "--json")
    assert json.loads(done.out)["requests_per_second"] == pytest.approx(1e6 / 730 / 3600)


@pytest.mark.parametrize(
    ("duration_ms", "kinds", "said", "keys"),
    [
        ("40000", {"lambda", "serverless", "realtime"}, "", "lambda_timeout_seconds=120"),
        ("80000", {"lambda"}, "80 s there; the limit is 60 s", "lambda_timeout_seconds=240"),
        ("700000", {"lambda"}, "sagemaker_type=async allows more", "lambda_timeout_seconds=900"),
        ("950000", set(), "Lambda, 1,769 MB is left out: a request would take 950 s", None),
    ],
)
def test_what_cannot_run_is_left_out(
    report: Run, duration_ms: str, kinds: set[str], said: str, keys: str | None
) -> None:
    """A function stops after 900 s, by default after 30 s, and an endpoint's call after 60 s."""
    found = report("--duration-ms", duration_ms, "--region", "us-east-1", "--requests", "1k")
    assert {target["target"].removesuffix("_kept_warm") for target in found["targets"]} == kinds
    assert said in " ".join(found["missing"])
    assert (found["command"] or "").endswith(keys or "")
    assert (found["command"] is None) is (keys is None)


def test_brief_advice_says_what_has_no_price(cost: Run) -> None:
    """A user's report: Lambda was called the cheapest where nothing else had a price."""
    for traffic in ((), ("--requests", "1M")):
        done = cost("--duration-ms", "40", "--region", "ap-southeast-2", *traffic, "--brief")
        assert "no price for SageMaker serverless in ap-southeast-2" in done.out
        assert "no price for ml.m5.large in ap-southeast-2" in done.out
        assert "Only Lambda could be compared." in done.out
        assert "cheapest" not in done.out


@pytest.mark.parametrize(("p95_ms", "chosen"), [(None, 1769), (65.0, 1769), (25.0, 3538)])
def test_the_cheapest_memory_that_is_fast_enough(p95_ms: float | None, chosen: int) -> None:
    """1,769 MB cost as much as 885, and 3,538 a third more."""
    sizes = [
        MemorySize(885, 80.0, 78.0, 90.0),
        MemorySize(1769, 40.5, 39.0, 45.0),
        MemorySize(3538, 27.0, 26.0, 24.0),
    ]
    assert choose(sizes, p95_ms).memory_mb == chosen
    with pytest.raises(CostError, match=r"no memory size has a p95 of 5 ms here: the fastest"):
        choose(sizes, 5.0)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "REQUESTS", 20)


def test_the_model_of_this_checkout_is_measured(report: Run, quick: None) -> None:
    found = report("--measure", "--region", "us-east-1", "--requests", "1M")
    request = found["request"]
    sizes = {size["memory_mb"]: size for size in found["sizes"]}
    assert request["lambda_memory_mb"] in sizes
    assert 0 < request["vcpu_ms"] < request["cold_ms"]
    assert sizes[1024]["median_ms"] > sizes[1769]["median_ms"]
    photos = list((measure.local_servers.ROOT / "container/photos").iterdir())
    assert 1000 < request["data_bytes"] < sum(photo.stat().st_size for photo in photos)
    assert "a process with one thread on a whole CPU" in found["notes"][0]
    assert found["command"]


def test_a_picture_that_the_model_refuses(cost: Run, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff no picture")
    done = cost("--measure", "--image", str(broken), "--region", "us-east-1")
    assert (done.status, done.out) == (2, "")
    assert "broken.jpg was answered 4" in done.err


@pytest.mark.docker
def test_the_image_is_measured_at_several_sizes(report: Run, quick: None, image: str) -> None:
    found = report("--measure", "--docker", image, "--region", "us-east-1")
    assert [size["memory_mb"] for size in found["sizes"]][:2] == [1024, 1769]
    assert found["architecture"] == "x86_64"
    assert image in found["notes"][0]


def test_the_plot_shows_targets_break_evens_and_traffic(report: Run, tmp_path: Path) -> None:
    file = tmp_path / "cost.svg"
    found = report(*BY_HAND, "--requests", "10M", "--data-kb", "0", "--plot", str(file))
    drawn = file.read_text()
    for target in found["targets"]:
        assert f">{target['name']}<" in drawn
    assert ">today: 10 million (3.8/s)<" in drawn
    marks = drawn.count(">break-even ") + drawn.count(">limit ")
    assert marks == len(found["break_evens"][:MOST_MARKED])


def test_a_plot_without_matplotlib(
    cost: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = cost(*BY_HAND, "--plot", str(tmp_path / "cost.svg"), "--brief")
    assert (done.status, done.out) == (2, "")
    assert "--plot needs matplotlib: `pip install matplotlib`" in done.err


def test_nothing_here_changes_an_account() -> None:
    """The modules call only operations of AWS that read."""
    sources = "".join(path.read_text() for path in Path(command.__file__).parent.glob("*.py"))
    called = set(re.findall(r"client(?:\([^)]*\))?\.(\w+)\(", sources))
    paged = set(re.findall(r'get_paginator\("(\w+)"\)', sources))
    assert called | paged == {
        "get_metric_data",
        "get_paginator",
        "get_products",
    }

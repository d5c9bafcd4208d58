"""`python -m ops cost` as an operator runs it, without AWS."""

import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from infra.config import Config
from infra.context import read_config
from ops.cost import command, found, measured, targets
from ops.cost.found import FindingError, Size
from ops.cost.measured import Timing, choose
from ops.cost.plot import MOST_MARKED
from tests.ops.browser import dump_dom, screenshot

GOLDEN = Path(__file__).parent / "golden"
BY_HAND = ("--duration-ms", "674", "--memory-mb", "3008", "--region", "us-east-1")


@pytest.fixture
def cost(ops: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("COLUMNS", "120")
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/no/such/file")

    def run(*arguments: str) -> Any:
        return ops("cost", *arguments)

    return run


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("cost.txt", (*BY_HAND, "--requests", "10M", "--data-kb", "0", "--plot")),
        ("cost_traffic.txt", (*BY_HAND, "--data-kb", "50", "--cold-ms", "2000")),
        (
            "cost_profile.txt",
            (
                *("--duration-ms", "40", "--region", "us-east-1", "--data-kb", "1"),
                *("--requests", "900M", "--profile", ",".join(["1"] * 18 + ["6"] * 6)),
                *("--instance", "ml.m5.large=120", "--instance", "ml.t2.medium=20"),
                *("--least", "2", "--provisioned", "10", "--free-tier"),
            ),
        ),
        ("cost_region.txt", ("--duration-ms", "40", "--region", "eu-west-1", "--requests", "1e6")),
    ],
)
def test_golden(cost: Callable[..., Any], name: str, arguments: Sequence[str]) -> None:
    done = cost(*arguments)
    assert (done.status, done.err) == (0, "")
    golden = GOLDEN / name
    assert lines(done.out) == lines(golden.read_text())


def test_golden_json(cost: Callable[..., Any]) -> None:
    done = cost(*BY_HAND, "--requests", "10M", "--data-kb", "50", "--json")
    assert done.status == 0, done.err
    ours, golden = json.loads(done.out), json.loads((GOLDEN / "cost.json").read_text())
    assert _rounded(ours) == _rounded(golden)


def _rounded(value: Any) -> Any:
    """To nine digits, so that another machine's last one does not count."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def test_the_cheapest_is_advised_with_a_command_that_the_stack_takes(
    cost: Callable[..., Any],
) -> None:
    """Each target's command is read as `cdk deploy` reads it, and deploys that target."""
    done = cost("--duration-ms", "40", "--region", "us-east-1", "--requests", "100M", "--json")
    report = json.loads(done.out)
    configs = {}
    for target in report["targets"]:
        given = dict(re.findall(r"-c (\w+)=(\S+)", target["command"]))
        configs[target["target"]] = read_config(given)
    assert {name: config.mode for name, config in configs.items()} == {
        "lambda": "lambda",
        "lambda_kept_warm": "lambda",
        "serverless": "sagemaker",
        "realtime": "sagemaker",
    }
    assert configs["lambda"].lambda_memory_mb == 1769
    assert configs["lambda_kept_warm"].lambda_provisioned_concurrency == 3
    assert configs["serverless"].sagemaker_type == "serverless"
    assert configs["realtime"].sagemaker_type == "realtime"
    costs = [target["usd_per_month"] for target in report["targets"]]
    assert costs == sorted(costs)
    best = next(target for target in report["targets"] if target["cheapest"])
    assert best["usd_per_month"] == min(costs)
    assert report["command"] == best["command"]
    assert best["name"] in report["advice"]


def test_defaults_are_those_of_the_stack() -> None:
    assert Config.instance_type == found.DEFAULT_INSTANCE
    assert Config.serverless_memory_mb == command.SERVERLESS_MB
    assert Config.serverless_max_concurrency == targets.DEFAULT_SERVERLESS


def test_an_account_that_asks_too_much_of_an_endpoint(cost: Callable[..., Any]) -> None:
    done = cost("--duration-ms", "2000", "--region", "us-east-1", "--requests", "1B", "--json")
    runs = {t["target"]: (t["usd_per_month"], t["runs"]) for t in json.loads(done.out)["targets"]}
    assert runs["serverless"] == (None, "needs 1,088 at once; the most is 200")
    assert runs["realtime"][0] is None
    assert re.fullmatch("needs [0-9,]+ instances; the most is 100", runs["realtime"][1])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "say what a request takes, in one way: --duration-ms MS, --measure (the model here)"),
        (("--duration-ms", "5", "--measure"), "say what a request takes, in one way"),
        (("--duration-ms", "5", "--requests", "many"), "--requests many: it must be a number"),
        (("--duration-ms", "5", "--requests", "1e99"), "--requests 1e99: it must be a number"),
        (("--duration-ms", "5", "--profile", "1,2,3"), "--profile: 3 numbers, and it must be 24"),
        (("--duration-ms", "5", "--profile", "no.csv"), "--profile no.csv: there is no such file"),
        (("--duration-ms", "5", "--profile", "1," * 23 + "x"), "'x' is no number of requests"),
        (("--duration-ms", "5", "--profile", "0," * 23 + "0"), "--profile: every hour is 0"),
        (("--duration-ms", "5", "--region", "mars-1"), "no prices for mars-1 in prices.json"),
        (("--duration-ms", "5", "--prices", "no.json"), "no.json: No such file or directory"),
        (("--duration-ms", "5", "--plot", "cost.gif"), "the name must end with .svg or .png"),
        (("--duration-ms", "5", "--plot", "/no/such/cost.svg"), "No such file or directory"),
        (("--duration-ms", "5", "--docker"), "--docker goes with --measure"),
        (("--measure", "--image", "no.jpg"), "no.jpg: No such file or directory"),
    ],
)
def test_a_mistake_is_one_line(
    cost: Callable[..., Any], arguments: Sequence[str], said: str
) -> None:
    done = cost(*arguments)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--duration-ms", "x", "x is not a number"),
        ("--duration-ms", "-1", "-1 is not a number above 0"),
        ("--memory-mb", "64", "64 is not from 128 to 10240"),
        ("--cold-share", "2", "2 is not from 0 to 1"),
        ("--instance", "m5.large", "m5.large is no instance type such as ml.m5.large"),
        ("--least", "0", "0 is not a whole number of 1 or more"),
    ],
)
def test_an_option_says_what_it_takes(
    cost: Callable[..., Any],
    option: str,
    value: str,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        cost(f"{option}={value}")
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}", "is no file of prices"),
        ('{"currency": "EUR", "regions": {}}', "it holds no prices in USD"),
        ('{"currency": "USD", "regions": {"us-east-1": {"data": {"usd_per_gb": 1}}}}', "a date"),
        (
            '{"currency": "USD", "regions": {"us-east-1": {"data": '
            '{"date": "2026-01-01", "source": "me", "usd_per_gb": "free"}}}}',
            "usd_per_gb is 'free', and not a price",
        ),
    ],
)
def test_a_price_file_that_is_none(
    cost: Callable[..., Any], tmp_path: Path, content: str, said: str
) -> None:
    file = tmp_path / "mine.json"
    file.write_text(content)
    done = cost("--duration-ms", "5", "--region", "us-east-1", "--prices", str(file))
    assert done.status == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_ones_own_prices(cost: Callable[..., Any], tmp_path: Path) -> None:
    """A tenth of the price of an instance moves the break-even to a tenth."""
    regions = json.loads((Path(command.prices.SHIPPED)).read_text())["regions"]
    points = []
    for factor in (1, 0.1):
        hours = {"ml.m5.large": 0.115 * factor}
        regions["us-east-1"]["instances"]["usd_per_hour"] = hours
        file = tmp_path / "mine.json"
        file.write_text(json.dumps({"currency": "USD", "regions": regions}))
        wanted = ("--instance", "ml.m5.large=1000", "--prices", str(file), "--json")
        done = cost(*BY_HAND, "--provisioned", "100", *wanted)
        points.append(json.loads(done.out)["break_evens"][0]["requests_per_month"])
    assert points[1] == pytest.approx(points[0] / 10, rel=1e-4)


def test_a_csv_of_requests_by_hour_is_traffic_by_itself(
    cost: Callable[..., Any], tmp_path: Path
) -> None:
    file = tmp_path / "hours.csv"
    rows = [f"2026-11-02T{hour:02},{3600 if 8 <= hour < 20 else 0}" for hour in range(24)]
    file.write_text("\n".join(["hour,requests", *rows]))
    done = cost("--duration-ms", "40", "--region", "us-east-1", "--profile", str(file), "--json")
    report = json.loads(done.out)
    assert report["requests_per_second"] == pytest.approx(0.5)
    assert report["peak_requests_per_second"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("p95_ms", "chosen"),
    [(None, 1769), (65.0, 1769), (25.0, 3538)],
)
def test_the_cheapest_memory_that_is_fast_enough(p95_ms: float | None, chosen: int) -> None:
    """1,769 MB cost as much as 885, and 3,538 a third more."""
    sizes = [
        Size(885, 80.0, 78.0, 90.0),
        Size(1769, 40.5, 39.0, 45.0),
        Size(3538, 27.0, 26.0, 24.0),
    ]
    assert choose(sizes, p95_ms).memory_mb == chosen


def test_a_target_that_no_memory_meets() -> None:
    with pytest.raises(FindingError, match=r"no memory size has a p95 of 5 ms here: the fastest"):
        choose([Size(885, 80.0, 78.0, 90.0), Size(1769, 40.5, 39.0, 45.0)], 5.0)


def test_a_smaller_share_of_the_cpu_takes_longer() -> None:
    timing = Timing([10.2] * 99 + [30.0], 900.0, 300.0)
    whole, half = timing.size(1769), timing.size(885, share=0.5)
    assert (whole.median_ms, half.median_ms) == (10.2, 20.4)
    assert whole.billed_ms == pytest.approx((99 * 11 + 30) / 100)
    assert half.billed_ms == pytest.approx((99 * 21 + 60) / 100)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "REQUESTS", 20)


def test_the_model_of_this_checkout_is_measured(cost: Callable[..., Any], quick: None) -> None:
    done = cost("--measure", "--region", "us-east-1", "--requests", "1M", "--json")
    assert done.status == 0, done.err
    report = json.loads(done.out)
    request = report["request"]
    sizes = {size["memory_mb"]: size for size in report["sizes"]}
    assert request["lambda_memory_mb"] in sizes
    assert 0 < request["vcpu_ms"] < request["cold_ms"]
    assert sizes[1024]["median_ms"] > sizes[1769]["median_ms"]
    photos = list((measured.faces.ROOT / "container/photos").iterdir())
    assert 1000 < request["data_bytes"] < sum(photo.stat().st_size for photo in photos)
    assert "a process with one thread on a whole CPU" in report["notes"][0]
    assert report["command"]


def test_a_picture_of_ones_own_is_measured_in_a_line(cost: Callable[..., Any], quick: None) -> None:
    photo = str(measured.faces.ROOT / "container/photos/cat.jpg")
    done = cost("--measure", "--brief", "--image", photo, "--region", "us-east-1")
    assert done.status == 0, done.err
    said = " ".join(done.out.split())
    assert "SageMaker takes $0.7" in said
    assert "(list prices of us-east-1, 2026-09-27)" in said


def test_a_picture_that_the_model_refuses(cost: Callable[..., Any], tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff no picture")
    done = cost("--measure", "--image", str(broken), "--region", "us-east-1")
    assert (done.status, done.out) == (2, "")
    assert "broken.jpg was answered 4" in done.err


@pytest.mark.docker
def test_the_image_is_measured_at_several_sizes(
    cost: Callable[..., Any], quick: None, image: str
) -> None:
    done = cost("--measure", "--docker", image, "--region", "us-east-1", "--json")
    assert done.status == 0, done.err
    report = json.loads(done.out)
    assert [size["memory_mb"] for size in report["sizes"]][:2] == [1024, 1769]
    assert image in report["notes"][0]


def test_the_plot_in_a_browser(cost: Callable[..., Any], tmp_path: Path) -> None:
    """Curves of the key's colours rise from left to right; break-evens are dashed lines."""
    file, png = tmp_path / "cost.svg", tmp_path / "seen.png"
    done = cost(*BY_HAND, "--requests", "10M", "--data-kb", "0", "--plot", str(file), "--json")
    assert done.status == 0, done.err
    report = json.loads(done.out)
    screenshot(file, png, 1000, 760)
    seen = cv2.imread(str(png))
    assert seen is not None
    height, width = seen.shape[:2]
    assert (width, height) == (1000, 760)
    # Okabe and Ito's blue is Lambda by the call: it starts at the bottom left and ends at the top.
    blue = np.argwhere(np.all(seen == (0xB2, 0x72, 0x00), axis=2))
    curve = blue[blue[:, 0] < 470]
    left, right = curve[curve[:, 1].argmin()], curve[curve[:, 1].argmax()]
    assert right[1] - left[1] > 700
    assert left[0] - right[0] > 250
    shown = ElementTree.fromstring(file.read_text())  # noqa: S314 - our own
    texts = [text.text for text in shown.iter("{http://www.w3.org/2000/svg}text")]
    for target in report["targets"]:
        assert target["name"] in texts
    assert "today: 10 million (3.8/s)" in texts
    dashed = [path for path in shown.iter() if path.get("class") == "break-even"]
    assert len(dashed) == len(report["break_evens"][:MOST_MARKED])
    dom = dump_dom(file)
    assert "requests a month" in dom
    assert "parsererror" not in dom


def test_the_plot_as_png(cost: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "cost.png"
    assert cost(*BY_HAND, "--plot", str(file), "--brief").status == 0
    drawn = cv2.imread(str(file))
    assert drawn is not None
    assert drawn.shape[:2] == (540, 900)


def test_a_png_without_matplotlib(
    cost: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = cost(*BY_HAND, "--plot", str(tmp_path / "cost.png"), "--brief")
    assert done.status == 2
    assert "a PNG needs matplotlib; `pip install matplotlib`, or name an .svg" in done.err


def test_help_has_examples(cost: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cost("--help")
    assert ended.value.code == 0
    assert "python -m ops cost --measure --docker --p95-ms 80" in capsys.readouterr().out


def test_nothing_here_changes_an_account() -> None:
    """Of AWS's operations only those that read are called."""
    sources = "".join(path.read_text() for path in Path(command.__file__).parent.glob("*.py"))
    called = set(re.findall(r"client(?:\([^)]*\))?\.(\w+)\(", sources))
    paged = set(re.findall(r'get_paginator\("(\w+)"\)', sources))
    assert called | paged == {
        "describe_endpoint",
        "describe_endpoint_config",
        "get_function_configuration",
        "get_metric_data",
        "get_paginator",
        "get_products",
        "get_provisioned_concurrency_config",
    }

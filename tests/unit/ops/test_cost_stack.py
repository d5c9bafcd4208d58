"""Test what `python -m ops cost --stack` and `--refresh` read from AWS."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.sagemaker_target.target import VARIANT
from integration.ops.operator_tools import ENDPOINT_NAME, FUNCTION_NAME, Measured
from ops.cost import observe
from ops.cost.prices import FIGURES

Run = Callable[..., Any]
REGION = "eu-west-1"  # a region whose instances have a price
ALIAS_ARN = f"arn:aws:lambda:{REGION}:123456789012:function:{FUNCTION_NAME}:live"


@pytest.fixture
def stack(account: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return an account in REGION."""
    monkeypatch.setenv("AWS_REGION", REGION)
    return account


def deploy(stack: Any, *outputs: str, **keys: str) -> None:
    every = {"FunctionName": ALIAS_ARN, "EndpointName": ENDPOINT_NAME, "ImageUri": "an image"}
    found = {name: every[name] for name in outputs}
    stack.deploy({**found, "ContextKeys": json.dumps({"mode": "both", **keys})}, region=REGION)


def record(stack: Any, hourly: Callable[[datetime], Measured], hours: int = 3) -> None:
    """Record what was measured in each of the last whole hours."""
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    past = [end - timedelta(hours=back) for back in range(1, hours + 1)]
    stack.record(REGION, ((hour + timedelta(minutes=1), hourly(hour)) for hour in past))


def calls(number: float) -> Measured:
    return {"Invocations": [number], "Duration": [673.5 * number]}


ON_ENDPOINT_CALLS = {"Endpoint Invocations": [36.0], "ModelLatency": [500_000.0]}


@pytest.fixture
def cost(stack: Any, ops: Run) -> Run:
    def run(*arguments: str) -> Any:
        done = ops("cost", "--stack", stack.stack_name, "--json", *arguments)
        return json.loads(done.out) if done.status == 0 else done

    return run


def test_what_a_function_did_is_what_is_priced(stack: Any, cost: Run) -> None:
    deploy(stack, "FunctionName", lambda_memory_mb="3008")
    record(stack, lambda _: {**calls(3600.0), "ColdStarts": [1500.0] * 2}, hours=200)
    assert cost("--requests", "5M")["requests_per_month"] == 5e6
    found = cost()
    assert found["requests_per_second"] == pytest.approx(1.0)
    assert found["peak_requests_per_second"] == pytest.approx(1.0)
    request = found["request"]
    assert (request["lambda_memory_mb"], request["lambda_ms"]) == (3008, pytest.approx(674.0))
    assert request["cold_share"] == pytest.approx(2 / 3600)
    assert request["cold_ms"] == pytest.approx(1500)
    assert "Cold starts: 0.06% of Lambda's calls." in found["notes"]
    # 2,628,000 requests of 674 ms and 2 / 3600 x 1.5 s with 2.9375 GB.
    by_call = next(t for t in found["targets"] if t["target"] == "lambda")
    expected = 2.628 * ((0.674 + 2 / 3600 * 1.5) * 2.9375 * 16.6667 + 0.20)
    assert by_call["usd_per_month"] == pytest.approx(expected)
    assert found["price_dates"]["lambda"] == "2026-11-22"


def test_a_stack_on_arm_is_compared_with_what_it_is(stack: Any, cost: Run) -> None:
    deploy(stack, "FunctionName", architecture="arm64")
    record(stack, lambda _: calls(3600.0))
    found = cost()
    assert found["architecture"] == "arm64"
    missing = "\n".join(found["missing"])
    assert "no price for Lambda arm64, 1,769 MB in " in missing
    assert "no price for ml.c7g.large in " in missing


@pytest.mark.parametrize(
    ("outputs", "hourly"),
    [
        (["EndpointName"], {"Endpoint Invocations": [3608.0], "Examined": [8.0]}),
        (
            ["FunctionName", "EndpointName"],
            {
                **calls(3600.0),
                "Endpoint Invocations": [3600.0],
                "Forwarded": [45.0] * 900,
                "Spilled": [2700.0],
            },
        ),
    ],
    ids=["the examiner's are none", "a call that spills is one"],
)
def test_calls_are_counted_once(
    stack: Any, cost: Run, outputs: list[str], hourly: Measured
) -> None:
    """They count from the stack's first call: there were none before these three hours."""
    deploy(stack, *outputs)
    record(stack, lambda _: {"ModelLatency": [500_000.0], **hourly})
    assert cost()["requests_per_second"] == pytest.approx(1.0)


def test_a_call_that_is_forwarded_is_one_call(stack: Any, cost: Run) -> None:
    """Both targets count it, and the function's time includes the wait for the endpoint."""
    deploy(stack, "FunctionName", "EndpointName")
    a_quarter = {"Endpoint Invocations": [900.0], "Forwarded": [510.0] * 900}
    record(stack, lambda _: {"Invocations": [3600.0], "Duration": [577.5 * 3600], **a_quarter})
    found = cost()
    assert found["requests_per_second"] == pytest.approx(1.0)
    # 3,600 of 577.5 ms on average, 900 of them of 510 ms: 2,700 of 600 ms.
    assert found["request"]["lambda_ms"] == pytest.approx(600.5)


def test_a_function_that_only_forwards_is_priced_with_its_model(stack: Any, cost: Run) -> None:
    """Its own calls are pings, so the endpoint's latency is used."""
    deploy(stack, "FunctionName", "EndpointName", instance_type="ml.m5.xlarge")
    by_url = {"Invocations": [910.0], "Duration": [47.0 * 910], "Forwarded": [45.0] * 900}
    on_endpoint = {"Endpoint Invocations": [900.0], "ModelLatency": [40_000.0]}
    record(stack, lambda _: {**by_url, **on_endpoint})
    found = cost()
    assert found["requests_per_second"] == pytest.approx(910 / 3600)
    assert found["request"]["lambda_memory_mb"] == 1769
    assert found["request"]["lambda_ms"] == pytest.approx(40.0)
    said = "Lambda: few or no calls, assumed as fast as the endpoint, 40.0 ms."
    assert said in found["notes"]
    assert "ml.m5.xlarge, where the stack is now" in found["advice"]


def test_the_profile_is_by_hour_of_the_week(stack: Any, cost: Run) -> None:
    deploy(stack, "FunctionName")
    by_day = [7200.0] * 5 + [720.0] * 2
    record(stack, lambda hour: calls(by_day[hour.weekday()]), hours=14 * 24)
    found = cost("--days", "14")
    assert found["peak_requests_per_second"] == pytest.approx(2.0)
    assert found["requests_per_second"] == pytest.approx((5 * 2.0 + 2 * 0.2) / 7)


def test_an_endpoint_that_costs_too_much(stack: Any, cost: Run) -> None:
    deploy(stack, "EndpointName", instance_type="ml.m5.xlarge")
    record(stack, lambda _: ON_ENDPOINT_CALLS)
    found = cost()
    assert "Endpoint: 500.0 ms of model latency a call." in found["notes"]
    said = "Lambda: few or no calls, assumed as fast as the endpoint, 500.0 ms."
    assert said in found["notes"]
    assert found["requests_per_second"] == pytest.approx(0.01)
    assert "the cheapest" in found["advice"]
    assert "less than SageMaker ml.m5.xlarge, where the stack is now." in found["advice"]
    command = "cdk deploy -c mode=lambda -c lambda_memory_mb=1769"
    assert found["command"] == f"{command} -c stack_name={stack.stack_name}"


def test_a_stack_on_the_cheapest_target(stack: Any, cost: Run) -> None:
    deploy(stack, "FunctionName", "EndpointName")
    record(stack, lambda _: calls(36.0))
    found = cost()
    assert found["advice"].endswith(", and the stack already uses it.")
    assert found["command"] is None


def test_a_serverless_endpoint(stack: Any, cost: Run) -> None:
    deploy(stack, "EndpointName", sagemaker_type="serverless", serverless_memory_mb="2048")
    record(stack, lambda _: ON_ENDPOINT_CALLS)
    found = cost()
    request = found["request"]
    assert (request["serverless_memory_mb"], request["serverless_ms"]) == (2048, 500.0)
    assert any("no price for SageMaker serverless in eu-west-1" in m for m in found["missing"])


def test_executions_that_are_kept_warm_are_counted(stack: Any, cost: Run) -> None:
    deploy(stack, "FunctionName", lambda_provisioned_concurrency="3")
    record(stack, lambda _: calls(3600.0))
    found = cost()
    kept = next(t for t in found["targets"] if t["target"] == "lambda_kept_warm")
    assert kept["runs"] == "3 kept warm"
    assert "kept warm" in found["advice"]


def test_an_error_is_one_line(stack: Any, cost: Run) -> None:
    def said(*parts: str) -> None:
        done = cost()
        (line,) = done.err.splitlines()
        assert (done.status, line.startswith("error: ")) == (2, True)
        assert [part for part in parts if part not in line] == [], line

    deploy(stack, "ImageUri")
    said("neither a function nor an endpoint")
    stack.client("cloudformation", REGION).delete_stack(StackName=stack.stack_name)
    deploy(stack, "FunctionName")
    said("stack Traffic had no calls in the last 14 days; --days looks further back, --measure")


def test_the_stack_and_the_tool_use_the_same_metrics() -> None:
    """With another variant or alias, the tool would see no traffic."""
    assert observe.VARIANT == VARIANT
    assert observe.ALIAS == "live"


def product(usd: str, *tiers: str, **attributes: str) -> str:
    """Return a product as the Price List API does: JSON in a string."""
    dimensions = {
        f"SKU.TERM.{n}": {"beginRange": str(n * 6_000_000_000), "pricePerUnit": {"USD": price}}
        for n, price in enumerate((usd, *tiers))
    }
    terms = {"OnDemand": {"SKU.TERM": {"priceDimensions": dimensions}}}
    return json.dumps({"product": {"attributes": attributes}, "terms": terms})


PRODUCTS = {
    "AWSLambda": [
        product("0.0000002000", group="AWS-Lambda-Requests"),
        product("0.0000002000", group="AWS-Lambda-Requests-ARM"),
        product("0.0000166667", "0.0000150000", "0.0000133334", group="AWS-Lambda-Duration"),
        product("0.0000133334", group="AWS-Lambda-Duration-ARM"),
        product("0.0000040118", group="AWS-Lambda-Provisioned-Concurrency-ARM"),
        product("0.0000093609", group="AWS-Lambda-Duration-Provisioned-ARM"),
        product("0.0000050147", group="AWS-Lambda-Provisioned-Concurrency"),
        product("0.0000117011", group="AWS-Lambda-Duration-Provisioned"),
        product("0.0000000367", group="AWS-Lambda-Storage-Duration"),
    ],
    "AmazonSageMaker": [
        product("0.1380", instanceName="ml.m5.large", component="Hosting"),
        product("0.1500", instanceName="ml.m5.large", component="Training"),
        product("0.0000480000", usagetype="EUC1-ServerlessInf:Mem-2GB"),
        product("0.0000110000", usagetype="EUC1-ServerlessInf:Mem-2GB-PC"),
        product("0.0160000000", usagetype="EUC1-Host:Data-Bytes-In"),
    ],
}


@pytest.mark.usefixtures("account")
def test_prices_are_read_from_aws(
    script: Any, ops: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def one_product_a_page(asked: Any) -> tuple[int, dict[str, str], bytes]:
        wanted = json.loads(asked.body)
        page = int(wanted.get("NextToken", 0))
        found = PRODUCTS[wanted["ServiceCode"]]
        more = {"NextToken": str(page + 1)} if page + 1 < len(found) else {}
        body = {"FormatVersion": "aws_v1", "PriceList": found[page : page + 1], **more}
        return 200, {}, json.dumps(body).encode()

    monkeypatch.setenv("AWS_ENDPOINT_URL_PRICING", script.url)
    script.replies["GetProducts"] = one_product_a_page
    file = tmp_path / "prices.json"
    other = {"lambda": {"date": "2020-01-01", "source": "by hand"}}
    file.write_text(json.dumps({"currency": "USD", "regions": {"us-east-1": other}}))
    done = ops("cost", "--refresh", "--region", "eu-central-1", "--prices", str(file))
    assert done.status == 0, done.err
    said = " ".join(done.out.split())
    assert "prices of eu-central-1 (lambda, lambda_arm64, serverless, data, instances)" in said
    regions = json.loads(file.read_text())["regions"]
    assert regions["us-east-1"] == other
    groups = regions["eu-central-1"]
    today = str(datetime.now(UTC).date())
    assert {group["date"] for group in groups.values()} == {today}
    source = {"date": today, "source": "AWS Price List API, AWSLambda, on demand"}
    x86, arm = (0.2, 16.6667, 5.0147, 11.7011), (0.2, 13.3334, 4.0118, 9.3609)
    assert groups["lambda"] == {**source, **dict(zip(FIGURES["lambda"], x86))}
    assert groups["lambda_arm64"] == {**source, **dict(zip(FIGURES["lambda"], arm))}
    assert groups["serverless"]["usd_per_million_gb_seconds"] == 24.0
    assert groups["data"]["usd_per_gb"] == 0.016
    assert groups["instances"]["usd_per_hour"] == {"ml.m5.large": 0.138}
    filters = json.loads(script.asked[0].body)["Filters"]
    assert filters == [{"Type": "TERM_MATCH", "Field": "regionCode", "Value": "eu-central-1"}]
    # The API is in us-east-1, whichever region's prices it returns.
    assert "/us-east-1/pricing/" in script.asked[0].headers["authorization"]

"""`python -m ops cost --stack` and `--refresh`: what it reads of AWS, and that it only reads."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.alarms import PERIOD
from infra.sagemaker_target import VARIANT
from ops.cost import stack_metrics, stack_setup

REGION = "eu-west-1"  # one whose instances have a price
FUNCTION = "Traffic-Lambda-1X2Y"
ALIAS_ARN = f"arn:aws:lambda:{REGION}:123456789012:function:{FUNCTION}:live"
CONFIGURATION = "/2015-03-31/functions/arn%3Aaws%3Alambda%3A{}%3A123456789012%3Afunction%3A{}{}"
ENDPOINT = "Traffic-1234abcd"


def lambda_path(suffix: str, what: str) -> str:
    return CONFIGURATION.format(REGION, FUNCTION, suffix) + what


@pytest.fixture
def stack(account: Any, script: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An account in REGION whose function and endpoint can be described."""
    monkeypatch.setenv("AWS_REGION", REGION)
    script.json(lambda_path("%3Alive", "/configuration"), {"MemorySize": 3008})
    none = {"x-amzn-ErrorType": "ProvisionedConcurrencyConfigNotFoundException"}
    path = f"/2019-09-30/functions/{lambda_path('', '').rpartition('/')[2]}"
    script.replies[f"{path}/provisioned-concurrency?Qualifier=live"] = (404, none, b"{}")
    return account


def deploy(stack: Any, *targets: str) -> None:
    outputs = {"lambda": {"FunctionName": ALIAS_ARN}, "sagemaker": {"EndpointName": ENDPOINT}}
    template = {
        "Resources": {"Any": {"Type": "AWS::SNS::Topic"}},
        "Outputs": {
            name: {"Value": value} for target in targets for name, value in outputs[target].items()
        },
    }
    cloudformation = stack.client("cloudformation", REGION)
    cloudformation.create_stack(StackName=stack.stack_name, TemplateBody=json.dumps(template))


def run_endpoint(stack: Any, variant: Mapping[str, Any]) -> None:
    sagemaker = stack.client("sagemaker", REGION)
    role = "arn:aws:iam::123456789012:role/execution"
    sagemaker.create_model(ModelName="model", ExecutionRoleArn=role, PrimaryContainer={})
    sagemaker.create_endpoint_config(
        EndpointConfigName="config",
        ProductionVariants=[{"VariantName": VARIANT, "ModelName": "model", **variant}],
    )
    sagemaker.create_endpoint(EndpointName=ENDPOINT, EndpointConfigName="config")


def record(  # noqa: PLR0917 - as AWS names a metric
    stack: Any,
    namespace: str,
    metric: str,
    dimensions: Mapping[str, str],
    hourly: Callable[[datetime], list[float]],
    hours: int,
) -> None:
    """Values in each of the last whole hours."""
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    pairs = [{"Name": name, "Value": value} for name, value in dimensions.items()]
    data = [
        {"MetricName": metric, "Dimensions": pairs, "Timestamp": hour, "Value": value}
        for back in range(hours)
        for hour in [end - timedelta(hours=back + 1) + timedelta(minutes=1)]
        for value in hourly(hour)
    ]
    cloudwatch = stack.client("cloudwatch", REGION)
    for start in range(0, len(data), 500):
        cloudwatch.put_metric_data(Namespace=namespace, MetricData=data[start : start + 500])


def call_function(stack: Any, hourly: Callable[[datetime], list[float]], hours: int) -> None:
    alias = {"FunctionName": FUNCTION, "Resource": f"{FUNCTION}:live"}
    record(stack, "AWS/Lambda", "Invocations", alias, hourly, hours)
    record(stack, "AWS/Lambda", "Duration", alias, lambda _: [673.5], hours)


def call_endpoint(stack: Any, calls: float, instances: int, hours: int) -> None:
    variant = {"EndpointName": ENDPOINT, "VariantName": VARIANT}
    record(stack, "AWS/SageMaker", "Invocations", variant, lambda _: [calls], hours)
    record(stack, "AWS/SageMaker", "ModelLatency", variant, lambda _: [500_000.0], hours)
    group = "/aws/sagemaker/Endpoints"
    reports = [50.0] * instances * 60
    record(stack, group, "CPUUtilization", variant, lambda _: reports, hours)


@pytest.fixture
def cost(stack: Any, ops: Callable[..., Any]) -> Callable[..., Any]:
    def run(*arguments: str) -> Any:
        done = ops("cost", "--stack", stack.stack_name, "--json", *arguments)
        return json.loads(done.out) if done.status == 0 else done

    return run


def test_what_a_function_did_is_what_is_priced(stack: Any, cost: Callable[..., Any]) -> None:
    deploy(stack, "lambda")
    call_function(stack, lambda _: [3600.0], hours=200)
    record(stack, stack.stack_name, "ColdStarts", {}, lambda _: [1500.0] * 2, 200)
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
    billed = 0.674 + 2 / 3600 * 1.5
    expected = 2.628 * (billed * 2.9375 * 16.6667 + 0.20)
    assert by_call["usd_per_month"] == pytest.approx(expected)
    assert found["price_dates"]["lambda"] == "2026-11-22"


def test_the_hours_of_the_week_are_told_apart(stack: Any, cost: Callable[..., Any]) -> None:
    deploy(stack, "lambda")
    call_function(stack, lambda hour: [7200.0] if hour.weekday() < 5 else [720.0], hours=14 * 24)
    found = cost("--days", "14")
    assert found["peak_requests_per_second"] == pytest.approx(2.0)
    assert found["requests_per_second"] == pytest.approx((5 * 2.0 + 2 * 0.2) / 7)


def test_a_young_stack_is_judged_since_its_first_call(stack: Any, cost: Callable[..., Any]) -> None:
    deploy(stack, "lambda")
    call_function(stack, lambda _: [7200.0], hours=5)
    assert cost("--days", "14")["requests_per_second"] == pytest.approx(2.0)


def test_an_endpoint_that_is_paid_for_too_dearly(stack: Any, cost: Callable[..., Any]) -> None:
    deploy(stack, "sagemaker")
    run_endpoint(stack, {"InstanceType": "ml.m5.xlarge", "InitialInstanceCount": 1})
    call_endpoint(stack, calls=36.0, instances=2, hours=3)
    found = cost()
    assert "Endpoint: 500.0 ms of model latency a call." in found["notes"]
    assert "Instances: 2.00 x ml.m5.xlarge on average." in found["notes"]
    assert "Lambda has not run: taken for as fast as the endpoint, 500.0 ms." in found["notes"]
    assert found["requests_per_second"] == pytest.approx(0.01)
    assert "the cheapest" in found["advice"]
    assert "less than SageMaker ml.m5.xlarge, where the stack is now." in found["advice"]
    assert found["command"] == "cdk deploy -c mode=lambda -c lambda_memory_mb=1769"


def test_a_stack_that_is_in_the_right_place_is_told_so(
    stack: Any, cost: Callable[..., Any]
) -> None:
    deploy(stack, "lambda", "sagemaker")
    run_endpoint(stack, {"InstanceType": "ml.m5.xlarge", "InitialInstanceCount": 1})
    call_function(stack, lambda _: [36.0], hours=3)
    found = cost()
    assert found["advice"].endswith(", and the stack is there.")
    assert found["command"] is None


def test_a_serverless_endpoint(stack: Any, cost: Callable[..., Any]) -> None:
    deploy(stack, "sagemaker")
    serverless = {"MemorySizeInMB": 2048, "MaxConcurrency": 5}
    run_endpoint(stack, {"ServerlessConfig": serverless})
    call_endpoint(stack, calls=36.0, instances=0, hours=3)
    found = cost()
    request = found["request"]
    assert (request["serverless_memory_mb"], request["serverless_ms"]) == (2048, 500.0)
    assert any("no price for SageMaker serverless in eu-west-1" in m for m in found["missing"])


def test_traffic_by_hand_comes_before_that_of_the_stack(
    stack: Any, cost: Callable[..., Any]
) -> None:
    deploy(stack, "lambda")
    call_function(stack, lambda _: [3600.0], hours=3)
    assert cost("--requests", "5M")["requests_per_month"] == 5e6


def test_executions_that_are_kept_warm_are_counted(
    stack: Any, script: Any, cost: Callable[..., Any]
) -> None:
    deploy(stack, "lambda")
    call_function(stack, lambda _: [3600.0], hours=3)
    (path,) = (key for key in script.replies if "provisioned-concurrency" in key)
    script.json(path, {"RequestedProvisionedConcurrentExecutions": 3})
    found = cost()
    kept = next(t for t in found["targets"] if t["target"] == "lambda_kept_warm")
    assert kept["runs"] == "3 kept warm"
    assert "kept warm" in found["advice"]


def test_what_cannot_be_read_is_said_in_a_line(
    stack: Any, script: Any, cost: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = []
    done = cost()
    said.append((done.status, done.err.strip()))
    deploy(stack, "lambda")
    done = cost()
    said.append((done.status, done.err.strip()))
    script.deny(lambda_path("%3Alive", "/configuration"))
    done = cost()
    said.append((done.status, done.err.strip()))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    done = cost()
    said.append((done.status, done.err.strip()))
    assert said == [
        (
            2,
            "error: there is no stack Traffic in eu-west-1; `cdk deploy` makes it; --stack and "
            "--region name another",
        ),
        (
            2,
            "error: stack Traffic had no calls in the last 14 days; --days looks further back, "
            "--measure or --duration-ms do without it",
        ),
        (
            2,
            "error: these credentials may not lambda:GetFunctionConfiguration; ask for a policy "
            "that allows lambda:GetFunctionConfiguration",
        ),
        (
            2,
            "error: no AWS credentials were found; run `aws configure`, or set AWS_PROFILE",
        ),
    ]


def test_a_stack_without_targets(stack: Any, cost: Callable[..., Any]) -> None:
    template = {
        "Resources": {"Any": {"Type": "AWS::SNS::Topic"}},
        "Outputs": {"ImageUri": {"Value": "an image"}},
    }
    stack.client("cloudformation", REGION).create_stack(
        StackName=stack.stack_name, TemplateBody=json.dumps(template)
    )
    done = cost()
    assert (done.status, "neither a function nor an endpoint" in done.err) == (2, True)


def test_throttling_is_named(
    stack: Any, script: Any, cost: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(stack, "lambda")
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", script.url)
    body = json.dumps({"__type": "Throttling", "message": "Rate exceeded"}).encode()
    slow = {"x-amzn-ErrorType": "ThrottlingException"}
    script.replies["/service/GraniteServiceVersion20100801/operation/GetMetricData"] = (
        400,
        {**slow, "smithy-protocol": "rpc-v2-cbor"},
        body,
    )
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    done = cost()
    assert done.status == 2
    assert "cloudwatch:GetMetricData" in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_it_only_reads(stack: Any, script: Any, cost: Callable[..., Any]) -> None:
    deploy(stack, "lambda")
    call_function(stack, lambda _: [3600.0], hours=3)
    cost()
    assert {asked.method for asked in script.asked} == {"GET"}


def test_the_stack_and_the_tool_mean_the_same_metrics() -> None:
    """A variant or an alias of another name would read as no traffic."""
    assert stack_metrics.VARIANT == VARIANT
    assert stack_setup.ALIAS == "live"
    # An instance reports once in each of the stack's periods.
    assert PERIOD.to_minutes() == 1


def product(service: str, usd: str, tiers: tuple[str, ...] = (), **attributes: str) -> str:
    """As the Price List API gives one: JSON in a text."""
    prices = (usd, *tiers)
    dimensions = {
        f"SKU.TERM.{number}": {
            "unit": "unit",
            "beginRange": str(number * 6_000_000_000),
            "endRange": "Inf",
            "pricePerUnit": {"USD": price},
        }
        for number, price in enumerate(prices)
    }
    family = attributes.pop("productFamily", "Serverless")
    return json.dumps(
        {
            "product": {"productFamily": family, "sku": "SKU", "attributes": attributes},
            "serviceCode": service,
            "terms": {"OnDemand": {"SKU.TERM": {"priceDimensions": dimensions}}},
            "version": "20261101000000",
        }
    )


LAMBDA_PRODUCTS = [
    product("AWSLambda", "0.0000002000", group="AWS-Lambda-Requests", usagetype="EUC1-Request"),
    product("AWSLambda", "0.0000002000", group="AWS-Lambda-Requests-ARM"),
    product(
        "AWSLambda",
        "0.0000166667",
        ("0.0000150000", "0.0000133334"),
        group="AWS-Lambda-Duration",
        usagetype="EUC1-Lambda-GB-Second",
    ),
    product("AWSLambda", "0.0000133334", group="AWS-Lambda-Duration-ARM"),
    product("AWSLambda", "0.0000050147", group="AWS-Lambda-Provisioned-Concurrency"),
    product("AWSLambda", "0.0000117011", group="AWS-Lambda-Duration-Provisioned"),
    product("AWSLambda", "0.0000000367", group="AWS-Lambda-Storage-Duration"),
]
HOSTED = {"productFamily": "ML Instance", "component": "Hosting"}
SAGEMAKER_PRODUCTS = [
    product("AmazonSageMaker", "0.1380", instanceName="ml.m5.large", **HOSTED),
    product(
        "AmazonSageMaker",
        "0.1500",
        instanceName="ml.m5.large",
        component="Training",
        productFamily="ML Instance",
    ),
    product(
        "AmazonSageMaker",
        "0.0000480000",
        productFamily="ML Serverless",
        usagetype="EUC1-ServerlessInf:Mem-2GB",
    ),
    product(
        "AmazonSageMaker",
        "0.0000110000",
        productFamily="ML Serverless",
        usagetype="EUC1-ServerlessInf:Mem-2GB-PC",
    ),
    product(
        "AmazonSageMaker",
        "0.0160000000",
        group="Hosting:IN",
        operation="Invoke-Endpoint",
        usagetype="EUC1-Host:Data-Bytes-In",
    ),
]


@pytest.fixture
def price_list(account: Any, script: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The API, with a product a page."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_PRICING", script.url)
    products = {"AWSLambda": LAMBDA_PRODUCTS, "AmazonSageMaker": SAGEMAKER_PRODUCTS}

    def answer(asked: Any) -> tuple[int, dict[str, str], bytes]:
        wanted = json.loads(asked.body)
        page = int(wanted.get("NextToken", 0))
        found = products[wanted["ServiceCode"]]
        more = {"NextToken": str(page + 1)} if page + 1 < len(found) else {}
        body = {"FormatVersion": "aws_v1", "PriceList": found[page : page + 1], **more}
        return 200, {}, json.dumps(body).encode()

    script.replies["GetProducts"] = answer
    return script


def test_prices_are_read_from_aws(price_list: Any, ops: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    done = ops("cost", "--refresh", "--region", "eu-central-1", "--prices", str(file))
    assert done.status == 0, done.err
    said = " ".join(done.out.split())
    assert "prices of eu-central-1 (lambda, serverless, data, instances)" in said
    groups = json.loads(file.read_text())["regions"]["eu-central-1"]
    today = str(datetime.now(UTC).date())
    assert {group["date"] for group in groups.values()} == {today}
    assert groups["lambda"] == {
        "date": today,
        "source": "AWS Price List API, AWSLambda, on demand",
        "usd_per_million_requests": 0.2,
        "usd_per_million_gb_seconds": 16.6667,
        "kept_usd_per_million_gb_seconds": 5.0147,
        "kept_duration_usd_per_million_gb_seconds": 11.7011,
    }
    assert groups["serverless"]["usd_per_million_gb_seconds"] == 24.0
    assert groups["data"]["usd_per_gb"] == 0.016
    assert groups["instances"]["usd_per_hour"] == {"ml.m5.large": 0.138}
    filters = json.loads(price_list.asked[0].body)["Filters"]
    assert filters == [{"Type": "TERM_MATCH", "Field": "regionCode", "Value": "eu-central-1"}]
    # In us-east-1, where the API is, whatever the region that is asked about.
    assert "/us-east-1/pricing/" in price_list.asked[0].headers["authorization"]
    asked = ("--duration-ms", "40", "--requests", "1e6", "--region", "eu-central-1", "--json")
    estimate = json.loads(ops("cost", *asked, "--prices", str(file)).out)
    assert estimate["price_dates"]["instances"] == today
    assert not [line for line in estimate["missing"] if "no price" in line]


def test_a_refresh_leaves_the_other_regions_as_they_are(
    price_list: Any, ops: Callable[..., Any], tmp_path: Path
) -> None:
    file = tmp_path / "prices.json"
    other = {"lambda": {"date": "2020-01-01", "source": "by hand"}}
    file.write_text(json.dumps({"currency": "USD", "regions": {"us-east-1": other}}))
    assert ops("cost", "--refresh", "--region", "eu-central-1", "--prices", str(file)).status == 0
    regions = json.loads(file.read_text())["regions"]
    assert regions["us-east-1"] == other
    assert regions.keys() == {"us-east-1", "eu-central-1"}


def test_a_refresh_that_is_not_allowed(
    price_list: Any, ops: Callable[..., Any], tmp_path: Path
) -> None:
    price_list.deny("GetProducts")
    file = tmp_path / "prices.json"
    done = ops("cost", "--refresh", "--region", "eu-central-1", "--prices", str(file))
    assert (done.status, done.err.strip()) == (
        2,
        "error: these credentials may not pricing:GetProducts; ask for a policy that allows "
        "pricing:GetProducts",
    )
    assert not file.exists()

"""Load a region's dated list prices from a file that names each source, or from AWS.

The file holds up to five groups for each region, with a `date`, a `source` and figures: `lambda`
and `lambda_arm64` (first tier), `serverless` (SageMaker Serverless Inference), `data` (an
endpoint's data in and out) and `instances` (real-time hosting). It lacks groups without published
prices; an estimate then leaves them out and says so.
"""

import json
import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ops.aws import Aws, explained
from ops.cost import CostError
from ops.cost.workload import ARM

SHIPPED = Path(__file__).with_name("prices.json")
API_REGION = "us-east-1"  # the Price List API has few regions; each knows the prices of all
# The figures by a product's attribute `group`, which ends with -ARM on Arm.
_LAMBDA = {
    "AWS-Lambda-Requests": "usd_per_million_requests",
    "AWS-Lambda-Duration": "usd_per_million_gb_seconds",
    "AWS-Lambda-Provisioned-Concurrency": "kept_usd_per_million_gb_seconds",
    "AWS-Lambda-Duration-Provisioned": "kept_duration_usd_per_million_gb_seconds",
}
_SERVERLESS = re.compile("ServerlessInf:Mem-([0-9]+)GB$")  # provisioned concurrency ends with -PC
_DATA = re.compile("Host(ing)?:Data-Bytes-(In|Out)", re.IGNORECASE)
FIGURES: Mapping[str, Sequence[str]] = {
    "lambda": (*_LAMBDA.values(),),
    "lambda_arm64": (*_LAMBDA.values(),),
    "serverless": ("usd_per_million_gb_seconds",),
    "data": ("usd_per_gb",),
    "instances": ("usd_per_hour",),  # by instance type
}
Price = Mapping[str, Any]  # a group's figures


@dataclass(frozen=True)
class Prices:
    """Hold the groups of one region, in US dollars, as in the file."""

    region: str
    groups: Mapping[str, Price]

    def of_lambda(self, architecture: str) -> Price:
        """Return Lambda's figures for an architecture; empty if unknown."""
        return self.groups.get("lambda_arm64" if architecture == ARM else "lambda", {})

    @property
    def usd_per_hour(self) -> dict[str, float]:
        """Return the price of each instance type."""
        return dict(self.groups.get("instances", {}).get("usd_per_hour", {}))

    def lacks(self, what: str) -> str:
        """Return the message that the region has no such price."""
        return f"no price for {what} in {self.region}; {_refresh_of(self.region)} reads it"

    @property
    def dates(self) -> Mapping[str, str]:
        return {name: str(group["date"]) for name, group in self.groups.items()}

    @property
    def title(self) -> str:
        compared = {name: date for name, date in self.dates.items() if name != "lambda_arm64"}
        if len(dates := set(compared.values())) == 1:
            return f"list prices of {self.region}, {dates.pop()}"
        parts = ", ".join(f"{group} {date}" for group, date in compared.items())
        return f"list prices of {self.region}: {parts}"


def load(path: Path, region: str) -> Prices:
    """Return the region's prices. Raise OSError, and CostError if the file lacks them."""
    regions = read(path)
    if region not in regions:
        raise CostError(
            f"no prices for {region} in {path.name}, which has {', '.join(regions)}; "
            f"{_refresh_of(region)} reads them from AWS, or --prices names another file"
        )
    groups = {name: regions[region][name] for name in FIGURES if name in regions[region]}
    for name, group in groups.items():
        try:
            _, _, *figures = (group[key] for key in ("date", "source", *FIGURES[name]))
            if name == "instances":
                figures = [*figures[0].values()]
            is_good = all(0 <= figure < math.inf for figure in figures)
        except (KeyError, TypeError, AttributeError):
            is_good = False
        if not is_good:
            needs = f"needs a date, a source and prices ({', '.join(FIGURES[name])})"
            raise CostError(f"{path}: {region}, {name} {needs}; compare {SHIPPED}")
    return Prices(region, groups)


def read(path: Path) -> dict[str, dict[str, Any]]:
    """Return the file's regions. Raise OSError, and CostError if it is not a price file."""
    try:
        content = json.loads(path.read_text())
        regions: dict[str, dict[str, Any]] = content["regions"]
        if content["currency"] != "USD" or not all(isinstance(r, dict) for r in regions.values()):
            raise ValueError("it holds no prices in USD")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CostError(f"{path} is not a price file: {error}; compare {SHIPPED}") from None
    return regions


def _refresh_of(region: str) -> str:
    return f"`python -m ops cost --refresh --region {shlex.quote(region)}`"


def usd(amount: float) -> str:
    """Format US dollars, with cents below $10,000; a dash for an infinite amount."""
    if math.isinf(amount):
        return "-"
    return f"${amount:,.0f}" if amount >= 10_000 else f"${amount:,.2f}"


def read_from_aws(aws: Aws) -> dict[str, Any]:
    """Return the groups for which AWS publishes prices. Raise CannotAsk.

    https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_pricing_GetProducts.html
    """
    figures: dict[str, dict[str, Any]] = {name: {} for name in FIGURES}
    per_hour: dict[str, float] = {}
    with explained("pricing:GetProducts"):
        client = aws.at(API_REGION).client("pricing")
        for attributes, price in _products(client, "AWSLambda", aws.region):
            group = attributes.get("group", "")
            if figure := _LAMBDA.get(group.removesuffix("-ARM")):
                name = "lambda_arm64" if group.endswith("-ARM") else "lambda"
                figures[name][figure] = round(price * 1e6, 6)
        for attributes, price in _products(client, "AmazonSageMaker", aws.region):
            usage = attributes.get("usagetype", "")
            if attributes.get("component") == "Hosting" and attributes.get("instanceName"):
                per_hour[attributes["instanceName"]] = price
            elif size := _SERVERLESS.search(usage):  # each memory size has the same price per GB
                per_gb = round(price / int(size[1]) * 1e6, 6)
                figures["serverless"]["usd_per_million_gb_seconds"] = per_gb
            elif _DATA.search(usage):
                figures["data"]["usd_per_gb"] = max(price, figures["data"].get("usd_per_gb", 0.0))
    if per_hour:
        figures["instances"]["usd_per_hour"] = dict(sorted(per_hour.items()))
    today, groups = str(datetime.now(UTC).date()), {}
    for name, found in figures.items():
        if found.keys() == set(FIGURES[name]):
            service = "AWSLambda" if name.startswith("lambda") else "AmazonSageMaker"
            source = f"AWS Price List API, {service}, on demand"
            groups[name] = {"date": today, "source": source, **found}
    return groups


def _products(client: Any, service: str, region: str) -> Iterator[tuple[Mapping[str, str], float]]:
    """Yield each product's attributes and its on-demand price, the highest of its tiers."""
    in_region = {"Type": "TERM_MATCH", "Field": "regionCode", "Value": region}
    pages = client.get_paginator("get_products")
    for text in pages.paginate(ServiceCode=service, Filters=[in_region]).search("PriceList"):
        product = json.loads(text)
        costs = [
            float(tier["pricePerUnit"].get("USD", 0))
            for term in product.get("terms", {}).get("OnDemand", {}).values()
            for tier in term["priceDimensions"].values()
        ]
        if any(costs):
            yield product["product"].get("attributes", {}), max(costs)

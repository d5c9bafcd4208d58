"""`--refresh`: a region's prices from the AWS Price List API, in the form of the price file.

https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_pricing_GetProducts.html
Each product comes as JSON in a text: its attributes, and its terms with a price for each tier.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from ops.aws import AWS_ERRORS, Aws, explain
from ops.cost.prices import FIGURES, GB, GB_SECONDS, KEPT, KEPT_DURATION, PER_HOUR, REQUESTS

API_REGION = "us-east-1"  # the API is in two regions, and knows the prices of all
SOURCE = "AWS Price List API, {}, on demand"
_MILLION = 1e6
# https://docs.aws.amazon.com/lambda/latest/dg/: x86, by the attribute `group`
_LAMBDA = {
    "AWS-Lambda-Requests": REQUESTS,
    "AWS-Lambda-Duration": GB_SECONDS,
    "AWS-Lambda-Provisioned-Concurrency": KEPT,
    "AWS-Lambda-Duration-Provisioned": KEPT_DURATION,
}
_SERVERLESS = re.compile("ServerlessInf:Mem-([0-9]+)GB")
_DATA = re.compile("Host(ing)?:Data-Bytes-(In|Out)", re.IGNORECASE)


def refresh(aws: Aws, region: str, today: date) -> dict[str, Any]:
    """The groups that AWS has prices for. Raises CannotAsk."""
    try:
        client = aws.client("pricing")
        on_lambda = _lambda(_products(client, "AWSLambda", region))
        serverless, data, per_hour = _sagemaker(_products(client, "AmazonSageMaker", region))
    except AWS_ERRORS as error:
        raise explain(error, "pricing:GetProducts") from error
    lambda_service, sagemaker = SOURCE.format("AWSLambda"), SOURCE.format("AmazonSageMaker")
    groups: dict[str, Any] = {}
    if on_lambda.keys() >= set(FIGURES["lambda"]):
        groups["lambda"] = {"date": str(today), "source": lambda_service, **on_lambda}
    for name, figures in (("serverless", serverless), ("data", data)):
        if figures:
            groups[name] = {"date": str(today), "source": sagemaker, **figures}
    if per_hour:
        hours = {PER_HOUR: dict(sorted(per_hour.items()))}
        groups["instances"] = {"date": str(today), "source": sagemaker, **hours}
    return groups


def _products(client: Any, service: str, region: str) -> Iterator[tuple[Mapping[str, str], float]]:
    """The attributes of each product, and its price on demand: of the first tier that costs."""
    pages = client.get_paginator("get_products").paginate(
        ServiceCode=service,
        Filters=[{"Type": "TERM_MATCH", "Field": "regionCode", "Value": region}],
    )
    for page in pages:
        for text in page["PriceList"]:
            product = json.loads(text)
            price = _price(product.get("terms", {}).get("OnDemand", {}))
            if price is not None:
                attributes = product["product"].get("attributes", {})
                family = product["product"].get("productFamily", "")
                yield {**attributes, "productFamily": family}, price


def _price(terms: Mapping[str, Any]) -> float | None:
    tiers = [
        (float(tier.get("beginRange", 0)), float(tier["pricePerUnit"]["USD"]))
        for term in terms.values()
        for tier in term["priceDimensions"].values()
        if "USD" in tier["pricePerUnit"]
    ]
    return next((usd for _, usd in sorted(tiers) if usd > 0), None)


def _lambda(products: Iterator[tuple[Mapping[str, str], float]]) -> dict[str, float]:
    found = {}
    for attributes, usd in products:
        if name := _LAMBDA.get(attributes.get("group", "")):
            found[name] = round(usd * _MILLION, 6)
    return found


def _sagemaker(
    products: Iterator[tuple[Mapping[str, str], float]],
) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """Serverless, data and instances."""
    serverless: dict[str, float] = {}
    data: dict[str, float] = {}
    per_hour: dict[str, float] = {}
    for attributes, usd in products:
        usage = attributes.get("usagetype", "")
        if attributes.get("component") == "Hosting" and attributes.get("instanceName"):
            per_hour[attributes["instanceName"]] = usd
        elif found := _SERVERLESS.search(usage):
            # By memory size, and the same for each GB; kept-warm ones have another usage type.
            if usage.endswith(found[0]):
                serverless[GB_SECONDS] = round(usd / int(found[1]) * _MILLION, 6)
        elif _DATA.search(usage):
            data[GB] = max(usd, data.get(GB, 0.0))
    return serverless, data, per_hour

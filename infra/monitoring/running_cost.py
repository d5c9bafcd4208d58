"""Estimate the current cost of 1,000 calls at each target by metric maths over list prices.

The estimate leaves out Lambda's free tier, storage, transfer, and SageMaker's price for data,
because CloudWatch does not count bytes. The prices are those of `python -m ops cost`.
"""

import json
from pathlib import Path
from typing import Any

from aws_cdk import Duration
from aws_cdk.aws_cloudwatch import MathExpression, Metric, Stats

from infra.lambda_target.target import LambdaTarget
from infra.sagemaker_target.capacity import Serverless
from infra.sagemaker_target.target import SageMakerTarget

PRICES = Path(__file__).parents[2] / "ops" / "cost" / "prices.json"
REGION = "us-east-1"
PERIOD = Duration.minutes(15)

_LISTED: dict[str, dict[str, Any]] = json.loads(PRICES.read_text())["regions"][REGION]


def on_lambda(target: LambdaTarget) -> MathExpression:
    """Return the cost of duration, requests, cold starts and provisioned concurrency."""
    prices = _LISTED["lambda_arm64" if target.on_arm else "lambda"]
    memory_gb = target.memory_mb / 1024
    kept = target.provisioned_concurrency or 0
    prefix = "kept_duration_" if kept else ""
    per_second = memory_gb * prices[f"{prefix}usd_per_million_gb_seconds"] / 1e6
    used = f"ms / 1000 * {per_second:.12f} + {prices['usd_per_million_requests'] / 1e6:.12f}"
    # Since August 2025, AWS bills cold starts like calls.
    per_start_second = memory_gb * prices["usd_per_million_gb_seconds"] / 1e6
    starts = f"FILL(start_ms, 0) / 1000 * {per_start_second:.12f}"
    idle = kept * memory_gb * prices["kept_usd_per_million_gb_seconds"] / 1e6
    return _cost(
        prices,
        f"1000 * ({used} + ({starts} + {idle:.12f} * PERIOD(calls)) / calls)",
        ms=target.metric_latency(Stats.AVERAGE),
        calls=target.metric_invocations(),
        start_ms=target.metric_start_duration(),
    )


def on_sagemaker(target: SageMakerTarget) -> MathExpression | None:
    """Return the cost of the endpoint; None if there is no price of its instance type."""
    if isinstance(target.capacity, Serverless):
        prices = _LISTED["serverless"]
        per_second = target.capacity.memory_mb / 1024 * prices["usd_per_million_gb_seconds"] / 1e6
        us = target.metric_latency(Stats.AVERAGE)
        return _cost(prices, f"1000 * us / 1000000 * {per_second:.12f}", us=us)
    prices = _LISTED["instances"]
    per_hour = prices["usd_per_hour"].get(target.capacity.instance_type)
    if per_hour is None:
        return None
    return _cost(
        prices,
        f"1000 * instance_minutes * {per_hour / 60:.12f} / calls",
        instance_minutes=target.metric_instances(),
        calls=target.metric_invocations(PERIOD),
    )


def _cost(
    prices: dict[str, Any], expression: str, **metrics: Metric | MathExpression
) -> MathExpression:
    return MathExpression(
        expression=expression,
        using_metrics={name: metric.with_(period=PERIOD) for name, metric in metrics.items()},
        label=f"USD per 1,000 calls without data, list prices of {REGION}, {prices['date']}",
        period=PERIOD,
    )

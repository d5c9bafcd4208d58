"""What 1,000 calls cost at each target right now: metric maths over list prices.

An estimate: Lambda's free tier, storage and transfer are left out, and the data of requests, for
which SageMaker has a price: CloudWatch does not count bytes.
"""

from aws_cdk import Duration
from aws_cdk.aws_cloudwatch import MathExpression, Stats

from infra import prices
from infra.config import Config
from infra.lambda_target import LambdaTarget
from infra.sagemaker_target import SageMakerTarget

PERIOD = Duration.minutes(15)
LABEL = f"USD per 1,000 calls without data, list prices of {prices.REGION}, {prices.DATE}"


def on_lambda(target: LambdaTarget, config: Config) -> MathExpression:
    """Duration x memory and the request, and what is kept warm by the hour."""
    memory_gb = config.lambda_memory_mb / 1024
    provisioned = config.lambda_provisioned_concurrency
    duration_price = (
        prices.PROVISIONED_DURATION_GB_SECOND if provisioned else prices.LAMBDA_GB_SECOND
    )
    used = f"ms / 1000 * {memory_gb * duration_price:.12f} + {prices.LAMBDA_REQUEST:.12f}"
    kept = (provisioned or 0) * memory_gb * prices.PROVISIONED_GB_SECOND
    return MathExpression(
        expression=f"1000 * ({used} + {kept:.12f} * PERIOD(calls) / calls)",
        using_metrics={
            "ms": target.metric_latency(Stats.AVERAGE).with_(period=PERIOD),
            "calls": target.metric_invocations().with_(period=PERIOD),
        },
        label=LABEL,
        period=PERIOD,
    )


def on_sagemaker(target: SageMakerTarget, config: Config) -> MathExpression | None:
    """The instances' time, or a serverless endpoint's; None where a price is not known."""
    if config.sagemaker_type == "serverless":
        per_second = config.serverless_memory_mb / 1024 * prices.SERVERLESS_GB_SECOND
        return MathExpression(
            expression=f"1000 * us / 1000000 * {per_second:.12f}",
            using_metrics={"us": target.metric_latency(Stats.AVERAGE).with_(period=PERIOD)},
            label=LABEL,
            period=PERIOD,
        )
    per_hour = prices.INSTANCE_HOUR.get(config.instance_type)
    if per_hour is None:
        return None
    return MathExpression(
        expression=f"1000 * instance_minutes * {per_hour / 60:.12f} / calls",
        using_metrics={
            "instance_minutes": target.metric_instances().with_(period=PERIOD),
            "calls": target.metric_invocations().with_(period=PERIOD),
        },
        label=LABEL,
        period=PERIOD,
    )

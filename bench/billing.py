"""What Lambda bills for requests of which some are cold starts."""

import math

from infra.prices import LAMBDA_GB_SECOND, LAMBDA_REQUEST
from serving.settings import LAMBDA_MB_PER_VCPU

COLD_SHARE = 0.05  # of all requests; it is 1 % in most production workloads, by AWS's own count
REQUESTS = 1_000_000


def memory_mb(vcpus: float) -> int:
    """The least memory that brings that many vCPUs, in Lambda's MB (2^20 bytes)."""
    return math.ceil(vcpus * LAMBDA_MB_PER_VCPU)


def billed_ms(milliseconds: float) -> int:
    """Whole milliseconds, each begun one counted. https://aws.amazon.com/lambda/pricing/"""
    return math.ceil(milliseconds)


def usd_per_million(
    vcpus: float, warm_billed_ms: float, cold_ms: float, cold_share: float = COLD_SHARE
) -> float:
    """US dollars for a million requests.

    `warm_billed_ms`: the mean of what is billed for a warm one. `cold_ms`: from the process's start
    to its answer. The init phase of a container image has always been billed, and since August 2025
    everybody's is: https://aws.amazon.com/blogs/compute/aws-lambda-standardizes-billing-for-init-phase
    """
    mean_ms = warm_billed_ms + cold_share * (billed_ms(cold_ms) - warm_billed_ms)
    gb_seconds = memory_mb(vcpus) / 1024 * mean_ms / 1000
    return REQUESTS * (gb_seconds * LAMBDA_GB_SECOND + LAMBDA_REQUEST)

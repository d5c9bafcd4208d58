"""Describe a model's requests and where they are served now."""

from collections.abc import Sequence
from dataclasses import dataclass

from ops.cost.traffic import Traffic

# https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
LAMBDA_MB_PER_VCPU = 1769
X86, ARM = "x86_64", "arm64"  # the values of the context key `architecture`
# The defaults of the context key `instance_type`.
DEFAULT_INSTANCES = {X86: "ml.m5.large", ARM: "ml.c7g.large"}


@dataclass(frozen=True, kw_only=True)
class RequestUsage:
    """Hold the mean usage of one request. The field names are those of the JSON report."""

    lambda_memory_mb: int
    lambda_ms: float  # billed, without a cold start; AWS rounds each call up to a whole ms
    serverless_memory_mb: int = 0
    serverless_ms: float = 0.0
    vcpu_ms: float  # the time that one whole vCPU of an instance spends on it
    cold_ms: float = 0.0
    cold_share: float = 0.0  # the share of Lambda's calls with a cold start, 0 to 1
    data_bytes: float | None = None  # request and response, billed by SageMaker; None if unknown


@dataclass(frozen=True)
class MemorySize:
    """Hold the timing of a Lambda memory size. The field names are those of the JSON report."""

    memory_mb: int
    billed_ms: float  # the mean
    median_ms: float
    p95_ms: float


@dataclass(frozen=True)
class Workload:
    """Hold a model's usage per request, its traffic if known, and its current target."""

    usage: RequestUsage
    traffic: Traffic | None = None
    notes: Sequence[str] = ()  # sentences that say where the figures come from
    current_target: str | None = None  # the name of the target that serves most calls now
    instance_type: str = ""  # empty: see DEFAULT_INSTANCES
    executions: int | None = None  # kept warm now by provisioned concurrency
    sizes: Sequence[MemorySize] = ()
    architecture: str = X86  # of the CPU on which the times were measured
    deploy_options: str = ""  # options with which `cdk deploy` finds the observed stack


def vcpu_share(memory_mb: float) -> float:
    """Return the share of a vCPU that a memory size gets, at most 1."""
    return min(1.0, memory_mb / LAMBDA_MB_PER_VCPU)

"""Hold what is known before anything is priced: the request and its traffic."""

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
    """Hold what one request uses on average. The field names are those of the JSON report."""

    lambda_memory_mb: int
    lambda_ms: float  # billed without a cold start; AWS rounds each call up to a whole ms
    serverless_memory_mb: int = 0
    serverless_ms: float = 0.0
    vcpu_ms: float  # of one whole vCPU, which is what an instance spends on it
    cold_ms: float = 0.0
    cold_share: float = 0.0  # of Lambda's calls, 0 to 1
    data_bytes: float | None = None  # in and out, which SageMaker charges for; None if unknown


@dataclass(frozen=True)
class MemorySize:
    """Hold the timing of one of Lambda's memory sizes. The field names are those of the report."""

    memory_mb: int
    billed_ms: float  # a mean; the others are percentiles
    median_ms: float
    p95_ms: float


@dataclass(frozen=True)
class Workload:
    """Hold a model's request, its traffic if known, and where it is served now."""

    usage: RequestUsage
    traffic: Traffic | None = None
    notes: Sequence[str] = ()  # sentences that say how this was found out
    current_target: str | None = None  # the name of the one that serves now
    instance_type: str = ""  # or else that of DEFAULT_INSTANCES
    executions: int | None = None  # that provisioned concurrency keeps warm now
    sizes: Sequence[MemorySize] = ()
    architecture: str = X86  # of the CPU that the times are of
    deploy_options: str = ""  # with which `cdk deploy` deploys to the stack that was looked at


def other(architecture: str) -> str:
    return X86 if architecture == ARM else ARM


def vcpu_share(memory_mb: float) -> float:
    """Return the share of a vCPU that a memory size gets; more than one is taken for no gain."""
    return min(1.0, memory_mb / LAMBDA_MB_PER_VCPU)

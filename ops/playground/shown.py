"""Describe a target and its answer for the page. Nothing here does I/O."""

from collections.abc import Sequence

from ops.answers import classes_of
from ops.cost import prices, targets
from ops.cost.workload import DEFAULT_INSTANCES, LAMBDA_MB_PER_VCPU, X86, RequestUsage, Traffic
from ops.local_servers import EmulatedLambda, HttpReply
from ops.parity.facts import Facts
from ops.parity.targets import OpenTarget
from ops.targets import SERVED_BY, FunctionUrl, InvokedFunction

_ANSWERED_BY = {"lambda": "Lambda", "sagemaker": "SageMaker", "lambda-spill": "Lambda (spill)"}


def about(facts: Facts) -> dict[str, str]:
    return {
        "label": facts.label,
        "name": facts.name,
        "image": min(facts.digests, default=facts.image_id),
        "model": facts.model_id,
    }


def answered_by(reply: HttpReply) -> str:
    """Name who answered a call of a function that may forward it, or return ""."""
    return _ANSWERED_BY.get(reply.headers.get(SERVED_BY, ""), "")


def bars_of(value: object) -> Sequence[tuple[str, str]]:
    """Return labels with probabilities: the classes, or the first object of numbers from 0 to 1."""
    if classes := classes_of(value):
        return classes
    for part in value.values() if isinstance(value, dict) else ():
        if isinstance(part, dict) and part:
            shares = part.items()
            if all(type(share) in (int, float) and 0 <= share <= 1 for _, share in shares):
                return [(str(label), str(share)) for label, share in shares]
    return []


def cost_of(target: OpenTarget, milliseconds: float, data_bytes: int, known: prices.Prices) -> str:
    """Return the cost of a million calls in a month. Raise CostError if there is no price."""
    facts = target.facts
    usage = RequestUsage(
        lambda_memory_mb=facts.memory_mb or LAMBDA_MB_PER_VCPU,
        lambda_ms=milliseconds,
        serverless_memory_mb=facts.memory_mb,
        serverless_ms=milliseconds,
        vcpu_ms=milliseconds,
        data_bytes=data_bytes,
    )
    architecture = facts.architecture or X86
    if isinstance(target.client, FunctionUrl | InvokedFunction | EmulatedLambda):
        found = targets.on_lambda(usage, known, architecture)
    elif facts.memory_mb:
        found = targets.serverless(usage, known)
    else:
        instance = facts.instance_type or DEFAULT_INSTANCES[architecture]
        capacity = targets.capacity_of(instance, milliseconds) or 1000 / milliseconds
        found = targets.real_time(usage, known, instance, capacity)
    quote = found.quote(Traffic(1e6))
    runs = f", {quote.runs}" if found.instance_type and quote.runs != "1 instance" else ""
    return f"{prices.usd(quote.usd_per_month)}: {found.name}{runs}"

"""What a request takes in a deployed stack, and its traffic, from the metrics of the last days."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta

from ops.aws import Aws, stack_outputs
from ops.cost import arithmetic
from ops.cost.arithmetic import HOURS_PER_MONTH
from ops.cost.found import DEFAULT_INSTANCE, FindingError, Found
from ops.cost.stack_metrics import Hourly, Metrics, read_metrics
from ops.cost.stack_setup import Setup, read_setup
from ops.cost.targets import Work
from ops.cost.traffic import Traffic


def observe(
    aws: Aws, stack_name: str, *, days: int, now: datetime, serverless_memory_mb: int
) -> Found:
    """Raises CannotAsk, FindingError where there were no calls."""
    setup = read_setup(aws, stack_outputs(aws, stack_name))
    end = now.replace(minute=0, second=0, microsecond=0)
    metrics = read_metrics(aws, stack_name, setup, end - timedelta(days=days), end)
    calls = Counter(metrics.function_calls)
    calls.update(metrics.endpoint_calls)
    if not sum(calls.values()):
        raise FindingError(
            f"stack {stack_name} had no calls in the last {days} days; --days looks further back, "
            "--measure or --duration-ms do without it"
        )
    traffic, hours = _traffic(calls, end)
    note = (
        f"Read from {stack_name} in {aws.region}: {sum(calls.values()):,.0f} calls in {hours:,.0f} "
        "hours, the first with a call to now."
    )
    return _found(
        setup=setup,
        metrics=metrics,
        traffic=traffic,
        note=note,
        hours=hours,
        serverless_memory_mb=serverless_memory_mb,
    )


def _found(
    *,
    setup: Setup,
    metrics: Metrics,
    traffic: Traffic,
    note: str,
    hours: float,
    serverless_memory_mb: int,
) -> Found:
    notes = [note]
    serverless_mb = setup.serverless_memory_mb or serverless_memory_mb
    on_lambda = _mean(metrics.function_ms, metrics.function_calls)
    on_endpoint = _mean(metrics.endpoint_us, metrics.endpoint_calls)
    endpoint_ms = None if on_endpoint is None else on_endpoint / 1000
    if on_lambda is not None:
        # Each call is rounded up to a whole millisecond, by half of one on average.
        lambda_ms = on_lambda + 0.5
        vcpu_ms = arithmetic.one_vcpu_ms(on_lambda, setup.lambda_memory_mb)
        notes.append(f"Lambda: {on_lambda:.1f} ms a call with {setup.lambda_memory_mb:,} MB.")
    else:
        assert endpoint_ms is not None  # noqa: S101 - somebody was called
        of_mb = serverless_mb if setup.serverless_memory_mb else arithmetic.LAMBDA_MB_PER_VCPU
        vcpu_ms = arithmetic.one_vcpu_ms(endpoint_ms, of_mb)
        lambda_ms = arithmetic.lambda_ms(vcpu_ms, setup.lambda_memory_mb)
        notes.append(f"Lambda has not run: taken for as fast as the endpoint, {lambda_ms:.1f} ms.")
    serverless_ms = arithmetic.lambda_ms(vcpu_ms, serverless_mb)
    if endpoint_ms is not None:
        notes.append(f"Endpoint: {endpoint_ms:.1f} ms of model latency a call.")
        if setup.serverless_memory_mb:
            serverless_ms = endpoint_ms
    starts = sum(metrics.starts.values())
    function_calls = sum(metrics.function_calls.values())
    if starts:
        notes.append(f"Cold starts: {starts / max(function_calls, 1):.2%} of Lambda's calls.")
    if instance_hours := sum(metrics.instance_reports.values()) / 60:
        notes.append(f"Instances: {instance_hours / hours:.2f} x {setup.instance_type} on average.")
    work = Work(
        lambda_memory_mb=setup.lambda_memory_mb,
        lambda_ms=lambda_ms,
        serverless_memory_mb=serverless_mb,
        serverless_ms=serverless_ms,
        vcpu_ms=vcpu_ms,
        cold_ms=_mean(metrics.start_ms, metrics.starts) or 0.0,
        cold_share=min(1.0, starts / function_calls) if function_calls else 0.0,
    )
    return Found(
        work,
        traffic,
        notes,
        _current(setup, metrics, work),
        setup.instance_type or DEFAULT_INSTANCE,
        setup.executions,
    )


def _current(setup: Setup, metrics: Metrics, work: Work) -> str | None:
    """The name of the target that most calls went to, as `targets` calls it."""
    if sum(metrics.function_calls.values()) >= sum(metrics.endpoint_calls.values()):
        return f"Lambda, {work.lambda_memory_mb:,} MB" + (", kept warm" if setup.executions else "")
    if setup.serverless_memory_mb:
        return f"SageMaker serverless, {work.serverless_memory_mb:,} MB"
    return f"SageMaker {setup.instance_type}"


def _traffic(calls: Mapping[datetime, float], end: datetime) -> tuple[Traffic, float]:
    """A month at this rate, by the hour of the week, or of the day if there is less than a week."""
    hours = max(1.0, (end - min(calls)).total_seconds() / 3600)
    per_month = sum(calls.values()) / hours * HOURS_PER_MONTH
    slots = 168 if hours >= 168 else 24
    if hours < slots:
        return Traffic(per_month), hours
    seen, asked = Counter[int](), defaultdict[int, float](float)
    for back in range(1, int(hours) + 1):
        hour = end - timedelta(hours=back)
        slot = (hour.weekday() * 24 + hour.hour) % slots
        seen[slot] += 1
        asked[slot] += calls.get(hour, 0.0)
    return Traffic(per_month, tuple(asked[slot] / seen[slot] for slot in range(slots))), hours


def _mean(values: Hourly, weights: Hourly) -> float | None:
    """Of the hourly means, each with its hour's calls; None without any."""
    total = sum(weights.get(hour, 0.0) for hour in values)
    return sum(v * weights.get(h, 0.0) for h, v in values.items()) / total if total else None

"""Read the usage and the traffic of a deployed stack from AWS, without changing anything."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from statistics import fmean

from ops.aws import Aws, explained, stack_outputs
from ops.commands.plan import deployed_keys
from ops.cost import CostError, workload
from ops.cost.targets import lambda_name
from ops.cost.workload import LAMBDA_MB_PER_VCPU, X86, RequestUsage, Traffic, Workload, vcpu_share

ALIAS, VARIANT = "live", "AllTraffic"
Hourly = Counter[datetime]
Metric = tuple[str, str, Mapping[str, str]]  # NAMESPACE:METRIC, its statistic and dimensions
# The least share of calls that a function answers itself for its time to be known.
_OWN_SHARE = 0.5


def observe(aws: Aws, stack_name: str, days: int) -> Workload:
    """Return the stack's workload. Raise CannotAsk, and CostError if there were no calls."""
    outputs = stack_outputs(aws, stack_name)
    function = outputs.get("FunctionName", "").removesuffix(f":{ALIAS}").rpartition(":")[2]
    endpoint = outputs.get("EndpointName", "")
    if not function and not endpoint:
        raise CostError(
            "the stack has neither a function nor an endpoint; --stack names one that this app made"
        )
    keys = deployed_keys(outputs)
    architecture = keys.get("architecture", X86)
    # A function that only forwards is smaller than this.
    memory_mb = int(keys.get("lambda_memory_mb", LAMBDA_MB_PER_VCPU))
    executions = int(keys.get("lambda_provisioned_concurrency", 0))
    instance_type = keys.get("instance_type", workload.DEFAULT_INSTANCES[architecture])
    serverless_mb, kind = 0, keys.get("sagemaker_type", "realtime")
    if endpoint and kind == "serverless":
        serverless_mb = int(keys.get("serverless_memory_mb", workload.DEFAULT_SERVERLESS_MB))
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    asked = _metrics(stack_name, function, endpoint, is_async=kind == "async")
    found = read_metrics(aws, asked, 3600, end - timedelta(days=days), end)
    total = Counter({name: values.total() for name, values in found.items()})
    # Exclude the examiner's calls. Counter's difference drops negative counts.
    endpoint_calls = found["endpoint_calls"] - found["examined"]
    # Both targets count a forwarded call, which is one call of the user's.
    calls = found["calls"] + (endpoint_calls - found["forwarded"] - found["spilled"])
    own_calls = total["calls"] - total["forwarded"] - total["spilled"]
    function_ms = 0.0
    # With few own calls, the time spent forwarding would distort the mean.
    if own_calls >= _OWN_SHARE * total["calls"] > 0:
        function_ms = (total["call_ms"] - total["forwarded_ms"]) / own_calls
    endpoint_ms = total["endpoint_us"] / 1000 / (total["endpoint_timed"] or 1)
    if not function_ms and not endpoint_ms:
        raise CostError(
            f"stack {stack_name} had no calls in the last {days} days; --days looks further back, "
            "--measure and --duration-ms need no calls"
        )
    if function_ms:
        vcpu_ms = function_ms * vcpu_share(memory_mb)
        lambda_ms = function_ms + 0.5  # AWS rounds each call up to a whole millisecond
        on_lambda = f"{function_ms:.1f} ms a call with {memory_mb:,} MB"
    else:
        vcpu_ms = endpoint_ms * (vcpu_share(serverless_mb) if serverless_mb else 1.0)
        lambda_ms = vcpu_ms / vcpu_share(memory_mb)
        on_lambda = f"few or no calls, assumed as fast as the endpoint, {lambda_ms:.1f} ms"
    traffic, hours = _traffic(calls, end)
    counted = f"{calls.total():,.0f} calls in {hours:,.0f} hours since the first call"
    notes = [f"Read from {stack_name} in {aws.region}: {counted}.", f"Lambda: {on_lambda}."]
    if endpoint_ms:
        notes.append(f"Endpoint: {endpoint_ms:.1f} ms of model latency a call.")
    cold_share = min(1.0, total["starts"] / (total["calls"] or 1))
    if cold_share:
        notes.append(f"Cold starts: {cold_share:.2%} of Lambda's calls.")
    # The target that served most calls, by its name in `targets`.
    current = lambda_name(memory_mb, architecture) + ", kept warm" * bool(executions)
    if own_calls < endpoint_calls.total():
        kind = f"serverless, {serverless_mb:,} MB" if serverless_mb else instance_type
        current = f"SageMaker {kind}"
    usage = RequestUsage(
        lambda_memory_mb=memory_mb,
        lambda_ms=lambda_ms,
        serverless_memory_mb=serverless_mb,
        serverless_ms=endpoint_ms if serverless_mb else 0.0,
        vcpu_ms=vcpu_ms,
        cold_ms=total["start_ms"] / (total["starts"] or 1),
        cold_share=cold_share,
    )
    return Workload(
        usage,
        traffic,
        notes=notes,
        current_target=current,
        instance_type=instance_type,
        executions=executions,
        architecture=architecture,
        stack_name=stack_name,
    )


def _traffic(calls: Hourly, end: datetime) -> tuple[Traffic, float]:
    """Return a month at the rate since the first call, and the hours since then.

    Its shape is by the hours of the week, or of the day if the stack is younger than a week.
    """
    hours = max(1.0, (end - min(calls)).total_seconds() / 3600)
    per_month = calls.total() / hours * workload.HOURS_PER_MONTH
    slots = 168 if hours >= 168 else 24 if hours >= 24 else 1
    by_slot: list[list[float]] = [[] for _ in range(slots)]
    for back in range(1, int(hours) + 1):
        hour = end - timedelta(hours=back)
        by_slot[(hour.weekday() * 24 + hour.hour) % slots].append(calls[hour])
    return Traffic(per_month, tuple(map(fmean, by_slot))), hours


def _metrics(stack: str, function: str, endpoint: str, *, is_async: bool) -> dict[str, Metric]:
    alias = {"FunctionName": function, "Resource": f"{function}:{ALIAS}"}
    variant = {"EndpointName": endpoint, "VariantName": VARIANT}
    endpoint_calls = "InvocationsProcessed" if is_async else "Invocations"
    of_function: dict[str, Metric] = {
        "calls": ("AWS/Lambda:Invocations", "Sum", alias),
        "call_ms": ("AWS/Lambda:Duration", "Sum", alias),
        "starts": (f"{stack}:ColdStarts", "SampleCount", {}),
        "start_ms": (f"{stack}:ColdStarts", "Sum", {}),
        "forwarded": (f"{stack}:Forwarded", "SampleCount", {}),
        "forwarded_ms": (f"{stack}:Forwarded", "Sum", {}),
        "spilled": (f"{stack}:Spilled", "Sum", {}),
    }
    of_endpoint: dict[str, Metric] = {
        "endpoint_calls": (f"AWS/SageMaker:{endpoint_calls}", "Sum", variant),
        "examined": (f"{stack}:Examined", "Sum", {}),
        "endpoint_timed": ("AWS/SageMaker:ModelLatency", "SampleCount", variant),
        "endpoint_us": ("AWS/SageMaker:ModelLatency", "Sum", variant),
    }
    return {**(of_function if function else {}), **(of_endpoint if endpoint else {})}


def read_metrics(
    aws: Aws, asked: Mapping[str, Metric], seconds: int, start: datetime, end: datetime
) -> Mapping[str, Hourly]:
    """Return each metric's values in periods of that many seconds, by start. Raise CannotAsk."""
    queries = []
    for name, (metric, statistic, dimensions) in asked.items():
        namespace, _, metric_name = metric.rpartition(":")
        pairs = [{"Name": key, "Value": value} for key, value in dimensions.items()]
        which = {"Namespace": namespace, "MetricName": metric_name, "Dimensions": pairs}
        stat = {"Metric": which, "Period": seconds, "Stat": statistic}
        queries.append({"Id": name, "MetricStat": stat})
    found: dict[str, Hourly] = defaultdict(Counter)
    with explained("cloudwatch:GetMetricData"):
        pages = aws.client("cloudwatch").get_paginator("get_metric_data")
        pages = pages.paginate(MetricDataQueries=queries, StartTime=start, EndTime=end)
        for result in pages.search("MetricDataResults"):
            periods = [stamp.astimezone(UTC) for stamp in result["Timestamps"]]
            found[result["Id"]].update(dict(zip(periods, result["Values"])))
    return found

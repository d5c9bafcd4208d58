"""Read the usage and the traffic of a deployed stack from AWS, without changing anything."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from statistics import fmean
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import Aws, code_of, explained, stack_outputs
from ops.cost import CostError, workload
from ops.cost.targets import architecture_of, lambda_name
from ops.cost.traffic import HOURS_PER_MONTH, Traffic
from ops.cost.workload import LAMBDA_MB_PER_VCPU, X86, RequestUsage, Workload, vcpu_share
from ops.targets import ASYNC_OUTPUT

ALIAS, VARIANT = "live", "AllTraffic"
Hourly = Counter[datetime]
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
    memory_mb, executions, architecture = LAMBDA_MB_PER_VCPU, None, X86
    if function:
        memory_mb, executions, architecture = _function(aws, function, outputs)
    variant = _variant(aws, endpoint) if endpoint else {}
    if "InstanceType" in variant:
        architecture = architecture_of(variant["InstanceType"])
    instance_type = variant.get("InstanceType") or workload.DEFAULT_INSTANCES[architecture]
    serverless_mb = variant.get("ServerlessConfig", {}).get("MemorySizeInMB", 0)
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    queries = _queries(stack_name, function, endpoint, is_async=ASYNC_OUTPUT in outputs)
    found = read_metrics(aws, queries, end - timedelta(days=days), end)
    # Exclude the examiner's calls. Counter's difference drops negative counts.
    endpoint_calls = found["endpoint_calls"] - found["examined"]
    # Both targets count a forwarded call, which is one call of the user's.
    forwarded = found["forwarded"] + found["spilled"]
    own_calls = found["calls"] - forwarded
    calls = found["calls"] + (endpoint_calls - forwarded)
    function_ms = _own_ms(found, own_calls)
    endpoint_ms = _mean(found["endpoint_us"], endpoint_calls) / 1000
    if not function_ms and not endpoint_ms:
        raise CostError(
            f"stack {stack_name} had no calls in the last {days} days; --days looks further back, "
            "--measure and --duration-ms need no calls"
        )
    traffic, hours = _traffic(calls, end)
    counted = f"{calls.total():,.0f} calls in {hours:,.0f} hours since the first call"
    notes = [f"Read from {stack_name} in {aws.region}: {counted}."]
    if function_ms:
        vcpu_ms = function_ms * vcpu_share(memory_mb)
        lambda_ms = function_ms + 0.5  # AWS rounds each call up to a whole millisecond
        notes.append(f"Lambda: {function_ms:.1f} ms a call with {memory_mb:,} MB.")
    else:
        vcpu_ms = endpoint_ms * (vcpu_share(serverless_mb) if serverless_mb else 1.0)
        lambda_ms = vcpu_ms / vcpu_share(memory_mb)
        ran = "answers few calls" if found["calls"] else "has not run"
        notes.append(f"Lambda {ran}: assumed as fast as the endpoint, {lambda_ms:.1f} ms.")
    if endpoint_ms:
        notes.append(f"Endpoint: {endpoint_ms:.1f} ms of model latency a call.")
    cold_share = min(1.0, found["starts"].total() / max(found["calls"].total(), 1))
    if cold_share:
        notes.append(f"Cold starts: {cold_share:.2%} of Lambda's calls.")
    if instance_hours := found["instance_reports"].total() / 60:
        notes.append(f"Instances: {instance_hours / hours:.2f} x {instance_type} on average.")
    # The target that served most calls, by its name in `targets`.
    current = f"SageMaker {instance_type}"
    if own_calls.total() >= endpoint_calls.total():
        current = lambda_name(memory_mb, architecture) + ", kept warm" * bool(executions)
    elif serverless_mb:
        current = f"SageMaker serverless, {serverless_mb:,} MB"
    usage = RequestUsage(
        lambda_memory_mb=memory_mb,
        lambda_ms=lambda_ms,
        serverless_memory_mb=serverless_mb,
        serverless_ms=endpoint_ms if serverless_mb else 0.0,
        vcpu_ms=vcpu_ms,
        cold_ms=_mean(found["start_ms"], found["starts"]),
        cold_share=cold_share,
    )
    return Workload(
        usage, traffic, notes, current, instance_type, executions, architecture=architecture
    )


def _own_ms(found: Mapping[str, Hourly], own_calls: Hourly) -> float:
    """Return the mean time of the calls that the function answers itself; 0 if it is unknown.

    With few own calls, the time spent forwarding would distort the mean.
    """
    if own_calls.total() < _OWN_SHARE * found["calls"].total() or not own_calls:
        return 0.0
    forwarding_ms = _total(found["forwarded_ms"], found["forwarded"])
    return (_total(found["call_ms"], found["calls"]) - forwarding_ms) / own_calls.total()


def _mean(means: Hourly, counts: Hourly) -> float:
    """Return the mean duration of all events; 0 without any."""
    total = sum(counts[hour] for hour in means)
    return _total(means, counts) / total if total else 0.0


def _total(means: Hourly, counts: Hourly) -> float:
    return sum(mean * counts[hour] for hour, mean in means.items())


def _traffic(calls: Hourly, end: datetime) -> tuple[Traffic, float]:
    """Return a month at the rate since the first call, and the hours since then.

    Its shape is by the hours of the week, or of the day if the stack is younger than a week.
    """
    hours = max(1.0, (end - min(calls)).total_seconds() / 3600)
    per_month = calls.total() / hours * HOURS_PER_MONTH
    slots = 168 if hours >= 168 else 24
    if hours < slots:
        return Traffic(per_month), hours
    by_slot: list[list[float]] = [[] for _ in range(slots)]
    for back in range(1, int(hours) + 1):
        hour = end - timedelta(hours=back)
        by_slot[(hour.weekday() * 24 + hour.hour) % slots].append(calls[hour])
    return Traffic(per_month, tuple(map(fmean, by_slot))), hours


def _function(aws: Aws, name: str, outputs: Mapping[str, str]) -> tuple[int, int | None, str]:
    """Return the function's memory, executions kept warm and architecture. Raise CannotAsk.

    For a function that only forwards, return the memory that it would have with the model.
    """
    which = {"FunctionName": name, "Qualifier": ALIAS}
    with explained("lambda:GetFunctionConfiguration"):
        client = aws.client("lambda")
        found = client.get_function_configuration(**which)
    memory_mb, (architecture,) = found["MemorySize"], found.get("Architectures", [X86])
    variables = found.get("Environment", {}).get("Variables", {})
    if variables.get("FORWARD_PERCENT") == "100" and "FORWARD_SPILL" not in variables:
        keys = json.loads(outputs.get("ContextKeys", "{}"))
        return int(keys.get("lambda_memory_mb", LAMBDA_MB_PER_VCPU)), None, architecture
    with explained("lambda:GetProvisionedConcurrencyConfig"):
        try:
            kept = client.get_provisioned_concurrency_config(**which)
        except ClientError as error:
            if code_of(error) != "ProvisionedConcurrencyConfigNotFoundException":
                raise
            return memory_mb, None, architecture
    return memory_mb, kept["RequestedProvisionedConcurrentExecutions"] or None, architecture


def _variant(aws: Aws, endpoint: str) -> Mapping[str, Any]:
    """Return the configuration of the endpoint's variant. Raise CannotAsk."""
    with explained("sagemaker:DescribeEndpoint and sagemaker:DescribeEndpointConfig"):
        client = aws.client("sagemaker")
        config = client.describe_endpoint(EndpointName=endpoint)["EndpointConfigName"]
        found = client.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"]
    return dict(found[0])


def _queries(
    stack_name: str, function: str, endpoint: str, *, is_async: bool
) -> list[dict[str, Any]]:
    queries = []

    def query(name: str, metric: str, statistic: str, **dimensions: str) -> None:
        queries.append(metric_query(name, metric, statistic, 3600, dimensions))

    if function:
        alias = {"FunctionName": function, "Resource": f"{function}:{ALIAS}"}
        query("calls", "AWS/Lambda:Invocations", "Sum", **alias)
        query("call_ms", "AWS/Lambda:Duration", "Average", **alias)
        query("starts", f"{stack_name}:ColdStarts", "SampleCount")
        query("start_ms", f"{stack_name}:ColdStarts", "Average")
        query("forwarded", f"{stack_name}:Forwarded", "SampleCount")
        query("spilled", f"{stack_name}:Spilled", "Sum")
        query("forwarded_ms", f"{stack_name}:Forwarded", "Average")
    if endpoint:
        variant = {"EndpointName": endpoint, "VariantName": VARIANT}
        calls = "InvocationsProcessed" if is_async else "Invocations"
        query("endpoint_calls", f"AWS/SageMaker:{calls}", "Sum", **variant)
        query("examined", f"{stack_name}:Examined", "Sum")
        query("endpoint_us", "AWS/SageMaker:ModelLatency", "Average", **variant)
        # No metric counts instances, but each reports its CPU once a minute.
        cpu = "/aws/sagemaker/Endpoints:CPUUtilization"
        query("instance_reports", cpu, "SampleCount", **variant)
    return queries


def metric_query(
    name: str, metric: str, statistic: str, seconds: int, dimensions: Mapping[str, str]
) -> dict[str, Any]:
    """Return a query for a statistic of NAMESPACE:METRIC with periods of that many seconds."""
    namespace, _, metric_name = metric.rpartition(":")
    pairs = [{"Name": key, "Value": value} for key, value in dimensions.items()]
    which = {"Namespace": namespace, "MetricName": metric_name, "Dimensions": pairs}
    return {"Id": name, "MetricStat": {"Metric": which, "Period": seconds, "Stat": statistic}}


def read_metrics(
    aws: Aws, queries: Sequence[Mapping[str, Any]], start: datetime, end: datetime
) -> Mapping[str, Hourly]:
    """Return each query's values by the start of their period. Raise CannotAsk."""
    found: dict[str, Hourly] = defaultdict(Counter)
    with explained("cloudwatch:GetMetricData"):
        pages = aws.client("cloudwatch").get_paginator("get_metric_data")
        for page in pages.paginate(MetricDataQueries=queries, StartTime=start, EndTime=end):
            for result in page["MetricDataResults"]:
                hours = [stamp.astimezone(UTC) for stamp in result["Timestamps"]]
                found[result["Id"]].update(dict(zip(hours, result["Values"])))
    return found

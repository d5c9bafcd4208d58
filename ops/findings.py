"""What `ops doctor` concludes about the account and its limits. Nothing here does I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ops.aws import CannotAsk

# What the templates of this CDK ask for, in their rule CheckBootstrapVersion.
BOOTSTRAP_VERSION = 6
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
_KEPT_UNRESERVED = 100
_NEW_ACCOUNT_CONCURRENCY = 10
_RAISE_QUOTA = (
    "aws service-quotas request-service-quota-increase --service-code {} --quota-code {} "
    "--desired-value {} --region {}"
)


class State(Enum):
    """What a check found, as the mark of its line."""

    OK = "✓"
    FAILS = "✗"
    WARNING = "!"
    UNKNOWN = "?"


@dataclass(frozen=True)
class Finding:
    """One line: what was found, and what to do where it is not well."""

    state: State
    says: str
    fix: str = ""


def unknown(error: CannotAsk) -> Finding:
    return Finding(State.UNKNOWN, f"not checked: {error.why}", error.fix)


def exit_status(findings: Iterable[Finding]) -> int:
    """0: nothing would fail; 1: something would; 2: nothing known would, but not all is known."""
    states = {finding.state for finding in findings}
    if State.FAILS in states:
        return 1
    return 2 if State.UNKNOWN in states else 0


def of_region(region: str, *, chosen: bool) -> Finding:
    if chosen:
        return Finding(State.OK, region)
    return Finding(
        State.WARNING,
        f"none is set; the CDK deploys to {region} then",
        f"export AWS_REGION={region}, or another",
    )


def of_bootstrap(version: str | None, region: str) -> Finding:
    """`version` is the SSM parameter's value, None where there is none."""
    fix = f"AWS_REGION={region} cdk bootstrap"
    if version is None:
        return Finding(State.FAILS, f"{region} is not bootstrapped for the CDK", fix)
    says = f"version {version}; at least {BOOTSTRAP_VERSION} is needed"
    enough = version.isdecimal() and int(version) >= BOOTSTRAP_VERSION
    return Finding(State.OK, says) if enough else Finding(State.FAILS, says, fix)


def quota_name(instance_type: str) -> str:
    return f"{instance_type} for endpoint usage"


def of_instance_quota(
    instance_type: str, instances: int, quota: Mapping[str, Any] | None, region: str
) -> Finding:
    """`quota` is Service Quotas' own object, None where it has none for the type.

    An update runs the new fleet beside the old one, so `instances` are needed twice.
    """
    if quota is None:
        return Finding(
            State.UNKNOWN,
            f"Service Quotas has no {quota_name(instance_type)!r} in {region}",
            "see https://aws.amazon.com/sagemaker/pricing for the instance types of that region",
        )
    value = int(quota["Value"])
    says = f"{value} x {instance_type}"
    fix = _RAISE_QUOTA.format("sagemaker", quota["QuotaCode"], 2 * instances, region)
    if value < instances:
        return Finding(State.FAILS, f"{says}, and the endpoint may have {instances}", fix)
    if value < 2 * instances:
        return Finding(
            State.WARNING, f"{says}: an update needs {instances} beside the old {instances}", fix
        )
    return Finding(State.OK, says)


def of_endpoint(name: str, deployed: str, runs: str) -> Finding:
    """Names of endpoint configs: the stack's, and the one that the endpoint runs."""
    if deployed == runs:
        return Finding(State.OK, f"{name} runs what the stack deployed")
    return Finding(
        State.FAILS,
        f"{name} runs {runs}, and the stack deployed {deployed}: SageMaker took the update back",
        "find the reason in the endpoint's log group, put it right and deploy again",
    )


def of_concurrency(limit: Mapping[str, int], region: str) -> Finding:
    """`limit` is Lambda's AccountLimit."""
    total, free = limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"]
    says = f"{free:,} of {total:,} concurrent executions are unreserved"
    if total <= _NEW_ACCOUNT_CONCURRENCY:
        # No API tells the limit of memory; such accounts are known to have one below Lambda's.
        return Finding(
            State.WARNING,
            f"{says}: none can be reserved; a new account may be held to 3,008 MB of memory, too",
            _RAISE_QUOTA.format("lambda", "L-B99A9384", 1000, region),
        )
    can = max(free - _KEPT_UNRESERVED, 0)
    return Finding(State.OK, f"{says}; a function may reserve {can:,}")

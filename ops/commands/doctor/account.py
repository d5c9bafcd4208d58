"""Checks of the account, its limits and the model artifact.

A check raises one of AWS_ERRORS or CannotAsk if AWS does not answer.
"""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from ops import model_data
from ops.aws import Aws, code_of
from ops.cli import cdk_context
from ops.commands.doctor.stack import StackChecks
from ops.findings import Finding, State, failure, ok, warning

BOOTSTRAP_PARAMETER = "/cdk-bootstrap/{}/version"
DEFAULT_QUALIFIER = "hnb659fds"
BOOTSTRAP_VERSION = 6  # the CDK's templates require it in their rule CheckBootstrapVersion
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
_KEPT_UNRESERVED = 100
_NEW_ACCOUNT_CONCURRENCY = 10
_RAISE_QUOTA = (
    "aws service-quotas request-service-quota-increase --service-code {} --quota-code {} "
    "--desired-value {} --region {}"
)


class AccountChecks:
    def __init__(self, aws: Aws, stack_name: str, *, on_sagemaker: bool) -> None:
        self.aws, self.stack_name, self.on_sagemaker = aws, stack_name, on_sagemaker

    @cached_property
    def identity(self) -> Any:
        return self.aws.client("sts").get_caller_identity()

    def credentials(self) -> Finding:
        return ok(f"account {self.identity['Account']}, {self.identity['Arn']}")

    def region(self) -> Finding:
        region = self.aws.region
        if self.aws.chosen_region:
            return ok(region)
        says = f"no region is set, so the CDK deploys to {region}"
        return warning(says, f"export AWS_REGION={region}, or another")

    def bootstrap(self, app: Path) -> Finding:
        """Check the bootstrap stack that the app needs."""
        region, parameter = self.aws.region, _bootstrap_parameter(app, self.stack_name)
        qualifier = parameter.split("/")[2]
        other = "" if qualifier == DEFAULT_QUALIFIER else f" --qualifier {qualifier}"
        fix = f"AWS_REGION={region} cdk bootstrap{other} -c mode=lambda"  # any mode works
        try:
            reply = self.aws.client("ssm").get_parameter(Name=parameter)
        except ClientError as error:
            if code_of(error) != "ParameterNotFound":
                raise
            return failure(f"{region} is not bootstrapped for the CDK: no {parameter}", fix)
        version = str(reply["Parameter"]["Value"])
        says = f"version {version}; at least {BOOTSTRAP_VERSION} is needed"
        enough = version.isdecimal() and int(version) >= BOOTSTRAP_VERSION
        return ok(says) if enough else failure(says, fix)

    def concurrency(self, reserved: int, provisioned: int, stack: StackChecks) -> Finding:
        """Check the account's quota for the function's reserved and provisioned executions.

        Without a reservation, an update provisions two versions at once.
        """
        limit = self.aws.client("lambda").get_account_settings()["AccountLimit"]
        total, free = limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"]
        says = f"{free:,} of {total:,} concurrent executions are unreserved"
        wanted = reserved or 2 * provisioned
        # AWS does not count as free what the deployed function has reserved.
        own = int(stack.deployed_keys.get("lambda_reserved_concurrency", 0))
        room = max(free + own - _KEPT_UNRESERVED, 0)
        needed = max(total + wanted - room, 1000)
        fix = _RAISE_QUOTA.format("lambda", "L-B99A9384", needed, self.aws.region)
        if wanted > room:
            return failure(f"{says}: {room:,} can be reserved or provisioned, not {wanted:,}", fix)
        if total <= _NEW_ACCOUNT_CONCURRENCY:
            # No API returns the memory limit, which is often lower in new accounts.
            memory = "a new account may also be limited to 3,008 MB of memory"
            return warning(f"{says}: none can be reserved; {memory}", fix)
        return ok(f"{says}; a function may reserve {room:,}")

    def instance_quota(self, user: str, instance_type: str, instances: int) -> Finding:
        """Check the quota of a user, an `endpoint` or a `transform job`.

        An update of an endpoint runs the new instances beside the old ones.
        """
        name, region = f"{instance_type} for {user} usage", self.aws.region
        client = self.aws.client("service-quotas")
        listed = {"ServiceCode": "sagemaker", "PaginationConfig": {"PageSize": 100}}
        found = (
            quota
            # The first operation returns this account's values but lacks some quotas.
            for operation in ("list_service_quotas", "list_aws_default_service_quotas")
            for page in client.get_paginator(operation).paginate(**listed)
            for quota in page["Quotas"]
            if quota["QuotaName"] == name
        )
        if not (quota := next(found, None)):
            says = f"Service Quotas has no {name!r} in {region}"
            fix = "see https://aws.amazon.com/sagemaker/pricing for the region's instance types"
            return Finding(State.UNKNOWN, says, fix)
        value, wanted = int(quota["Value"]), instances * (2 if user == "endpoint" else 1)
        says = f"{value} x {instance_type}"
        if value >= wanted:
            return ok(says)
        fix = _RAISE_QUOTA.format("sagemaker", quota["QuotaCode"], wanted, region)
        if value < instances:
            return failure(f"{says}, but the {user} may need {instances}", fix)
        return warning(f"{says}: an update needs {instances} beside the old {instances}", fix)

    def model_data(self, uri: str) -> Finding:
        account = self.identity["Account"]
        return model_data.check(self.aws, uri, account, on_sagemaker=self.on_sagemaker)

    def model_package(self, arn: str) -> Finding:
        """Check a package, which `cdk synth` reads only once, and then its artifact."""
        region = arn.split(":")[3] if arn.count(":") > 3 else ""
        try:
            client = self.aws.at(region).client("sagemaker")
            found = client.describe_model_package(ModelPackageName=arn)
        except ClientError as error:
            if code_of(error) != "ValidationException":
                raise
            return failure(f"there is no {arn}", "see `aws sagemaker list-model-packages`")
        if (status := found.get("ModelApprovalStatus")) != "Approved":
            fix = f"aws sagemaker update-model-package --model-package-arn {arn} "
            fix += "--model-approval-status Approved"
            return failure(f"{arn} is {status or 'without an approval'}, not Approved", fix)
        containers = found.get("InferenceSpecification", {}).get("Containers", [])
        if len(containers) != 1:
            fix = "register a package with one container, which names the artifact"
            return failure(f"{arn} has {len(containers)} containers", fix)
        return self.model_data(containers[0].get("ModelDataUrl", ""))


def _bootstrap_parameter(app: Path, stack_name: str) -> str:
    """Return the parameter's name from cdk.json, the last synthesis or the CDK's default."""
    if qualifier := cdk_context(app).get("@aws-cdk/core:bootstrapQualifier"):
        return BOOTSTRAP_PARAMETER.format(qualifier)
    default, assembly = BOOTSTRAP_PARAMETER.format(DEFAULT_QUALIFIER), app / "cdk.out/manifest.json"
    artifacts = json.loads(assembly.read_text())["artifacts"] if assembly.is_file() else {}
    wanted = artifacts.get(stack_name, {}).get("properties", {})
    return str(wanted.get("bootstrapStackVersionSsmParameter", default))

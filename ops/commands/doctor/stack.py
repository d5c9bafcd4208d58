"""Checks of the deployed stack: what it runs, what is left of it, what the next deployment changes.

A check raises one of AWS_ERRORS or CannotAsk where it could not ask.
"""

import re
import shlex
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from ops.aws import Aws, NoStack, stack_outputs
from ops.cli import cdk_context
from ops.commands.plan import KEYS_OUTPUT, changes, deployed_keys
from ops.findings import Finding, failure, ok, warning

# https://docs.aws.amazon.com/lambda/latest/dg/urls-configuration.html
_WITHOUT_URLS = (
    *("ap-east-2", "ap-south-2", "ap-southeast-4", "ap-southeast-5", "ap-southeast-6"),
    *("ap-southeast-7", "ca-west-1", "eu-central-2", "eu-south-2", "il-central-1", "me-central-1"),
)
_PARTITIONS_WITHOUT_URLS = ("cn-", "us-gov-", "us-iso", "eusc-")


class StackChecks:
    """Checks of one stack, which may not be deployed yet."""

    ENDPOINT_ACTIONS = "sagemaker:DescribeEndpoint and cloudformation:DescribeStackResources"

    def __init__(self, aws: Aws, stack_name: str) -> None:
        self.aws, self.stack_name = aws, stack_name

    @cached_property
    def outputs(self) -> Mapping[str, str]:
        try:
            return stack_outputs(self.aws, self.stack_name)
        except NoStack:
            return {}

    @property
    def deployed_keys(self) -> Mapping[str, str]:
        """Return the context keys without defaults; none of a stack that did not keep them."""
        return deployed_keys(self.outputs) if KEYS_OUTPUT in self.outputs else {}

    @property
    def reserved(self) -> int:
        """Return the executions that the deployed function has reserved."""
        return int(self.deployed_keys.get("lambda_reserved_concurrency", 0))

    def function_url(self, app: Path) -> Finding:
        """Check that the region offers function URLs, unless the stack has none."""
        region = self.aws.region
        if region not in _WITHOUT_URLS and not region.startswith(_PARTITIONS_WITHOUT_URLS):
            return ok(f"{region} offers them")
        url_auth = cdk_context(app).get("url_auth") or self.deployed_keys.get("url_auth")
        if url_auth == "off":
            return ok("url_auth=off: none is created")
        return failure(f"Lambda offers none in {region}", "cdk deploy -c url_auth=off")

    def alias(self) -> Finding:
        """Find an alias that still shares its calls out, which refuses other changes."""
        if not (arn := self.outputs.get("FunctionName")):
            return ok("none is deployed yet")
        name, _, alias = arn.rpartition(":")
        found = self.aws.client("lambda").get_alias(FunctionName=name, Name=alias)
        weights = (found.get("RoutingConfig") or {}).get("AdditionalVersionWeights")
        if not weights:
            return ok(f"{alias} leads to version {found['FunctionVersion']} alone")
        others = ", ".join(f"{share:.0%} to version {other}" for other, share in weights.items())
        return warning(
            f"{alias} leads to version {found['FunctionVersion']}, and {others}: a deployment goes "
            "on, or has left it so",
            "if none goes on: aws lambda update-alias --routing-config AdditionalVersionWeights={} "
            f"--name {alias} --function-name {name}",
        )

    def keys(self, app: Path) -> Finding:
        """Find what a plain `cdk deploy` would change: keys that only a `-c` had."""
        if not self.deployed_keys:
            return ok("none are deployed yet, or by a version of this app that did not keep them")
        found = list(changes(self.deployed_keys, cdk_context(app)))
        if not found:
            return ok("cdk.json has those that were deployed")
        given = (shlex.quote(f"{key}={value}") for key, value in self.deployed_keys.items())
        repeat = " ".join(f"-c {key}" for key in given)
        fix = f"write them to cdk.json, or repeat them: cdk deploy {repeat}"
        return warning(f"the next `cdk deploy` changes {'; '.join(found)}", fix)

    def endpoint(self) -> Finding:
        """Find an update that SageMaker rolled back after CloudFormation had reported success."""
        if not (name := self.outputs.get("EndpointName")):
            return ok("none is deployed yet")
        found = self.aws.client("sagemaker").describe_endpoint(EndpointName=name)
        runs = found["EndpointConfigName"]
        resources = self.aws.client("cloudformation").describe_stack_resources(
            StackName=self.stack_name
        )
        deployed = ", ".join(
            resource["PhysicalResourceId"].rpartition("/")[2]
            for resource in resources["StackResources"]
            if resource["ResourceType"] == "AWS::SageMaker::EndpointConfig"
            and resource.get("PhysicalResourceId")
        )
        if not deployed:
            says = f"{self.stack_name} has no endpoint config now; it is being changed"
            return warning(says, "run this again when the deployment is done")
        # CloudFormation may name it by its ARN, which SageMaker writes in lower case.
        if deployed.casefold() == runs.casefold():
            return ok(f"{name} runs what the stack deployed")
        return failure(
            f"{name} runs {runs}, and the stack deployed {deployed}: SageMaker rolled it back",
            "find the reason in the endpoint's log group, correct it and deploy again",
        )

    def log_groups(self) -> Finding:
        """Find groups that a late log line has made again after the stack had removed them."""
        prefix = f"/aws/sagemaker/Endpoints/{self.stack_name.lower()[:54].rstrip('-')}-"
        list_groups = self.aws.client("logs").get_paginator("describe_log_groups")
        pages = list_groups.paginate(logGroupNamePrefix=prefix)
        names = [group["logGroupName"] for page in pages for group in page["logGroups"]]
        # Not those of a stack whose longer name starts with this one.
        own = re.compile(re.escape(prefix) + "[0-9a-f]{8}")
        kept = f"/aws/sagemaker/Endpoints/{self.outputs.get('EndpointName', '')}"
        orphans = [name for name in names if own.fullmatch(name) and name != kept]
        if not orphans:
            return ok("none is left of a removed endpoint")
        delete = f"aws logs delete-log-group --region {self.aws.region} --log-group-name "
        return failure(
            f"{', '.join(orphans)}: left of a removed endpoint; the next one could not be created",
            " && ".join(delete + name for name in orphans),
        )

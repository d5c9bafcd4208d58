"""Checks of the deployed stack.

A check raises one of AWS_ERRORS or CannotAsk if AWS does not answer.
"""

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from ops.aws import Aws, NoStack, stack_outputs
from ops.cli import cdk_context
from ops.commands.plan import KEYS_OUTPUT, cdk_deploy, changes, deployed_keys
from ops.findings import Finding, failure, ok, warning

# https://docs.aws.amazon.com/lambda/latest/dg/urls-configuration.html
_WITHOUT_URLS = (
    *("ap-east-2", "ap-south-2", "ap-southeast-4", "ap-southeast-5", "ap-southeast-6"),
    *("ap-southeast-7", "ca-west-1", "eu-central-2", "eu-south-2", "il-central-1", "me-central-1"),
    *("cn-", "us-gov-", "us-iso", "eusc-"),  # whole partitions
)


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
        """Return the deployed context keys without defaults, if the stack kept them."""
        return deployed_keys(self.outputs) if KEYS_OUTPUT in self.outputs else {}

    def function_url(self, app: Path) -> Finding:
        """Check that the region offers function URLs, unless the stack has none."""
        region = self.aws.region
        if not region.startswith(_WITHOUT_URLS):
            return ok(f"{region} offers URLs")
        url_auth = cdk_context(app).get("url_auth") or self.deployed_keys.get("url_auth")
        if url_auth == "off":
            return ok("url_auth=off: no URL is created")
        return failure(f"Lambda offers no URLs in {region}", "cdk deploy -c url_auth=off")

    def alias(self) -> Finding:
        """Find an alias that splits its calls, which blocks other changes."""
        if not (arn := self.outputs.get("FunctionName")):
            return ok("no function is deployed yet")
        name, _, alias = arn.rpartition(":")
        found = self.aws.client("lambda").get_alias(FunctionName=name, Name=alias)
        weights = found.get("RoutingConfig", {}).get("AdditionalVersionWeights")
        if not weights:
            return ok(f"{alias} sends all calls to version {found['FunctionVersion']}")
        others = ", ".join(f"{share:.0%} to version {other}" for other, share in weights.items())
        says = f"{alias} sends calls to version {found['FunctionVersion']}, and {others}"
        reset = f"AdditionalVersionWeights={{}} --name {alias} --function-name {name}"
        fix = f"if none is running: aws lambda update-alias --routing-config {reset}"
        return warning(f"{says}: a deployment is running or was interrupted", fix)

    def keys(self, app: Path) -> Finding:
        """Find the deployed keys that are not in cdk.json, which a plain `cdk deploy` changes."""
        if not self.deployed_keys:
            return ok("no keys are deployed yet, or an older version of this app did not keep them")
        found = list(changes(self.deployed_keys, cdk_context(app)))
        if not found:
            return ok("cdk.json has the deployed keys")
        fix = f"write them to cdk.json, or repeat them: {cdk_deploy(self.deployed_keys)}"
        return warning(f"the next `cdk deploy` changes {'; '.join(found)}", fix)

    def endpoint(self) -> Finding:
        """Find an update that SageMaker rolled back after CloudFormation reported success."""
        if not (name := self.outputs.get("EndpointName")):
            return ok("no endpoint is deployed yet")
        found = self.aws.client("sagemaker").describe_endpoint(EndpointName=name)
        runs = found["EndpointConfigName"]
        cloudformation = self.aws.client("cloudformation")
        described = cloudformation.describe_stack_resources(StackName=self.stack_name)
        deployed = ", ".join(
            resource.get("PhysicalResourceId", "").rpartition("/")[2]
            for resource in described["StackResources"]
            if resource["ResourceType"] == "AWS::SageMaker::EndpointConfig"
        )
        if not deployed:
            says = f"{self.stack_name} has no endpoint config now; a deployment is changing it"
            return warning(says, "run this again when the deployment is done")
        # CloudFormation may return the ARN, which SageMaker writes in lower case.
        if deployed.casefold() == runs.casefold():
            return ok(f"{name} runs what the stack deployed")
        says = f"{name} runs {runs}, and the stack deployed {deployed}: SageMaker rolled it back"
        fix = "find the reason in the endpoint's log group, correct it and deploy again"
        return failure(says, fix)

    def log_groups(self) -> Finding:
        """Find log groups that a late line created again after the stack had removed them."""
        prefix = f"/aws/sagemaker/Endpoints/{self.stack_name.lower()[:54].rstrip('-')}-"
        paginator = self.aws.client("logs").get_paginator("describe_log_groups")
        pages = paginator.paginate(logGroupNamePrefix=prefix)
        names = [group["logGroupName"] for page in pages for group in page["logGroups"]]
        # Another stack's name may start with this stack's name.
        own = re.compile(re.escape(prefix) + "[0-9a-f]{8}")
        kept = f"/aws/sagemaker/Endpoints/{self.outputs.get('EndpointName', '')}"
        orphans = [name for name in names if own.fullmatch(name) and name != kept]
        if not orphans:
            return ok("no removed endpoint left a log group")
        delete = f"aws logs delete-log-group --region {self.aws.region} --log-group-name "
        says = f"a removed endpoint left {', '.join(orphans)}, so the next one cannot be created"
        return failure(says, " && ".join(delete + name for name in orphans))

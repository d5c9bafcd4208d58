"""Read with AWS's own calls what is deployed."""

from collections.abc import Mapping
from typing import Any

from integration.deploy.cloud import Cloud

STACK = "DualInferenceStack"
# A service, its list operation, the list in the answer, and the member that names an entry.
KINDS = """\
cloudformation describe_stacks Stacks StackName
lambda list_functions Functions FunctionName
sagemaker list_models Models ModelName
sagemaker list_endpoint_configs EndpointConfigs EndpointConfigName
sagemaker list_endpoints Endpoints EndpointName
iam list_roles Roles RoleName
logs describe_log_groups logGroups logGroupName
cloudwatch describe_alarms MetricAlarms AlarmName
cloudwatch list_dashboards DashboardEntries DashboardName
sns list_topics Topics TopicArn
s3 list_buckets Buckets Name
codedeploy list_applications applications -
scheduler list_schedules Schedules Name
application-autoscaling describe_scalable_targets ScalableTargets ResourceId
application-autoscaling describe_scaling_policies ScalingPolicies ResourceId"""


class Deployment:
    """The app's stack in a control plane. Digests are those of the running images."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self._lambda, self._sagemaker = cloud.client("lambda"), cloud.client("sagemaker")

    @property
    def stack(self) -> dict[str, Any]:
        [stack] = self.cloud.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
        return dict(stack)

    @property
    def outputs(self) -> dict[str, str]:
        return {output["OutputKey"]: output["OutputValue"] for output in self.stack["Outputs"]}

    @property
    def alias(self) -> str:
        return self.outputs["FunctionName"]

    @property
    def function(self) -> str:
        return self.alias.rpartition(":")[0]

    @property
    def endpoint(self) -> str:
        return self.outputs["EndpointName"]

    def lambda_digest(self) -> str:
        code = self._lambda.get_function(FunctionName=self.alias)["Code"]
        return str(code["ResolvedImageUri"]).partition("@")[2]

    def endpoint_digest(self) -> str:
        variants = self.endpoint_description()["ProductionVariants"]
        [image] = {image["ResolvedImage"] for v in variants for image in v["DeployedImages"]}
        return str(image).partition("@")[2]

    def endpoint_description(self) -> dict[str, Any]:
        return dict(self._sagemaker.describe_endpoint(EndpointName=self.endpoint))

    def version(self) -> str:
        name = self.alias.rpartition(":")[2]
        alias = self._lambda.get_alias(FunctionName=self.function, Name=name)
        return str(alias["FunctionVersion"])

    def rollouts(self) -> int:
        """Return how often CodeDeploy has moved the alias."""
        return len(self.cloud.client("codedeploy").list_deployments()["deployments"])

    def lambda_state(self) -> Any:
        """Return every part of the function that an update would change."""
        function = self._lambda.get_function(FunctionName=self.function)
        versions = self._lambda.list_versions_by_function(FunctionName=self.function)["Versions"]
        aliases = self._lambda.list_aliases(FunctionName=self.function)["Aliases"]
        return function["Configuration"], function["Code"], versions, aliases, self.rollouts()


def inventory(cloud: Cloud) -> dict[str, set[str]]:
    """Return the names of the account's resources, by kind, for each kind that the app creates."""
    found = {}
    for line in KINDS.splitlines():
        service, operation, member, name = line.split()
        asked = {"ServiceNamespace": "sagemaker"} if "scal" in operation else {}
        told = getattr(cloud.client(service), operation)(**asked)[member]
        found[f"{service} {member}"] = {e if name == "-" else e[name] for e in told}
    return found


def left_over(cloud: Cloud, before: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return what has been added, except for what an endpoint might still run."""
    kept = ("sagemaker Models", "sagemaker EndpointConfigs")
    after = inventory(cloud)
    assert {kind: names for kind, names in before.items() if names - after[kind]} == {}
    new = {kind: names - before[kind] for kind, names in after.items() if kind not in kept}
    return {kind: names for kind, names in new.items() if names}

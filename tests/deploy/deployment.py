"""What is deployed, as AWS's own calls tell it."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from deploy.cloud import Cloud

STACK = "DualInferenceStack"


@dataclass
class Deployment:
    """The app's stack in a control plane. A digest is `sha256:...` of what really runs."""

    cloud: Cloud

    @cached_property
    def _lambda(self) -> Any:
        return self.cloud.client("lambda")

    @cached_property
    def _sagemaker(self) -> Any:
        return self.cloud.client("sagemaker")

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
        """GetFunction's, of what the alias leads to."""
        code = self._lambda.get_function(FunctionName=self.alias)["Code"]
        return str(code["ResolvedImageUri"]).partition("@")[2]

    def endpoint_digest(self) -> str:
        """DescribeEndpoint's, of the one image that its instances run."""
        variants = self.endpoint_description()["ProductionVariants"]
        images = {image["ResolvedImage"] for v in variants for image in v["DeployedImages"]}
        [image] = images
        return str(image).partition("@")[2]

    def endpoint_description(self) -> dict[str, Any]:
        return dict(self._sagemaker.describe_endpoint(EndpointName=self.endpoint))

    def version(self) -> str:
        """The version that the alias leads to."""
        name = self.alias.rpartition(":")[2]
        alias = self._lambda.get_alias(FunctionName=self.function, Name=name)
        return str(alias["FunctionVersion"])

    def rollouts(self) -> int:
        """How often CodeDeploy has moved the alias."""
        return len(self.cloud.client("codedeploy").list_deployments()["deployments"])

    def lambda_state(self) -> Any:
        """Everything of the function that an update would change."""
        function = self._lambda.get_function(FunctionName=self.function)
        versions = self._lambda.list_versions_by_function(FunctionName=self.function)["Versions"]
        aliases = self._lambda.list_aliases(FunctionName=self.function)["Aliases"]
        return function["Configuration"], function["Code"], versions, aliases, self.rollouts()


def inventory(cloud: Cloud) -> dict[str, set[str]]:
    """What the account holds, by kind: every kind that the app makes."""
    names: dict[tuple[str, str, str], str] = {
        ("cloudformation", "describe_stacks", "Stacks"): "StackName",
        ("lambda", "list_functions", "Functions"): "FunctionName",
        ("sagemaker", "list_models", "Models"): "ModelName",
        ("sagemaker", "list_endpoint_configs", "EndpointConfigs"): "EndpointConfigName",
        ("sagemaker", "list_endpoints", "Endpoints"): "EndpointName",
        ("iam", "list_roles", "Roles"): "RoleName",
        ("logs", "describe_log_groups", "logGroups"): "logGroupName",
        ("cloudwatch", "describe_alarms", "MetricAlarms"): "AlarmName",
        ("cloudwatch", "list_dashboards", "DashboardEntries"): "DashboardName",
        ("sns", "list_topics", "Topics"): "TopicArn",
        ("s3", "list_buckets", "Buckets"): "Name",
        ("codedeploy", "list_applications", "applications"): "",
    }
    found = {
        f"{service} {member}": {
            entry[name] if name else entry
            for entry in getattr(cloud.client(service), operation)()[member]
        }
        for (service, operation, member), name in names.items()
    }
    scaling = cloud.client("application-autoscaling")
    for operation, member in (
        ("describe_scalable_targets", "ScalableTargets"),
        ("describe_scaling_policies", "ScalingPolicies"),
    ):
        told = getattr(scaling, operation)(ServiceNamespace="sagemaker")[member]
        found[f"application-autoscaling {member}"] = {entry["ResourceId"] for entry in told}
    return found

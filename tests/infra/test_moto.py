"""The template's parts, created: moto takes what its CloudFormation knows, and the API of each
service, behind AWS's own client, takes the rest as the template has it.

moto's CloudFormation names the endpoint itself and leaves out the function's /tmp.
"""

import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest

from created import REGION, Client, Created, moto
from templates import CONFIGURATIONS, canonical

SCALING = "AWS::ApplicationAutoScaling"
NAMES = ["lambda", "sagemaker", "async_from_none", "everything"]
on_lambda = pytest.mark.parametrize("created", ["lambda", "everything"], indirect=True)
on_sagemaker = pytest.mark.parametrize("created", NAMES[1:], indirect=True)
on_any = pytest.mark.parametrize("created", NAMES, indirect=True)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with moto() as running:
        yield running


@pytest.fixture(scope="module")
def create(client: Client, synthesize: Any) -> Callable[[str], Created]:
    @cache
    def create(configuration: str) -> Created:
        name = configuration.replace("_", "-")
        stack = synthesize(stack_name=name, **CONFIGURATIONS[configuration])
        return Created(client, name, stack)

    return create


@pytest.fixture
def created(request: pytest.FixtureRequest, create: Callable[[str], Created]) -> Created:
    return create(request.param)


@on_lambda
def test_the_function(created: Created) -> None:
    client = created.client("lambda")
    name = created.id_of("AWS::Lambda::Function")
    made = client.get_function(FunctionName=name)
    properties = created.value(created.stack.only("AWS::Lambda::Function")[1])
    configuration = made["Configuration"]
    for key in ("MemorySize", "Timeout", "Architectures"):
        assert configuration[key] == properties[key]
    assert configuration["Environment"] == properties["Environment"]
    assert made["Code"]["ImageUri"] == properties["Code"]["ImageUri"]
    assert created.is_role(configuration["Role"], properties["Role"])
    reserved = made.get("Concurrency", {}).get("ReservedConcurrentExecutions")
    assert reserved == properties.get("ReservedConcurrentExecutions")
    for key, ids in properties.get("VpcConfig", {}).items():
        assert configuration["VpcConfig"][key] == ids
    versions = client.list_versions_by_function(FunctionName=name)["Versions"]
    assert [version["Version"] for version in versions] == ["$LATEST", "1"]


@on_lambda
def test_the_alias_and_its_url(created: Created) -> None:
    client = created.client("lambda")
    name = created.id_of("AWS::Lambda::Function")
    _, alias = created.stack.only("AWS::Lambda::Alias")
    client.create_alias(FunctionName=name, Name=alias["Name"], FunctionVersion="1")
    _, url = created.stack.only("AWS::Lambda::Url")
    given = {key: url[key] for key in ("AuthType", "Cors", "Qualifier") if key in url}
    client.create_function_url_config(FunctionName=name, **given)
    made = client.get_function_url_config(FunctionName=name, Qualifier=url["Qualifier"])
    assert made["AuthType"] == url["AuthType"]
    for key, value in url.get("Cors", {}).items():
        assert made["Cors"][key] == value
    for index, permission in enumerate(created.stack.resources("AWS::Lambda::Permission").values()):
        properties = {k: v for k, v in permission["Properties"].items() if k != "FunctionName"}
        client.add_permission(FunctionName=name, StatementId=str(index), **properties)


@on_any
def test_the_roles_and_what_they_may_do(created: Created) -> None:
    client = created.client("iam")
    roles = created.stack.resources("AWS::IAM::Role")
    for logical, role in roles.items():
        made = client.get_role(RoleName=created.ids[logical])["Role"]
        assert made["AssumeRolePolicyDocument"] == role["Properties"]["AssumeRolePolicyDocument"]
        policies = {
            policy["PolicyName"]: policy["PolicyDocument"]["Statement"]
            for policy in created.stack.policies_of(logical).values()
        }
        names = client.list_role_policies(RoleName=created.ids[logical])["PolicyNames"]
        assert sorted(names) == sorted(policies)
        size = 0
        for name, written in policies.items():
            found = client.get_role_policy(RoleName=created.ids[logical], PolicyName=name)
            document = found["PolicyDocument"]
            actions = [statement["Action"] for statement in document["Statement"]]
            assert actions == [statement["Action"] for statement in written]
            size += len(json.dumps(document))
        assert size < 10_240  # IAM's limit for all of a role's


@on_any
def test_the_log_groups(created: Created) -> None:
    client = created.client("logs")
    for logical, group in created.stack.resources("AWS::Logs::LogGroup").items():
        (made,) = client.describe_log_groups(logGroupNamePrefix=created.ids[logical])["logGroups"]
        assert made["retentionInDays"] == group["Properties"]["RetentionInDays"]
    for metric_filter in created.stack.resources("AWS::Logs::MetricFilter").values():
        properties = created.value(metric_filter["Properties"])
        (transformation,) = properties["MetricTransformations"]
        client.put_metric_filter(
            logGroupName=properties["LogGroupName"],
            filterName="cold-starts",
            filterPattern=properties["FilterPattern"],
            metricTransformations=[lowered(transformation)],
        )


@on_sagemaker
def test_the_endpoint_its_config_and_its_model(created: Created) -> None:
    client = created.client("sagemaker")
    name = created.id_of("AWS::SageMaker::Endpoint")
    endpoint = client.describe_endpoint(EndpointName=name)
    assert endpoint["EndpointStatus"] == "InService"
    config = client.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
    properties = created.value(created.stack.only("AWS::SageMaker::EndpointConfig")[1])
    (variant,) = config["ProductionVariants"]
    (written,) = properties["ProductionVariants"]
    model = variant.pop("ModelName")
    assert variant == {key: value for key, value in written.items() if key != "ModelName"}
    for key in ("DataCaptureConfig", "AsyncInferenceConfig"):
        assert (config.get(key) or {}) == properties.get(key, {})
    properties = created.value(created.stack.only("AWS::SageMaker::Model")[1])
    made = client.describe_model(ModelName=model)
    assert made["PrimaryContainer"] == properties["PrimaryContainer"]
    assert made["EnableNetworkIsolation"] == properties["EnableNetworkIsolation"]
    assert made["VpcConfig"] == properties.get("VpcConfig", {})
    assert created.is_role(made["ExecutionRoleArn"], properties["ExecutionRoleArn"])


@on_any
def test_the_endpoint_is_scaled(created: Created) -> None:
    client = created.client("application-autoscaling")
    bounds = {}
    for logical, target in created.stack.resources(f"{SCALING}::ScalableTarget").items():
        properties = target["Properties"]
        if properties["ServiceNamespace"] == "sagemaker":
            bounds[logical] = created.value(properties)
            client.register_scalable_target(**bounds[logical])
            (made,) = client.describe_scalable_targets(
                ServiceNamespace="sagemaker", ResourceIds=[bounds[logical]["ResourceId"]]
            )["ScalableTargets"]
            assert bounds[logical].items() <= made.items()
    for policy in created.stack.resources(f"{SCALING}::ScalingPolicy").values():
        properties = created.value(
            {k: v for k, v in policy["Properties"].items() if k != "ScalingTargetId"}
        )
        if target := bounds.get(policy["Properties"]["ScalingTargetId"]["Ref"]):
            keys = ("ServiceNamespace", "ResourceId", "ScalableDimension")
            client.put_scaling_policy(**properties, **{key: target[key] for key in keys})


@on_any
def test_the_alarms(created: Created) -> None:
    client = created.client("cloudwatch")
    for logical, alarm in created.stack.resources("AWS::CloudWatch::Alarm").items():
        properties = created.value(alarm["Properties"])
        client.put_metric_alarm(AlarmName=logical, **properties)
        (made,) = client.describe_alarms(AlarmNames=[logical])["MetricAlarms"]
        for key in ("Threshold", "ComparisonOperator", "TreatMissingData", "EvaluationPeriods"):
            assert made[key] == properties[key]


@on_any
def test_the_dashboard(created: Created) -> None:
    client = created.client("cloudwatch")
    _, properties = created.stack.only("AWS::CloudWatch::Dashboard")
    name = created.id_of("AWS::CloudWatch::Dashboard")
    made = json.loads(client.get_dashboard(DashboardName=name)["DashboardBody"])
    body = json.loads(canonical(properties["DashboardBody"]))
    assert len(made["widgets"]) == len(body["widgets"])
    for widget in made["widgets"]:
        assert widget["properties"].get("region", REGION) == REGION


@pytest.mark.parametrize("created", ["async_from_none", "everything"], indirect=True)
def test_the_bucket_and_the_topics(created: Created) -> None:
    client = created.client("s3")
    bucket = created.id_of("AWS::S3::Bucket")
    encryption = client.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]
    (rule,) = encryption["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    for policy in created.stack.resources("AWS::S3::BucketPolicy").values():
        document = json.dumps(created.value(policy["Properties"]["PolicyDocument"]))
        client.put_bucket_policy(Bucket=bucket, Policy=document)
    for logical in created.stack.resources("AWS::SNS::Topic"):
        created.client("sns").get_topic_attributes(TopicArn=created.ids[logical])
    for subscription in created.stack.resources("AWS::SNS::Subscription").values():
        given = created.value(subscription["Properties"])
        created.client("sns").subscribe(**given)


@on_lambda
def test_codedeploy(created: Created) -> None:
    client = created.client("codedeploy")
    _, application = created.stack.only("AWS::CodeDeploy::Application")
    _, group = created.stack.only("AWS::CodeDeploy::DeploymentGroup")
    name = created.name
    client.create_application(applicationName=name, computePlatform=application["ComputePlatform"])
    written = lowered(created.value(group)) | {"applicationName": name}
    client.create_deployment_group(deploymentGroupName="live", **written)
    made = client.get_deployment_group(applicationName=name, deploymentGroupName="live")
    made = made["deploymentGroupInfo"]
    assert made["deploymentConfigName"] == group["DeploymentConfigName"]


def lowered(value: Any) -> Any:
    """With names as CodeDeploy and CloudWatch Logs have them: serviceRoleArn for ServiceRoleArn."""
    if isinstance(value, list):
        return [lowered(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key[0].lower() + key[1:]: lowered(item) for key, item in value.items()}

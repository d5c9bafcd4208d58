"""`grant_invoke` of each target."""

from pathlib import Path

import pytest

from support.templates import canonical, listed


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_caller_may_only_use_the_target(asynchronous: bool, tmp_path: Path) -> None:
    from aws_cdk import App, Stack
    from aws_cdk.assertions import Template
    from aws_cdk.aws_iam import AccountRootPrincipal, Role

    from infra.common.access import Network
    from infra.image.asset import Image
    from infra.lambda_target.target import LambdaTarget
    from infra.sagemaker_target.capacity import Instances
    from infra.sagemaker_target.target import SageMakerTarget

    stack = Stack(App(outdir=str(tmp_path)), "Grants")
    image = Image(stack, "Image", model_name="efficientnet_lite0")
    network = Network()
    caller = Role(stack, "Caller", assumed_by=AccountRootPrincipal())
    on_lambda = LambdaTarget(stack, "Lambda", image=image, network=network)
    on_lambda.grant_invoke(caller).assert_success()
    on_sagemaker = SageMakerTarget(
        stack,
        "SageMaker",
        image=image,
        network=network,
        capacity=Instances(),
        asynchronous=asynchronous,
    )
    on_sagemaker.grant_invoke(caller).assert_success()
    endpoint_name = on_sagemaker.endpoint_name
    template = Template.from_stack(stack).to_json()
    (policy,) = (
        resource["Properties"]["PolicyDocument"]["Statement"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::IAM::Policy" and name.startswith("Caller")
    )

    def named(kind: str) -> list[str]:
        return [n for n, r in template["Resources"].items() if r["Type"] == kind]

    (alias,) = named("AWS::Lambda::Alias")
    granted: dict[str, set[str]] = {}
    for statement in policy:
        for action in listed(statement["Action"]):
            found = {canonical(resource) for resource in listed(statement["Resource"])}
            granted.setdefault(action, set()).update(found)
    # Direct invocation is allowed too: this statement is not limited to the URL.
    assert [s for s in policy if s["Action"] == "lambda:InvokeFunction" and "Condition" not in s]
    endpoints = "arn:${AWS::Partition}:sagemaker:${AWS::Region}:${AWS::AccountId}:endpoint/"
    expected = {
        "lambda:InvokeFunctionUrl": {f"${{{alias}}}"},
        "lambda:InvokeFunction": {f"${{{alias}}}"},
        f"sagemaker:InvokeEndpoint{'Async' * asynchronous}": {f"{endpoints}{endpoint_name}"},
    }
    # Callers of an asynchronous endpoint may put requests and get answers.
    for bucket in named("AWS::S3::Bucket"):
        arn = f"${{{bucket}.Arn}}"
        expected["s3:PutObject"] = {f"{arn}/input/*"}
        expected["s3:GetObject"] = {f"{arn}/output/*", f"{arn}/failure/*"}
        expected["s3:ListBucket"] = {arn}
    assert granted == expected

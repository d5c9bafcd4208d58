"""`grant_invoke` of each target."""

from pathlib import Path

import pytest

from support.templates import allows, canonical, listed


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
    template = Template.from_stack(stack).to_json()
    (policy,) = (
        resource["Properties"]["PolicyDocument"]["Statement"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::IAM::Policy" and name.startswith("Caller")
    )

    def named(kind: str) -> list[str]:
        return [n for n, r in template["Resources"].items() if r["Type"] == kind]

    (alias,) = named("AWS::Lambda::Alias")
    resources: dict[str, set[str]] = {}
    for statement in policy:
        for action in listed(statement["Action"]):
            found = {canonical(resource) for resource in listed(statement["Resource"])}
            resources.setdefault(action, set()).update(found)
    invoke = "sagemaker:InvokeEndpoint" + ("Async" if asynchronous else "")
    (endpoint_arn,) = resources.pop(invoke)
    assert endpoint_arn.endswith(f":endpoint/{on_sagemaker.endpoint_name}")
    assert resources.pop("lambda:InvokeFunctionUrl") == {f"${{{alias}}}"}
    assert resources.pop("lambda:InvokeFunction") == {f"${{{alias}}}"}
    # Direct invocation is allowed too: this statement is not limited to the URL.
    assert [s for s in policy if s["Action"] == "lambda:InvokeFunction" and "Condition" not in s]
    assert all(action.startswith("s3:") for action in resources)
    assert bool(resources) == asynchronous
    # Callers of an asynchronous endpoint may put requests and get answers.
    assert len(named("AWS::S3::Bucket")) == asynchronous
    for bucket in named("AWS::S3::Bucket"):
        arn = f"${{{bucket}.Arn}}"
        assert allows(policy, "s3:PutObject", f"{arn}/input/cat.jpg")
        assert not allows(policy, "s3:PutObject", f"{arn}/output/1.out")
        assert allows(policy, "s3:GetObject", f"{arn}/output/1.out")
        assert allows(policy, "s3:GetObject", f"{arn}/failure/1.out")
        assert not allows(policy, "s3:GetObject", f"{arn}/input/cat.jpg")
        assert not allows(policy, "s3:DeleteObject", f"{arn}/output/1.out")

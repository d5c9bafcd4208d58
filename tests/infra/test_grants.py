"""What `grant_invoke` of each target gives to a caller."""

from pathlib import Path
from typing import Any

import pytest

from templates import allows, canonical, listed


@pytest.fixture(params=["realtime", "async"])
def granted(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, list[Any], Any]:
    """A stack of both targets, what its caller is granted, and the SageMaker target."""
    from aws_cdk import App, Stack
    from aws_cdk.assertions import Template
    from aws_cdk.aws_iam import AccountRootPrincipal, Role

    from infra.config import Config
    from infra.image import Image
    from infra.lambda_target import LambdaTarget
    from infra.sagemaker_target import SageMakerTarget

    stack = Stack(App(outdir=str(tmp_path)), "Grants")
    config = Config(mode="both", sagemaker_type=request.param)
    image = Image(stack, "Image", config=config, docker_outputs=None)
    caller = Role(stack, "Caller", assumed_by=AccountRootPrincipal())
    LambdaTarget(stack, "Lambda", image=image, config=config).grant_invoke(caller).assert_success()
    on_sagemaker = SageMakerTarget(stack, "SageMaker", image=image, config=config)
    on_sagemaker.grant_invoke(caller).assert_success()
    template = Template.from_stack(stack).to_json()
    (policy,) = (
        resource["Properties"]["PolicyDocument"]["Statement"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::IAM::Policy" and name.startswith("Caller")
    )
    return template, policy, on_sagemaker


def test_grants_name_the_one_target(granted: tuple[Any, list[Any], Any]) -> None:
    template, policy, on_sagemaker = granted
    (alias,) = (
        name
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Lambda::Alias"
    )
    resources: dict[str, set[str]] = {}
    for statement in policy:
        for action in listed(statement["Action"]):
            named = {canonical(resource) for resource in listed(statement["Resource"])}
            resources.setdefault(action, set()).update(named)
    invoke = "sagemaker:InvokeEndpoint" + ("Async" if on_sagemaker.work else "")
    (endpoint_arn,) = resources.pop(invoke)
    assert endpoint_arn.endswith(f":endpoint/{on_sagemaker.endpoint_name}")
    assert resources.pop("lambda:InvokeFunctionUrl") == {f"${{{alias}}}"}
    assert resources.pop("lambda:InvokeFunction") == {f"${{{alias}}}"}
    # Direct invocation is among them: one that is not bound to the URL.
    assert [s for s in policy if s["Action"] == "lambda:InvokeFunction" and "Condition" not in s]
    assert all(action.startswith("s3:") for action in resources)
    assert bool(resources) == bool(on_sagemaker.work)


def test_who_may_invoke_asynchronously_may_hand_in_and_collect(
    granted: tuple[Any, list[Any], Any],
) -> None:
    template, policy, on_sagemaker = granted
    buckets = [n for n, r in template["Resources"].items() if r["Type"] == "AWS::S3::Bucket"]
    assert bool(buckets) == bool(on_sagemaker.work)
    for bucket in buckets:
        arn = f"${{{bucket}.Arn}}"
        assert allows(policy, "s3:PutObject", f"{arn}/input/cat.jpg")
        assert not allows(policy, "s3:PutObject", f"{arn}/output/1.out")
        assert allows(policy, "s3:GetObject", f"{arn}/output/1.out")
        assert allows(policy, "s3:GetObject", f"{arn}/failure/1.out")
        assert not allows(policy, "s3:GetObject", f"{arn}/input/cat.jpg")
        assert not allows(policy, "s3:DeleteObject", f"{arn}/output/1.out")

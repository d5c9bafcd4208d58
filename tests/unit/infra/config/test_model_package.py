"""Packages of SageMaker's Model Registry, with the answer of the CDK's look-up."""

from typing import Any

import pytest

from infra.config.context import ConfigError
from support.model_registry import ARN, CONTAINER, assert_served
from support.templates import MODEL_ID


@pytest.fixture
def with_package(synthesize_anew: Any) -> Any:
    """`with_package(PACKAGE, **keys)` returns the stack if the look-up finds this package."""

    def with_package(package: dict[str, Any], **keys: str) -> Any:
        keys = {"mode": "both", "model_package_arn": ARN, **keys}
        (asked,) = synthesize_anew(**keys).missing
        return synthesize_anew(**keys, **{asked["key"]: [package]})

    return with_package


def package(*containers: dict[str, Any]) -> dict[str, Any]:
    specification = {"InferenceSpecification.Containers": [*containers]}
    return {**specification, "ModelApprovalStatus": "Approved", "Identifier": ARN}


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in CONTAINER.items() if name not in names}


def test_its_model_id_may_be_given_as_a_key(with_package: Any) -> None:
    assert_served(with_package(package(without("Environment")), model_id=MODEL_ID))
    assert_served(with_package(package(CONTAINER), model_id=MODEL_ID))


# The answer of the look-up, and the start of the message.
REFUSED: list[tuple[dict[str, Any], str]] = [
    (package(CONTAINER, CONTAINER), "it has 2 containers, and both targets serve one"),
    (package(without("ModelDataUrl")), "its ModelDataUrl is None, and it must be s3://BUCKET/KEY"),
    (
        package(without("Environment")),
        "its container has MODEL_ID=None, and the key model_id is None: ",
    ),
    (package(CONTAINER), f"its container has MODEL_ID={MODEL_ID}, and the key model_id is 1"),
    # The Model Registry accepts a package without one of these fields.
    ({"ModelApprovalStatus": "Approved"}, "it has 0 containers, and both targets serve one"),
    (
        {"InferenceSpecification.Containers": [CONTAINER]},
        "it is not Approved, and only Approved packages are deployed",
    ),
]


@pytest.mark.parametrize(("found", "said"), REFUSED)
def test_a_package_that_cannot_be_deployed(
    with_package: Any, found: dict[str, Any], said: str
) -> None:
    keys = {"model_id": "1" * 64} if "model_id is 1" in said else {}
    with pytest.raises(ConfigError) as caught:
        with_package(found, **keys)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"model_package_arn='{ARN}': {said}")


def test_versions_are_looked_up_separately(synthesize_anew: Any) -> None:
    arns = [ARN, ARN.replace("/1", "/2")]
    stacks = [synthesize_anew(mode="lambda", model_package_arn=arn) for arn in arns]
    keys = {m["key"] for stack in stacks for m in stack.missing}
    assert len(keys) == 2

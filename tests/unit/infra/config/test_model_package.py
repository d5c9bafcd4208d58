"""A package of SageMaker's Model Registry, given what the CDK's look-up has answered."""

from collections.abc import Callable
from typing import Any

import pytest

from infra.config.context import ConfigError
from support.model_registry import ARN, CONTAINER, assert_served
from support.templates import MODEL_ID, Synthesized


@pytest.fixture
def with_package(
    synthesize_anew: Callable[..., Synthesized],
) -> Callable[..., Synthesized]:
    """`with_package(PACKAGE, **keys)`: the stack where the look-up has this answer."""

    def with_package(package: dict[str, Any], **keys: str) -> Synthesized:
        keys = {"mode": "both", "model_package_arn": ARN, **keys}
        first = synthesize_anew(**keys)
        ((asked),) = first.missing
        return synthesize_anew(**keys, **{asked["key"]: [package]})

    return with_package


def package(*containers: dict[str, Any], status: str = "Approved") -> dict[str, Any]:
    return {
        "InferenceSpecification.Containers": [*containers],
        "ModelApprovalStatus": status,
        "Identifier": ARN,
    }


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in CONTAINER.items() if name not in names}


def test_its_model_id_may_be_given_as_a_key(with_package: Callable[..., Synthesized]) -> None:
    assert_served(with_package(package(without("Environment")), model_id=MODEL_ID))
    assert_served(with_package(package(CONTAINER), model_id=MODEL_ID))


DATA_RULE = "s3://BUCKET/KEY.tar.gz, in a bucket of this account"
FOLDER = "s3://models-of-ours/cats/"
# What a package has, and what is said of it.
REFUSED: list[tuple[dict[str, Any], str]] = [
    (package(), "it has 0 containers, and both targets serve one"),
    (package(CONTAINER, CONTAINER), "it has 2 containers, and both targets serve one"),
    (
        package(without("ModelDataUrl")),
        f"its ModelDataUrl is None, and it must be {DATA_RULE}",
    ),
    (
        package({**CONTAINER, "ModelDataUrl": FOLDER}),
        f"its ModelDataUrl is '{FOLDER}', and it must be {DATA_RULE}",
    ),
    (
        package(without("Environment")),
        "it has no model id: neither MODEL_ID in its container's environment nor the key "
        "model_id; `python -m ops package` prints it",
    ),
]


@pytest.mark.parametrize(("found", "said"), REFUSED)
def test_a_package_that_cannot_be_deployed(
    with_package: Callable[..., Synthesized], found: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        with_package(found)
    assert str(caught.value) == f"model_package_arn='{ARN}': {said}"


def test_a_rejected_package_and_one_of_another_model_id(
    with_package: Callable[..., Synthesized],
) -> None:
    with pytest.raises(
        ConfigError, match="it is Rejected, and only Approved packages are deployed"
    ):
        with_package(package(CONTAINER, status="Rejected"))
    with pytest.raises(ConfigError, match=f"its MODEL_ID is {MODEL_ID}, and model_id asks for 111"):
        with_package(package(CONTAINER), model_id="1" * 64)


@pytest.mark.parametrize(
    ("lacking", "said"),
    [
        ("InferenceSpecification.Containers", "it has no InferenceSpecification, which names"),
        ("ModelApprovalStatus", "it is not Approved, and only Approved packages are deployed"),
    ],
)
def test_a_package_that_lacks_a_field(
    with_package: Callable[..., Synthesized], lacking: str, said: str
) -> None:
    """The Model Registry takes a package without either."""
    known = {name: value for name, value in package(CONTAINER).items() if name != lacking}
    with pytest.raises(ConfigError, match=said):
        with_package(known)


def test_versions_are_looked_up_apart(synthesize_anew: Callable[..., Synthesized]) -> None:
    """What is known of one says nothing of another."""
    arns = [ARN, ARN.replace("/1", "/2")]
    stacks = [synthesize_anew(mode="lambda", model_package_arn=arn) for arn in arns]
    keys = {m["key"] for stack in stacks for m in stack.missing}
    assert len(keys) == 2

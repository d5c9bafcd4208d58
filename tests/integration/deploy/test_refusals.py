"""The control plane refuses what AWS refuses. These tests need neither Docker nor MiniStack."""

import json
import re
from ast import literal_eval
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from integration.deploy.plane import rules
from integration.deploy.plane.rules import DOCKER_MANIFEST, INDEXES
from integration.deploy.plane.shapes import Refused

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/assets:tag"
ROLE = "arn:aws:iam::123456789012:role/endpoint"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"

# Valid properties, into which the tests plant violations.
VALID: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("valid.json").read_text())
OUTPUT = {"OutputConfig": {"S3OutputPath": "s3://bucket/out"}}
ALL = {"Type": "INSTANCE_COUNT", "Value": 2}
ROLLING = {"MaximumBatchSize": ALL, "WaitIntervalInSeconds": 300}
TRAFFIC = "DeploymentConfig.BlueGreenUpdatePolicy.TrafficRoutingConfiguration"


@dataclass
class World:
    """An account with one image, one model archive, one alarm and one role that may use them."""

    media_type: str | None = DOCKER_MANIFEST
    forbidden: str = ""
    alarm: str = "faults"

    def manifest_type(self, image: str) -> str | None:
        return self.media_type

    def repository_arn(self, image: str) -> str:
        return "arn:aws:ecr:us-east-1:123456789012:repository/assets"

    def role_allows(self, role_arn: str, service: str, action: str, resource: str) -> bool:
        return role_arn == ROLE and action != self.forbidden

    def object_exists(self, url: str) -> bool:
        return url == "s3://bucket/model.tar.gz"

    def alarm_arn(self, name: str) -> str | None:
        return f"arn:aws:cloudwatch:us-east-1:123:alarm:{name}" if name == self.alarm else None


Check = Callable[[str, World], None]


def changed(valid: str, change: str) -> dict[str, Any]:
    """Apply `A.0.B=LITERAL`, which sets the member, or `A.0.B`, which removes it."""
    inner: Any = (copied := deepcopy(VALID[valid]))
    place, equals, literal = change.partition("=")
    *path, last = [int(step) if step.isdigit() else step for step in place.split(".")]
    for step in path:
        inner = inner[step]
    if equals:
        inner[last] = literal_eval(literal)
    elif change:
        del inner[last]
    return copied


def model(change: str, world: World) -> None:
    rules.check_model(changed("model", change), world)


def config(change: str, _world: World) -> None:
    rules.check_endpoint_config(changed("config", change), {"model": VALID["model"]})


def endpoint(change: str, world: World) -> None:
    rules.check_endpoint(changed("endpoint", change), {"config": VALID["config"]}, ROLE, world)


def update(change: str, _world: World) -> None:
    rules.check_endpoint_change(VALID["config"], changed("config", change), is_scaled=True)


def target(change: str, _world: World) -> None:
    resources = {VALID["target"]["ResourceId"]: "realtime"}
    rules.check_scalable_target(changed("target", change), resources)


def function(_change: str, world: World) -> None:
    rules.check_lambda_image(IMAGE, world)
    rules.check_lambda_model_data(ROLE, "s3://bucket/model.tar.gz", world)


@pytest.mark.parametrize(
    ("check", "change", "message"),
    [
        (model, f"PrimaryContainer.Environment.A='{'é' * 600}'", "over 1024 bytes"),
        (model, "PrimaryContainer.ModelDataUrl='s3://bucket/x'", "Could not find model data"),
        (config, "ProductionVariants.0.Instances=1", "Unknown parameter in ProductionVariants[0]"),
        (config, "ProductionVariants.0.InstanceType", "InstanceType and InitialInstanceCount"),
        (endpoint, f"{TRAFFIC}.CanarySize.Value=51", "50 % at most"),
        (endpoint, f"DeploymentConfig.RollingUpdatePolicy={ROLLING}", "5 to 50 % of them"),
        (update, f"AsyncInferenceConfig={OUTPUT}", "from realtime to async"),
        (update, "ProductionVariants.0.InstanceType='ml.c5.large'", "has a scalable target"),
        (update, "ProductionVariants.0.VariantName='Other'", "keeps the names of the variants"),
        (target, "ResourceId='endpoint/other/variant/AllTraffic'", "No such resource"),
        (target, "MinCapacity=0", "scales to zero"),
    ],
)
def test_properties(check: Check, change: str, message: str) -> None:
    check("", World())  # accepted without the change
    with pytest.raises(Refused, match=re.escape(message)):
        check(change, World())


@pytest.mark.parametrize(
    ("check", "world", "message"),
    [
        (model, World(media_type=OCI_MANIFEST), "Unsupported manifest media type"),
        (model, World(forbidden="ecr:BatchGetImage"), "ecr:BatchGetImage"),
        (endpoint, World(alarm="other"), "alarm faults does not exist"),
        (endpoint, World(forbidden="cloudwatch:DescribeAlarms"), "cloudwatch:DescribeAlarms"),
        (function, World(media_type=INDEXES[1]), "not supported"),
        (function, World(forbidden="s3:GetObject"), "may not read"),
    ],
)
def test_accounts(check: Check, world: World, message: str) -> None:
    with pytest.raises(Refused, match=re.escape(message)):
        check("", world)

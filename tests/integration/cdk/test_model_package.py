"""The real CDK CLI looks up a package of SageMaker's Model Registry once, for both targets.

moto is the registry. It lacks the Cloud Control API, which the CLI calls, so a server here answers
such calls from moto's registry.
"""

import json
import os
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from aws_cdk.aws_sagemaker import CfnModelPackage
from botocore.exceptions import ClientError

from ops.local_servers import ROOT
from support.model_registry import ARN, CONTAINER, REGION, assert_served, moto
from support.programs import Done, cdk
from support.templates import Synthesized
from support.upstream import Handler, listening


@dataclass
class Project:
    """A folder with our cdk.json, to which the CLI adds cdk.context.json, and an account."""

    folder: Path
    environment: dict[str, str]
    sagemaker: Any
    lookups: list[str] = field(default_factory=list)  # that the registry has answered

    def register(self, status: str = "Approved") -> str:
        """Create a version of the group `cats` and return its ARN."""
        types = {
            "SupportedContentTypes": ["image/jpeg"],
            "SupportedResponseMIMETypes": ["application/json"],
        }
        created = self.sagemaker.create_model_package(
            ModelPackageGroupName="cats",
            ModelApprovalStatus=status,
            InferenceSpecification={"Containers": [CONTAINER], **types},
        )
        return str(created["ModelPackageArn"])

    def cdk(self, *arguments: str) -> Done:
        return cdk(*arguments, cwd=self.folder, env=self.environment)

    def synth(self, arn: str) -> Done:
        return self.cdk("synth", "--quiet", "-c", "mode=both", "-c", f"model_package_arn={arn}")

    def assert_served(self, arn: str) -> None:
        done = self.synth(arn)
        assert done.returncode == 0, done.stderr
        assert_served(Synthesized(self.folder / "cdk.out", "DualInferenceStack"))

    def refusal(self, arn: str) -> str:
        """Return the only line of an error."""
        done = self.synth(arn)
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        (line,) = (line for line in done.stderr.splitlines() if "Subprocess exited" not in line)
        return line


def cloud_control(project: Project) -> type[Handler]:
    class CloudControl(Handler):
        def reply(self, body: bytes) -> None:
            asked = json.loads(body)
            assert self.headers["X-Amz-Target"].endswith(".GetResource")
            assert asked["TypeName"] == CfnModelPackage.CFN_RESOURCE_TYPE_NAME
            arn = asked["Identifier"]
            project.lookups.append(arn)
            try:
                found = project.sagemaker.describe_model_package(ModelPackageName=arn)
            except ClientError as error:
                said = {"__type": "ResourceNotFoundException", "Message": str(error)}
                self.answer(400, json.dumps(said).encode())
                return
            names = ("InferenceSpecification", "ModelApprovalStatus")
            properties = json.dumps({name: found[name] for name in names})
            described = {"Identifier": arn, "Properties": properties}
            said = {"TypeName": asked["TypeName"], "ResourceDescription": described}
            self.answer(200, json.dumps(said).encode())

    return CloudControl


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    given = json.loads((ROOT / "cdk.json").read_text())
    app = shlex.join([sys.executable, str(ROOT / "app.py")])
    (tmp_path / "cdk.json").write_text(json.dumps({**given, "app": app}))
    inherited = {name: v for name, v in os.environ.items() if not name.startswith(("AWS_", "CDK_"))}
    with moto() as url:
        session = boto3.Session("testing", "testing", region_name=REGION)
        sagemaker = session.client("sagemaker", endpoint_url=url)
        sagemaker.create_model_package_group(
            ModelPackageGroupName="cats", ModelPackageGroupDescription="cats"
        )
        environment = {
            **inherited,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": url,
            "NO_PROXY": "127.0.0.1",
        }
        project = Project(tmp_path, environment, sagemaker)
        with listening(cloud_control(project)) as control:
            environment["AWS_ENDPOINT_URL_CLOUDCONTROL"] = control
            yield project


def test_both_targets_get_the_artifact_by_one_lookup(project: Project) -> None:
    arn = project.register()
    project.assert_served(arn)
    assert project.lookups == [arn]
    kept = (project.folder / "cdk.context.json").read_text()
    assert len(json.loads(kept)) == 1
    assert arn in kept.replace("$:", ":")

    # With this file, the same template needs no AWS, for example in a pipeline.
    project.environment = {
        name: value for name, value in project.environment.items() if not name.startswith("AWS_")
    } | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_EC2_METADATA_DISABLED": "true"}
    project.assert_served(arn)
    assert project.lookups == [arn]


def test_an_unapproved_package_and_its_message(project: Project) -> None:
    arn = project.register("PendingManualApproval")
    line = project.refusal(arn)
    assert line.startswith(
        f"model_package_arn='{arn}': it is PendingManualApproval, and only Approved packages are "
        "deployed; "
    )
    project.sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    assert project.refusal(arn) == line  # the answer is kept
    program, *command = shlex.split(line.partition("approved: ")[2])
    assert program == "cdk"
    done = project.cdk(*command)
    assert done.returncode == 0, done.stderr
    project.assert_served(arn)


def test_a_package_that_does_not_exist(project: Project) -> None:
    arn = ARN.replace("/1", "/7")
    line = project.refusal(arn)
    assert line.startswith(f"model_package_arn='{arn}': it cannot be looked up: ")
    assert "model-package/cats/7" in line.partition("looked up")[2]
    # The CLI does not keep the answer, because the package may exist later.
    assert json.loads((project.folder / "cdk.context.json").read_text()) == {}

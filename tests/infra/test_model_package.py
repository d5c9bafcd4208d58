"""A package of SageMaker's Model Registry: looked up once by the real CDK CLI, deployed to both.

moto is the registry. It has no Cloud Control API, which the CLI asks; a server here answers in its
place with what moto's registry holds, as CloudFormation describes an AWS::SageMaker::ModelPackage.
"""

import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aws_cdk.aws_sagemaker import CfnModelPackage
from botocore.exceptions import ClientError

from created import ACCOUNT, REGION, moto
from infra.context import ConfigError
from ops.faces import ROOT
from templates import MODEL_DATA, MODEL_ID, Synthesized

ARN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package/cats/1"
CONTAINER: dict[str, Any] = {
    "Image": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/cats:1",
    "ModelDataUrl": MODEL_DATA,
    "Environment": {"MODEL_ID": MODEL_ID},
}
BIN = Path(sys.executable).parent


@dataclass
class Registry:
    """The account's registry, and how many look-ups it was asked for."""

    sagemaker: Any
    environment: dict[str, str]
    lookups: list[str] = field(default_factory=list)

    def register(self, *containers: dict[str, Any], status: str = "Approved") -> str:
        """A version of the group `cats`: its ARN."""
        arn: str = self.sagemaker.create_model_package(
            ModelPackageGroupName="cats",
            ModelApprovalStatus=status,
            InferenceSpecification={
                "Containers": [*containers],
                "SupportedContentTypes": ["image/jpeg"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
        )["ModelPackageArn"]
        return arn

    def resource(self, arn: str) -> dict[str, Any]:
        """The package as Cloud Control describes it. Raises ClientError."""
        found = self.sagemaker.describe_model_package(ModelPackageName=arn)
        return {name: found[name] for name in ("InferenceSpecification", "ModelApprovalStatus")}


@contextmanager
def cloud_control(registry: Registry) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.headers["X-Amz-Target"].endswith(".GetResource")
            assert asked["TypeName"] == CfnModelPackage.CFN_RESOURCE_TYPE_NAME
            arn = asked["Identifier"]
            registry.lookups.append(arn)
            try:
                properties = json.dumps(registry.resource(arn))
            except ClientError as error:
                answer = {"__type": "ResourceNotFoundException", "Message": str(error)}
                self._answer(400, answer)
            else:
                described = {"Identifier": arn, "Properties": properties}
                self._answer(200, {"TypeName": asked["TypeName"], "ResourceDescription": described})

        def _answer(self, status: int, value: Any) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def registry() -> Iterator[Registry]:
    inherited = {name: v for name, v in os.environ.items() if not name.startswith(("AWS_", "CDK_"))}
    with moto() as client:
        sagemaker = client("sagemaker")
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
            "AWS_ENDPOINT_URL": sagemaker.meta.endpoint_url,
            "NO_PROXY": "127.0.0.1",
            "CDK_DISABLE_CLI_TELEMETRY": "true",
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        }
        registry = Registry(sagemaker, environment)
        with cloud_control(registry) as url:
            environment["AWS_ENDPOINT_URL_CLOUDCONTROL"] = url
            yield registry


class Project:
    """Our cdk.json in a folder of its own, for the CLI writes cdk.context.json beside it."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment
        given = json.loads((ROOT / "cdk.json").read_text())
        app = shlex.join([sys.executable, str(ROOT / "app.py")])
        (folder / "cdk.json").write_text(json.dumps({**given, "app": app}))

    def cdk(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["cdk", *arguments, "--no-notices"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def synth(self, **keys: str) -> Synthesized:
        options = [option for key, value in keys.items() for option in ("-c", f"{key}={value}")]
        done = self.cdk("synth", "--quiet", *options)
        assert done.returncode == 0, done.stderr
        return Synthesized(self.folder / "cdk.out", "DualInferenceStack")

    def refusal(self, **keys: str) -> str:
        """The one line that a synth ends with."""
        options = [option for key, value in keys.items() for option in ("-c", f"{key}={value}")]
        done = self.cdk("synth", "--quiet", *options)
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        (line,) = (line for line in done.stderr.splitlines() if "Subprocess exited" not in line)
        return line


@pytest.fixture
def project(tmp_path: Path, registry: Registry) -> Project:
    return Project(tmp_path, registry.environment)


def assert_served(stack: Synthesized, data: str = MODEL_DATA, model_id: str = MODEL_ID) -> None:
    """On both targets, by the stack's one image."""
    environments = stack.environments()
    assert {found["MODEL_ID"] for found in environments.values()} == {model_id}
    assert environments["AWS::Lambda::Function"]["MODEL_DATA_URL"] == data
    _, model = stack.only("AWS::SageMaker::Model")
    assert model["PrimaryContainer"]["ModelDataUrl"] == data
    assert CONTAINER["Image"] not in json.dumps(stack.template)
    bucket_and_key = data.removeprefix("s3://")
    reads = [s for s in stack.statements() if bucket_and_key in json.dumps(s["Resource"])]
    assert len(reads) == 2


def test_both_targets_get_the_artifact_and_aws_is_asked_once(
    project: Project, registry: Registry
) -> None:
    arn = registry.register(CONTAINER)
    assert_served(project.synth(mode="both", model_package_arn=arn))
    assert registry.lookups == [arn]
    kept = (project.folder / "cdk.context.json").read_text()
    assert len(json.loads(kept)) == 1
    assert arn in kept.replace("$:", ":")

    # Whoever has the file, a pipeline say, needs no AWS for the same template.
    project.environment = {
        name: value for name, value in project.environment.items() if not name.startswith("AWS_")
    } | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_EC2_METADATA_DISABLED": "true"}
    assert_served(project.synth(mode="both", model_package_arn=arn))
    assert registry.lookups == [arn]


def test_what_is_not_approved_is_refused_and_what_it_says_to_do_helps(
    project: Project, registry: Registry
) -> None:
    arn = registry.register(CONTAINER, status="PendingManualApproval")
    line = project.refusal(model_package_arn=arn)
    assert line.startswith(
        f"model_package_arn='{arn}': it is PendingManualApproval, and only what is Approved is "
        "deployed; "
    )
    registry.sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    assert project.refusal(model_package_arn=arn) == line  # the answer is kept
    program, *command = shlex.split(line.partition("approved: ")[2])
    assert program == "cdk"
    done = project.cdk(*command)
    assert done.returncode == 0, done.stderr
    assert_served(project.synth(mode="both", model_package_arn=arn))


def test_a_package_that_is_not_there(project: Project, registry: Registry) -> None:
    line = project.refusal(model_package_arn=ARN.replace("/1", "/7"))
    assert "it cannot be looked up: " in line
    assert "model-package/cats/7" in line
    # Not kept: there may be one tomorrow.
    assert json.loads((project.folder / "cdk.context.json").read_text()) == {}


def test_without_credentials(project: Project) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        del project.environment[name]
    line = project.refusal(model_package_arn=ARN)
    assert line.startswith(f"model_package_arn='{ARN}': it cannot be looked up: ")
    assert "credentials" in line


@pytest.fixture
def with_package(
    synthesize_anew: Callable[..., Synthesized], tmp_path: Path
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


@pytest.mark.parametrize(
    ("containers", "keys", "said"),
    [
        pytest.param([], {}, "it has 0 containers, and both targets serve one", id="none"),
        pytest.param(
            [CONTAINER, CONTAINER],
            {},
            "it has 2 containers, and both targets serve one",
            id="a pipeline of containers",
        ),
        pytest.param(
            [without("ModelDataUrl")],
            {},
            f"its ModelDataUrl is None, and it must be {DATA_RULE}",
            id="no artifact",
        ),
        pytest.param(
            [{**CONTAINER, "ModelDataUrl": "s3://models-of-ours/cats/"}],
            {},
            f"its ModelDataUrl is 's3://models-of-ours/cats/', and it must be {DATA_RULE}",
            id="an artifact that is not compressed",
        ),
        pytest.param(
            [without("Environment")],
            {},
            "it has no model id: neither MODEL_ID in its container's environment nor the key "
            "model_id; `python -m ops package` prints it",
            id="no model id",
        ),
        pytest.param(
            [CONTAINER],
            {"model_id": "1" * 64},
            f"its MODEL_ID is {MODEL_ID}, and model_id asks for {'1' * 64}",
            id="another model id",
        ),
    ],
)
def test_a_package_that_cannot_be_deployed(
    with_package: Callable[..., Synthesized],
    containers: list[dict[str, Any]],
    keys: dict[str, str],
    said: str,
) -> None:
    with pytest.raises(ConfigError) as caught:
        with_package(package(*containers), **keys)
    assert str(caught.value) == f"model_package_arn='{ARN}': {said}"


def test_a_rejected_package_is_no_approved_one(with_package: Callable[..., Synthesized]) -> None:
    with pytest.raises(ConfigError, match="it is Rejected, and only what is Approved is deployed"):
        with_package(package(CONTAINER, status="Rejected"))


def test_versions_are_looked_up_apart(synthesize_anew: Callable[..., Synthesized]) -> None:
    """What is known of one says nothing of another."""
    arns = [ARN, ARN.replace("/1", "/2")]
    keys = {m["key"] for arn in arns for m in synthesize_anew(model_package_arn=arn).missing}
    assert len(keys) == 2

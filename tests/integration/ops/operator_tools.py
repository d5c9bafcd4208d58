"""Fixtures for the operator tools: stand-ins for AWS, and the commands in this process.

moto runs as a separate process, so that other tests do not share its state. A scripted server
replaces the services that moto lacks.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
import urllib3

from ops import __main__, local_servers
from ops.cost.observe import VARIANT
from ops.local_servers import HttpFace, HttpReply, process_environment
from ops.manifests import MANIFEST
from ops.parity.compare import TimedAnswer
from support import model_registry
from support.upstream import Asked, Handler, listening

REGION = "eu-central-1"
REPOSITORY = f"cdk-hnb659fds-container-assets-123456789012-{REGION}"
REGISTRY = f"123456789012.dkr.ecr.{REGION}.amazonaws.com"
IDENTITY = "X-Amzn-SageMaker-Custom-Attributes"
SCRIPTED = ("SAGEMAKER_RUNTIME", "SERVICE_QUOTAS", "LAMBDA")
ANY = {"Any": {"Type": "AWS::SNS::Topic"}}  # a stack needs a resource
FUNCTION_NAME, ENDPOINT_NAME = "the-function", "the-endpoint"
ALIAS = {"FunctionName": FUNCTION_NAME, "Resource": f"{FUNCTION_NAME}:live"}
ON_ENDPOINT = {"EndpointName": ENDPOINT_NAME, "VariantName": VARIANT}
# Namespaces and dimensions.
METRICS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    **dict.fromkeys(("Invocations", "Errors", "Duration"), ("AWS/Lambda", ALIAS)),
    "Url5xxCount": ("AWS/Lambda", {"FunctionName": FUNCTION_NAME}),
    **dict.fromkeys(("Endpoint Invocations", "ModelLatency"), ("AWS/SageMaker", ON_ENDPOINT)),
    **dict.fromkeys(("ColdStarts", "Examined", "Forwarded", "Skew", "Spilled"), ("Traffic", {})),
}
Measured = Mapping[str, Sequence[float]]  # by the names in METRICS
ScriptedReply = tuple[int, Mapping[str, str], bytes]


@dataclass
class Script:
    """Replies by operation (the end of X-Amz-Target) or path, and the requests in order."""

    url: str = ""
    replies: dict[str, ScriptedReply | Callable[[Asked], ScriptedReply]] = field(
        default_factory=dict
    )
    asked: list[Asked] = field(default_factory=list)

    def json(self, key: str, value: object, status: int = 200, **headers: str) -> None:
        self.replies[key] = (status, headers, json.dumps(value).encode())

    def deny(self, *keys: str) -> None:
        for key in keys:
            error = {"x-amzn-ErrorType": "AccessDeniedException"}
            body = json.dumps({"__type": "AccessDeniedException", "message": "not yours"})
            self.replies[key] = (400, error, body.encode())


@pytest.fixture
def script() -> Iterator[Script]:
    running = Script()

    class Scripted(Handler):
        def reply(self, body: bytes) -> None:
            running.asked.append(asked := self.asked(body))
            key = asked.headers.get("x-amz-target", "").rpartition(".")[2] or self.path
            reply = running.replies.get(key, (404, {}, b"{}"))
            status, headers, body = reply(asked) if callable(reply) else reply
            self.answer(status, body, headers)

    with listening(Scripted) as running.url:
        yield running


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    with model_registry.moto() as url:
        yield url


@pytest.fixture(scope="session")
def face() -> Iterator[HttpFace]:
    """Start the container's HTTP server; the scripted targets pass requests to it."""
    with local_servers.http_process(process_environment()) as running:
        yield running


@dataclass(frozen=True)
class Account:
    """The account of the environment's credentials."""

    stack_name: str
    number: str = "123456789012"  # moto's

    def client(self, service: str, region: str = REGION) -> Any:
        return boto3.Session(region_name=region).client(service)

    def deploy(
        self, outputs: Mapping[str, str], resources: Mapping[str, Any] = ANY, region: str = REGION
    ) -> None:
        """Create the stack with these outputs."""
        values = {name: {"Value": value} for name, value in outputs.items()}
        body = json.dumps({"Resources": resources, "Outputs": values})
        client = self.client("cloudformation", region)
        client.create_stack(StackName=self.stack_name, TemplateBody=body)

    def push(self, tag: str, media_type: str = MANIFEST) -> str:
        """Push an image to the CDK's repository and return its digest."""
        ecr = self.client("ecr")
        ecr.create_repository(repositoryName=REPOSITORY)
        layer = {"mediaType": "a-layer", "size": 1, "digest": f"sha256:{'1' * 64}", "platform": {}}
        image = {"schemaVersion": 2, "config": layer, "layers": [layer], "manifests": [layer]}
        pushed = ecr.put_image(
            repositoryName=REPOSITORY,
            imageManifest=json.dumps({**image, "mediaType": media_type}),
            imageManifestMediaType=media_type,
            imageTag=tag,
        )
        return str(pushed["image"]["imageId"]["imageDigest"])

    def record(self, region: str, measured: Iterable[tuple[datetime, Measured]]) -> None:
        """Put values into CloudWatch."""
        data: dict[str, list[Any]] = defaultdict(list)
        for moment, values in measured:
            for name, each in values.items():
                namespace, dimensions = METRICS[name]
                pairs = [{"Name": key, "Value": value} for key, value in dimensions.items()]
                about = {"MetricName": name.split()[-1], "Dimensions": pairs, "Timestamp": moment}
                data[namespace] += [{**about, "Value": value} for value in each]
        cloudwatch = self.client("cloudwatch", region)
        for namespace, metrics in data.items():
            for start in range(0, len(metrics), 500):
                batch = metrics[start : start + 500]
                cloudwatch.put_metric_data(Namespace=namespace, MetricData=batch)

    def bucket(self, name: str, region: str = REGION) -> Any:
        """Create a bucket and return a client of S3."""
        s3 = self.client("s3", region)
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": region})
        return s3


def by_url(face: HttpFace, request: Asked) -> ScriptedReply:
    """Answer a request to a function's URL from a face."""
    passed = ("content-type", "accept")
    headers = {name: value for name, value in request.headers.items() if name in passed}
    reply = face.send("POST", "/invocations", headers, request.body)
    return reply.status, {IDENTITY: reply.headers[IDENTITY.lower()]}, reply.body


def by_endpoint(face: HttpFace, request: Asked) -> ScriptedReply:
    """Answer InvokeEndpoint from a face; SageMaker wraps the container's errors."""
    status, headers, body = by_url(face, request)
    if status == 200:
        return status, headers, body
    error = {"OriginalStatusCode": status, "OriginalMessage": body.decode()}
    return 424, {"x-amzn-ErrorType": "ModelError"}, json.dumps(error).encode()


@pytest.fixture
def account(moto: str, script: Script, monkeypatch: pytest.MonkeyPatch) -> Account:
    """Return an empty account, and set the environment variables for it."""
    urllib3.request("POST", f"{moto}/moto-api/reset", retries=False)
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "CDK_DOCKER", "DOCKER_BUILDKIT"):
        monkeypatch.delenv(name, raising=False)
    environment = {
        "AWS_ENDPOINT_URL": moto,
        **{f"AWS_ENDPOINT_URL_{service}": script.url for service in SCRIPTED},
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "a-session",
        "AWS_REGION": REGION,
        "AWS_CONFIG_FILE": "/no/such/file",
        "AWS_SHARED_CREDENTIALS_FILE": "/no/such/file",
        "AWS_EC2_METADATA_DISABLED": "true",
        "COLUMNS": "200",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Account("Traffic")


def install(folder: Path, program: str, *works: str) -> None:
    """Install a program of which only the subcommands in `works` succeed."""
    cases = "".join(f'[ "$1" = {name} ] && exit 0\n' for name in works)
    path = folder / program
    path.write_text(f"#!/bin/sh\n{cases}exit 1\n")
    path.chmod(0o755)


def timed(value: object, status: int = 200) -> TimedAnswer:
    return TimedAnswer.of([HttpReply(status, {}, json.dumps(value).encode(), 0.01)])


@dataclass(frozen=True)
class Done:
    """The output of a command and its exit status."""

    status: int
    out: str
    err: str


@pytest.fixture
def ops(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """Run `python -m ops ...` in this process."""

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["python -m ops", *arguments])
        status = __main__.main()
        out, err = capsys.readouterr()
        return Done(status, out, err)

    return run

"""What stands for AWS here: moto's server as a process of its own, so that no test of another
folder shares its state, and a server of scripted answers for the services that moto lacks."""

import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
import urllib3

from ops import __main__, faces
from ops.faces import HttpFace
from ops.local import process_environment

REGION = "eu-central-1"
SCRIPTED = ("SAGEMAKER_RUNTIME", "SERVICE_QUOTAS", "LAMBDA")


@dataclass(frozen=True)
class Asked:
    """A request that the scripted server got. Header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


ANY = {"Any": {"Type": "AWS::SNS::Topic"}}  # a stack has to have one
Reply = tuple[int, Mapping[str, str], bytes]


@dataclass
class Script:
    """Answers by operation (the end of X-Amz-Target) or path; what was asked, in order."""

    url: str
    replies: dict[str, Reply | Callable[[Asked], Reply]] = field(default_factory=dict)
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
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Asked(self.command, self.path, headers, body)
            running.asked.append(request)
            key = headers.get("x-amz-target", "").rpartition(".")[2] or self.path
            reply = running.replies.get(key, (404, {}, b"{}"))
            status, headers, body = reply(request) if callable(reply) else reply
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_POST = do_PUT = _answer  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running = Script(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield running
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    port = faces.free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with faces.running(command, {}) as process:
        faces.wait_until_open(port, process)
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def face() -> Iterator[HttpFace]:
    """The container's HTTP server, which the scripted targets pass requests on to."""
    with faces.http_process(process_environment()) as running:
        yield running


@dataclass(frozen=True)
class Account:
    """The account that the environment's credentials belong to."""

    access_key: str
    stack_name: str
    number: str = "123456789012"  # moto's

    def client(self, service: str, region: str = REGION) -> Any:
        return boto3.Session(region_name=region).client(service)

    def deploy(self, outputs: Mapping[str, str], resources: Mapping[str, Any] = ANY) -> None:
        """A stack of this name with these outputs."""
        template = {
            "Resources": resources,
            "Outputs": {name: {"Value": value} for name, value in outputs.items()},
        }
        self.client("cloudformation").create_stack(
            StackName=self.stack_name, TemplateBody=json.dumps(template)
        )


@pytest.fixture
def account(moto: str, script: Script, monkeypatch: pytest.MonkeyPatch) -> Account:
    """An account with nothing in it, and the environment that leads there."""
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
    return Account("testing", "Traffic")


@dataclass(frozen=True)
class Done:
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str


@pytest.fixture
def ops(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """`python -m ops ...` in this process."""

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["python -m ops", *arguments])
        status = __main__.main()
        out, err = capsys.readouterr()
        return Done(status, out, err)

    return run

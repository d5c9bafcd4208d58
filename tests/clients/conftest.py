"""Both faces behind a stand-in for AWS, and the environment that leads clients there."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops import faces
from ops.faces import ROOT
from ops.local import process_environment
from tests.clients.stand_in import Aws, listening
from tests.signature import ACCESS_KEY, SECRET_KEY, SESSION_TOKEN

PAGE = ROOT / "docs" / "10-clients.md"


@pytest.fixture(scope="session")
def running() -> Iterator[Aws]:
    environment = {**process_environment(), "WORKERS": "1"}
    with (
        faces.http_process(environment) as http,
        faces.lambda_process(environment) as function,
        listening(Aws(http, function)) as aws,
    ):
        yield aws


@pytest.fixture
def aws(running: Aws) -> Aws:
    """As it is at first: with capacity, sound, without CORS, asked by nobody."""
    running.reset()
    return running


@pytest.fixture(scope="session")
def aws_cli() -> str:
    """A version 2 of the AWS CLI, which PyPI does not have."""
    for folder in os.environ["PATH"].split(os.pathsep):
        if found := shutil.which("aws", path=folder):
            said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
            if said.stdout.startswith("aws-cli/2."):
                return found
    pytest.fail("there is no AWS CLI v2 on the PATH; Debian's `apt-get install awscli` brings one")


@pytest.fixture(scope="session")
def environment(
    running: Aws, aws_cli: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Of a client: credentials, where AWS is, and what the page's first block exports."""
    path = f"{Path(__file__).parent}{os.pathsep}{Path(sys.executable).parent}"
    variables = {
        "PATH": f"{path}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path_factory.mktemp("home")),
        "AWS_CLI": aws_cli,
        "AWS_ENDPOINT_URL": running.url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_SESSION_TOKEN": SESSION_TOKEN,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    names = re.search(r"<!-- names -->\n```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert names
    said = subprocess.run(
        ["bash", "-ec", f"{names[1]}\nenv -0"], env=variables, check=True, capture_output=True
    )
    return dict(line.split("=", 1) for line in said.stdout.decode().split("\0") if line)

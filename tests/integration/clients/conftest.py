"""Both faces behind a stand-in for AWS, and the environment of its clients."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.clients.stand_in import Aws, served
from ops import local_servers
from ops.local_servers import ROOT, process_environment
from support.programs import PATH, run
from support.signature import ACCESS_KEY, SECRET_KEY, SESSION_TOKEN

PAGE = ROOT / "docs" / "10-clients.md"


@pytest.fixture(scope="session")
def running() -> Iterator[Aws]:
    environment = {**process_environment(), "WORKERS": "1"}
    with (
        local_servers.http_process(environment) as http,
        local_servers.lambda_process(environment) as function,
        served(Aws(http, function)) as aws,
    ):
        yield aws


@pytest.fixture
def aws(running: Aws) -> Aws:
    running.reset()
    return running


def aws_cli() -> str:
    """Return the path of AWS CLI v2, which is not on PyPI."""
    for folder in os.environ["PATH"].split(os.pathsep):
        if found := shutil.which("aws", path=folder):
            said = run([found, "--version"])
            if said.stdout.startswith("aws-cli/2."):
                return found
    pytest.fail("there is no AWS CLI v2 on the PATH; Debian's `apt-get install awscli` brings one")


@pytest.fixture(scope="session")
def environment(running: Aws, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return a client's variables: credentials, AWS's address, and the exports of the page."""
    variables = {
        "PATH": f"{Path(__file__).parent}{os.pathsep}{PATH}",
        "HOME": str(tmp_path_factory.mktemp("home")),
        "AWS_CLI": aws_cli(),
        "AWS_ENDPOINT_URL": running.url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_SESSION_TOKEN": SESSION_TOKEN,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    names = re.search(r"<!-- names -->\n```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert names
    said = run(["bash", "-ec", f"{names[1]}\nenv -0"], env=variables)
    assert said.returncode == 0, said.stderr
    return dict(line.split("=", 1) for line in said.stdout.split("\0") if line)

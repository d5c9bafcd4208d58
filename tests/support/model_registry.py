"""A package of SageMaker's Model Registry, and what a stack that serves it holds."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ops import local_servers
from support.templates import MODEL_DATA, MODEL_ID, Synthesized

REGION, ACCOUNT = "eu-west-1", "123456789012"

ARN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package/cats/1"
CONTAINER: dict[str, Any] = {
    "Image": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/cats:1",
    "ModelDataUrl": MODEL_DATA,
    "Environment": {"MODEL_ID": MODEL_ID},
}


@contextmanager
def moto() -> Iterator[str]:
    """Yield the URL of moto in a process of its own: servers in one process share their state."""
    port = local_servers.free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with local_servers.running(command, {}) as process:
        local_servers.wait_until_open(port, process)
        yield f"http://127.0.0.1:{port}"


def assert_served(stack: Synthesized) -> None:
    """Assert that both targets serve the package with the stack's own image."""
    environments = stack.environments()
    assert {found["MODEL_ID"] for found in environments.values()} == {MODEL_ID}
    assert environments["AWS::Lambda::Function"]["MODEL_DATA_URL"] == MODEL_DATA
    _, model = stack.only("AWS::SageMaker::Model")
    assert model["PrimaryContainer"]["ModelDataUrl"] == MODEL_DATA
    assert CONTAINER["Image"] not in json.dumps(stack.template)
    bucket_and_key = MODEL_DATA.removeprefix("s3://")
    reads = [s for s in stack.statements() if bucket_and_key in json.dumps(s["Resource"])]
    assert len(reads) == 3  # the examiner reads it, too

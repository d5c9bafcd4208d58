"""Run AWS SAM CLI and the SageMaker SDK's local mode as docs/10 shows, without an account."""

import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.test_readme import comparable

from integration.clients.test_snippets import PAGE, PYTHON, RUNS
from ops.local_servers import ROOT, free_port
from serving.artifact.resolve import check
from support import programs
from support.docker import docker
from support.programs import Done, copied_project

pytestmark = pytest.mark.docker

LOCAL = {
    name: (program, shown)
    for name, program, shown in re.findall(
        r"<!-- local: (\S+) -->\n```\w+\n(.*?)```\n\n```\n(.*?)```\n", PAGE, re.DOTALL
    )
}
FUNCTION = "LambdaFunction9233991D"
SDK = PYTHON["predictor.py"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied_project(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def environment(image: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return a user's variables, with invalid credentials."""
    home = tmp_path_factory.mktemp("home")
    (home / ".sagemaker").mkdir()
    config = f"local:\n  serving_port: {free_port()}\n"
    (home / ".sagemaker" / "config.yaml").write_text(config)
    programs = [str(ROOT / environment / "bin") for environment in (".venv", ".venv-sam")]
    return {
        "PATH": os.pathsep.join([*programs, os.environ["PATH"]]),
        "HOME": str(home),
        "IMAGE": image,
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_EC2_METADATA_DISABLED": "true",
        "CDK_DISABLE_CLI_TELEMETRY": "true",
        "SAM_CLI_TELEMETRY": "0",
    }


def assert_shown(done: Done, shown: str) -> None:
    """Assert that this is the end of a program's output, after that of builds and containers."""
    assert done.returncode == 0, done.stderr
    lines, expected = (comparable(text).splitlines() for text in (done.stdout, shown))
    assert lines[-len(expected) :] == expected, done.stderr


def run(command: str, name: str, program: str, folder: Path, environment: dict[str, str]) -> Done:
    (folder / name).write_text(program)
    return programs.run([*command.split(), name], cwd=folder, env=environment)


@pytest.fixture(scope="module")
def built(checkout: Path, environment: dict[str, str]) -> Iterator[Done]:
    """Build the function's image as the page shows, on the layers of `image`, and invoke it."""
    yield run("bash -e", "sam.sh", LOCAL["sam.sh"][0], checkout, environment)
    for tag in ("latest", "rapid-x86_64"):
        docker("image", "rm", f"{FUNCTION.lower()}:{tag}")


def test_sam_invokes_the_function_of_the_template(built: Done) -> None:
    assert_shown(built, LOCAL["sam.sh"][1])


@pytest.mark.usefixtures("built")
def test_sam_starts_the_function_for_clients(checkout: Path, environment: dict[str, str]) -> None:
    port = str(free_port())
    there = {"AWS_ENDPOINT_URL_LAMBDA": f"http://127.0.0.1:{port}", "FUNCTION_NAME": FUNCTION}
    program, shown = RUNS["function.py"]
    command = [ROOT / ".venv-sam/bin/sam", "local", "start-lambda", "--port", port]
    pipe = {"stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=checkout, env=environment, **pipe) as sam:
        try:
            assert any("Running on" in line for line in sam.stderr)
            done = run(sys.executable, "function.py", program, checkout, {**environment, **there})
            assert_shown(done, shown)
        finally:
            sam.terminate()


def test_sdk_model_data(environment: dict[str, str], artifact_folder: Path, tmp_path: Path) -> None:
    """The SDK unpacks the archive beside itself, which does not change the model id."""
    (tmp_path / "container").symlink_to(ROOT / "container")
    (tmp_path / "model").mkdir()
    with tarfile.open(tmp_path / "model" / "model.tar.gz", "w:gz", compresslevel=1) as archive:
        archive.add(artifact_folder, ".")
    asked = {"MODEL_ID": check(artifact_folder).model_id}
    program, shown = LOCAL["local_mode.py"]
    done = run(SDK, "local_mode.py", program, tmp_path, {**environment, **asked})
    assert_shown(done, shown)


def test_local_mode_transforms_with_the_image(environment: dict[str, str], tmp_path: Path) -> None:
    program, shown = LOCAL["local_transform.py"]
    assert_shown(run(SDK, "local_transform.py", program, tmp_path, environment), shown)

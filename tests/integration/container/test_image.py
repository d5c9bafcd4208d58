"""Check the built image: its contents, and what only a container can get wrong."""

import json
import shutil
import time
from pathlib import Path

import pytest

from ops import local_servers
from ops.local_servers import ROOT, Face
from serving.artifact.resolve import sha256
from support.cases import PHOTOS
from support.docker import docker
from support.farm import LAMBDA_LIKE
from support.programs import run

pytestmark = pytest.mark.docker


def shell(image: str, script: str, *options: str) -> str:
    return docker("run", "--rm", "--entrypoint=/bin/sh", *options, image, "-c", script)


def answer(face: Face) -> bytes:
    photo = (PHOTOS / "cat.jpg").read_bytes()
    reply = face.send("POST", "/invocations", {"Content-Type": "image/jpeg"}, photo)
    assert reply.status == 200
    return reply.body


@pytest.fixture(scope="module")
def small_image(image: str) -> str:
    """Build the image without MXNet, from the layers of `image`."""
    tag = "one-image:test-small"
    docker("build", "--tag", tag, "--build-arg", "WITH_MXNET=0", str(ROOT / "container"))
    return tag


def test_no_compiler_and_no_build_tool(image: str) -> None:
    tools = "gcc g++ cc c++ clang make cmake ld rustc cargo git"
    assert shell(image, f"for tool in {tools}; do command -v $tool || true; done") == ""
    unwanted = ("pip", "pip3*", "setuptools*", "wheel", "ensurepip", "*.whl", "onnx", "pytest")
    names = " -o ".join(f"-name '{name}'" for name in unwanted)
    # Some packages have a module of such a name; an installer is a package or a program.
    found = shell(image, f"find / -xdev \\( {names} \\) -not -path '/proc/*'").split()
    assert [path for path in found if "/site-packages/" not in path.removesuffix("pip")] == []


def test_any_user_can_read_every_file(image: str) -> None:
    script = "find /opt /usr/local/bin ! -readable -o -type d ! -executable"
    assert shell(image, script, "--user=10001:10001", "--cap-drop=ALL") == ""


def test_python_is_compiled_ahead(image: str) -> None:
    """Python would compile other sources again at every cold start."""
    script = (
        "cd /opt; for f in $(find program venv/lib/python3.11/site-packages/flask "
        "venv/lib/python3.11/site-packages/awslambdaric -name '*.py'); do "
        'test -e "$(dirname $f)/__pycache__/$(basename $f .py).cpython-311.pyc" || echo $f; done'
    )
    assert shell(image, script) == ""


def test_the_image_has_no_unneeded_file(image: str) -> None:
    """A new version of a package could bring back megabytes of these."""
    names = "-name tests -o -name 'libonnxruntime.so*' -o -name '*.a' -o -name haarcascade*.xml"
    found = shell(image, f"find /opt/venv {names} -o -name 'libopenblas-*' -type f")
    packages = "/opt/venv/lib/python3.11/site-packages"
    folders = f"{packages}/scipy {packages}/google {packages}/botocore/data/ec2"
    found += shell(image, f"for folder in {folders}; do test ! -e $folder || echo $folder; done")
    unread = "-path '*/man/*' -o -path '*/locale/*' -o -path '*/lists/*' -o -path '/var/cache/*'"
    found += shell(image, f"find /usr/share /var -type f \\( {unread} \\)")
    assert found == ""


def test_the_libraries_work_without_the_removed_files(image: str) -> None:
    script = """
import warnings
import boto3, cv2, numpy as np
for service in ("s3", "sts", "sso", "sso-oidc", "signin"):  # boto3's sources of credentials
    boto3.client(service, region_name="eu-west-1")
matrix = np.random.default_rng(0).normal(size=(200, 200))
for method in (cv2.DECOMP_LU, cv2.DECOMP_QR, cv2.DECOMP_SVD):
    solution = cv2.solve(matrix, matrix[:, :1], flags=method)[1]
    assert np.allclose(solution.ravel(), np.eye(200)[0], atol=1e-6)
assert np.allclose(cv2.gemm(matrix, matrix, 1, None, 0), matrix @ matrix)
warnings.simplefilter("ignore")
from serving.artifact.zoo import classification_names, gluoncv
names = classification_names()
print(len([gluoncv.model_zoo.get_model(name) for name in names]) == len(names) > 90)
"""
    options = ("--rm", "--entrypoint=python", "--env=PYTHONPATH=/opt/program")
    assert docker("run", *options, image, "-c", script) == "True"


def test_a_text_model_of_skl2onnx_finds_its_locale(image: str) -> None:
    """sklearn-onnx#1019: its StringNormalizer needs en_US.UTF-8."""
    script = "import numpy as np; from pathlib import Path; from serving.model import engines; "
    script += "print(engines.load(Path('/model'), 1)(np.array(['A GOOD film'])).round(2))"
    options = ("--rm", "--entrypoint=python", "--env=PYTHONPATH=/opt/program")
    mount = f"--volume={ROOT}/tests/support/models/text:/model:ro"
    assert docker("run", *options, mount, image, "-c", script) == "[[0.37 0.63]]"


def test_the_baked_artifact_is_the_one_built_outside(image: str, artifact_folder: Path) -> None:
    script = "cd /opt/artifacts/efficientnet_lite0 && sha256sum *"
    outside = [f"{sha256(path)}  {path.name}" for path in sorted(artifact_folder.iterdir())]
    assert shell(image, script).splitlines() == outside


def test_both_faces_serve_as_an_unknown_user_on_a_read_only_root(image: str) -> None:
    """Lambda has no shared memory, and on Arm no list of CPUs (onnxruntime#10038)."""
    options = [*LAMBDA_LIKE, "--ipc=none", "--tmpfs=/sys/devices/system/cpu"]
    with (
        local_servers.http_container(image, options) as http,
        local_servers.lambda_container(image, options) as function,
    ):
        assert answer(http) == answer(function)


def test_docker_stop_ends_the_server_with_status_0(image: str) -> None:
    container = docker("run", "--detach", image, "serve")
    try:
        deadline = time.monotonic() + 30
        while "ready" not in docker("logs", container) and time.monotonic() < deadline:
            time.sleep(0.1)
        docker("stop", "--time", "30", container)
        # SIGKILL, after 30 s, would give 137.
        assert docker("inspect", container, "--format", "{{.State.ExitCode}}") == "0"
    finally:
        docker("rm", "--force", container)


def test_an_artifact_that_the_user_may_not_read_ends_the_start(image: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    options = [f"--volume={tmp_path}:/opt/ml/model:ro", "--user=10001", "--cap-drop=ALL"]
    ended = run(["docker", "run", "--rm", *options, image, "serve"])
    assert ended.returncode == 1
    (line,) = ended.stdout.splitlines()
    message = "/opt/ml/model cannot be used: Permission denied"
    assert message in json.loads(line)["message"]


def test_a_proof_of_concept_folder_needs_mxnet(
    image: str, small_image: str, artifact_folder: Path, tmp_path: Path
) -> None:
    shutil.copy(artifact_folder / "model-symbol.json", tmp_path / "x-symbol.json")
    shutil.copy(artifact_folder / "model-0000.params", tmp_path / "x-0000.params")
    tmp_path.chmod(0o755)  # only its owner can read pytest's folder
    mount = f"--volume={tmp_path}:/opt/ml/model:ro"
    with local_servers.http_container(image, [*LAMBDA_LIKE, mount]) as face:
        assert "cat" in json.loads(answer(face))["results"][0]["label"]

    ended = run(["docker", "run", "--rm", mount, small_image, "serve"])
    assert (ended.returncode, ended.stderr) == (1, "")
    assert "this image was built without MXNet" in ended.stdout


def test_without_mxnet_the_image_is_smaller_and_answers_alike(image: str, small_image: str) -> None:
    with (
        local_servers.http_container(image) as large,
        local_servers.http_container(small_image) as small,
    ):
        assert answer(large) == answer(small)
    assert "mxnet" not in shell(small_image, "ls /opt/venv/lib/python3.11/site-packages")
    tags = (image, small_image)
    sizes = [int(docker("image", "inspect", tag, "--format", "{{.Size}}")) for tag in tags]
    assert sizes[1] < 0.7 * sizes[0]

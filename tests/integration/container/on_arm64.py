"""The image for Arm, built and run under QEMU: `make test-arm64`. docs/06 shows its output.

pytest runs this slow file only if it is named.
"""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import urllib3
from urllib3.util import Retry

from ops import __main__, local_servers
from ops.inputs import pictures_in
from ops.local_servers import EmulatedLambda, architecture_of, http_container, lambda_container
from ops.parity.compare import TimedAnswer, compare
from support import cases
from support.cases import PHOTOS, Case
from support.docker import docker
from support.farm import LAMBDA_LIKE, Farm

PATIENCE_SECONDS = 600
ARM_IMAGE = "one-image:test-arm64"
PICTURES = pictures_in(PHOTOS)
CASES = [pytest.param(case, id=case.name) for case in cases.load()]
# Graviton 2 (Lambda's), 1, and 3, which has vectors of 256 bits. QEMU's default CPU, which has all
# instructions, is several times slower.
CPUS = ("neoverse-n1", "cortex-a72", "neoverse-v1")
LAMBDAS_CPU = ("--env", f"QEMU_CPU={CPUS[0]}")


@pytest.fixture(scope="session")
def image() -> str:
    """Replace the other tests' image, also in the farm. `make test-arm64` has built it."""
    return ARM_IMAGE


@pytest.fixture(scope="session", autouse=True)
def patience() -> Iterator[None]:
    """Extend the time limits, since a start takes a minute under emulation."""
    started = time.monotonic()
    # Docker opens the port before the emulator listens.
    again = Retry(total=None, read=30, other=0, backoff_factor=1, allowed_methods=None)
    patient = urllib3.PoolManager(retries=again, timeout=PATIENCE_SECONDS)
    settings = local_servers.lambda_settings()
    settings = {**settings, "AWS_LAMBDA_FUNCTION_TIMEOUT": str(PATIENCE_SECONDS)}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(local_servers, "START_SECONDS", PATIENCE_SECONDS)
        patched.setattr(local_servers, "DOCKER_RUN", (*local_servers.DOCKER_RUN, *LAMBDAS_CPU))
        patched.setattr(local_servers, "_http", patient)
        patched.setattr(local_servers, "lambda_settings", lambda: settings)
        yield
    print(f"\n{time.monotonic() - started:.0f} s under emulation")


def test_the_image_is_for_arm_and_complete(image: str) -> None:
    assert architecture_of(image) == "arm64"
    script = "uname -m; ls /opt/artifacts; find / -xdev -name 'libquadmath*' -o -name 'mxnet'"
    said = docker("run", "--rm", "--entrypoint=/bin/sh", image, "-c", script).split()
    assert said == ["aarch64", "efficientnet_lite0"]
    script = """
import cv2, numpy as np
matrix = np.random.default_rng(0).normal(size=(200, 200))
for method in (cv2.DECOMP_LU, cv2.DECOMP_QR, cv2.DECOMP_SVD):  # they need Debian's LAPACK
    solution = cv2.solve(matrix, matrix[:, :1], flags=method)[1]
    assert np.allclose(solution.ravel(), np.eye(200)[0], atol=1e-6)
"""
    docker("run", "--rm", "--entrypoint=python", image, "-c", script)


def test_the_model_id_is_that_of_x86(image: str, artifact_folder: Path) -> None:
    """Arm serves the same artifact, to the byte."""
    script = "cat /opt/artifacts/efficientnet_lite0/manifest.json"
    said = docker("run", "--rm", "--entrypoint=/bin/sh", image, "-c", script)
    assert json.loads(said) == json.loads((artifact_folder / "manifest.json").read_text())


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["http container", "lambda container"])
def test_golden(case: Case, kind: str, farm: Farm) -> None:
    """Probabilities are within 1e-5 of x86-64's."""
    places, face = farm.upstream(kind).places, farm.face(kind, case.private_addresses)
    case.check(face.send(case.method, case.path, case.headers, case.body(places)), places)
    if case.is_json and isinstance(face, EmulatedLambda):
        case.check_direct(face.invoke(case.event(places)), places)


def test_it_starts_where_linux_does_not_list_its_cpus(image: str) -> None:
    """Lambda on Arm does not list them: onnxruntime#10038, which ended the process."""
    hidden = "--tmpfs=/sys/devices/system/cpu"
    photo = (PHOTOS / "cat.jpg").read_bytes()
    with lambda_container(image, [*LAMBDA_LIKE, hidden]) as face:
        reply = face.send("POST", "/invocations", {"Content-Type": "image/jpeg"}, photo)
    assert reply.status == 200
    print(f"\nwithout /sys/devices/system/cpu: {reply.body.decode()[:120]}…")


def test_parity_with_x86_is_within_the_tolerance_and_says_why_bytes_differ(
    image: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = ["--left", "local:lambda", "--right", f"image:{image}:http"]
    monkeypatch.setattr("sys.argv", ["ops", "parity", "--repeats", "1", *sides])
    status = __main__.main()
    out, err = capsys.readouterr()
    with capsys.disabled():
        print(f"\n{out}")
    assert status == 0, err
    assert "x86_64 on " in out
    assert "which round differently" in out


def test_arm_cpus_differ_by_no_more_than_the_tolerance(image: str) -> None:
    answers = {cpu: exam_on(image, cpu) for cpu in CPUS}
    for cpu in CPUS[1:]:
        found = [compare(*pair) for pair in zip(answers[CPUS[0]], answers[cpu])]
        largest, exact = max(each.largest for each in found), sum(each.exact for each in found)
        print(f"\n{CPUS[0]}, {cpu}: {largest:.1e} at most, {exact} of {len(found)} to the byte")
        assert all(each.same for each in found)


def exam_on(image: str, cpu: str) -> Sequence[Any]:
    with http_container(image, [f"--env=QEMU_CPU={cpu}", "--env=WORKERS=1"]) as face:
        replies = [
            face.send("POST", "/invocations", {"Content-Type": item.content_type}, item.body)
            for item in PICTURES
        ]
    return [TimedAnswer.of([reply]) for reply in replies]

"""A face sends no packet but those that its requests ask for. Its engine would.

ONNX Runtime asks for a host of Microsoft's ten seconds after its start, unless its switch is set
when it is imported, or a variable of a CI. That shows that the network sees such a call.
"""

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from cases import PHOTOS, data_uri
from hostile.network import NAME_SERVER, PICTURES, PUBLIC, Network, inside
from ops import faces
from ops.faces import ROOT, EmulatedLambda, Face, HttpFace
from ops.local import process_environment

HOME = "mobile.events.data.microsoft.com"
WATCHED_SECONDS = 15
ALLOWED = f"http://{PICTURES}/cat.jpg"
LEFT_ON = """
import sys, time
import onnxruntime
onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
time.sleep(600)
"""


def engine_alone() -> dict[str, Any]:
    """To be called inside: the engine as it comes, until it has called home."""
    model = ROOT / "build/artifacts/efficientnet_lite0/model.onnx"
    with Network.up({HOME: PUBLIC}) as network, tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        command = [sys.executable, "-c", LEFT_ON, str(model)]
        process = subprocess.Popen(command, env={**os.environ, "HOME": folder})
        dialled: list[Any] = []
        while not dialled and time.monotonic() < started + 120:
            time.sleep(0.1)
            dialled = network.dialled()
        process.kill()
        process.wait()
        return {
            "asked": network.names.asked,
            "dialled": dialled,
            "files": files(folder),
        }


def files(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).rglob("*") if path.is_file())


def both_faces(until: str, container: str = "", image: str = "") -> dict[str, Any]:
    """To be called inside: what both faces send, before, at and after a fetch that is allowed.

    As processes, or as containers of `image` in the network of `container`; for WATCHED_SECONDS at
    the least, and until the file `until` exists.
    """
    with ExitStack() as stack:
        network = stack.enter_context(Network.up({HOME: PUBLIC}, ports=(80, 443)))
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        started = time.monotonic()
        if container:
            both = containers(stack, container, image)
        else:
            environment = {**process_environment(), "HOME": folder, "WORKERS": "2"}
            both = [
                stack.enter_context(faces.http_process(environment)),
                stack.enter_context(faces.lambda_process(environment)),
            ]
        statuses = [face.send("GET", "/ping", {}).status for face in both]
        statuses += [status for face in both for status in served(face)]
        found = {"statuses": statuses, "before": sent(network)}
        found["fetched"] = [asked(face, ALLOWED) for face in both]
        found["at"] = sent(network)
        while time.monotonic() < started + WATCHED_SECONDS or not Path(until).exists():
            for face in both:
                served(face)
            time.sleep(0.5)
        return {**found, "after": sent(network), "files": files(folder)}


def containers(stack: ExitStack, container: str, image: str) -> list[Face]:
    command = ["docker", "run", "--rm", f"--network=container:{container}"]
    options = "--runtime-interface-emulator-address 127.0.0.1:9000"
    http = stack.enter_context(faces.running([*command, image, "serve"], {}))
    function = stack.enter_context(
        faces.running([*command, f"--env=RIE_OPTIONS={options}", image], {})
    )
    both = HttpFace("http://127.0.0.1:8080"), EmulatedLambda("http://127.0.0.1:9000")
    faces.wait_until_healthy(both[0], http)
    faces.wait_until_open(9000, function)
    return list(both)


def asked(face: Face, uri: str) -> int:
    body = b'{"uri": "%s"}' % uri.encode()
    return face.send("POST", "/invocations", {"Content-Type": "application/json"}, body).status


def served(face: Face) -> list[int]:
    """Pictures and errors, none of which leads anywhere."""
    picture = {"Content-Type": "image/jpeg"}
    return [
        face.send("POST", "/invocations", picture, (PHOTOS / "cat.jpg").read_bytes()).status,
        face.send("POST", "/invocations", picture, b"no picture").status,
        asked(face, data_uri("cat.jpg")),
        asked(face, "http://127.0.0.1/"),
        asked(face, "s3://photos/cat.jpg"),
        asked(face, "ftp://example.com/"),
    ]


def sent(network: Network) -> dict[str, Any]:
    """The names that were asked for, and what was dialled beyond loopback, since the last call."""
    names, network.names.asked = network.names.asked, []
    return {
        "asked": names,
        "dialled": [dial for dial in network.dialled() if dial.address != "127.0.0.1"],
    }


NOTHING: dict[str, list[Any]] = {"asked": [], "dialled": []}
ONE_FETCH_EACH = {
    "asked": [PICTURES] * 4,  # the IPv4 and the IPv6 address
    "dialled": [["tcp", PUBLIC[0], 80]] * 2,
}


def check(found: dict[str, Any]) -> None:
    assert found["statuses"] == [200, 200] + [200, 422, 200, 403, 403, 400] * 2
    assert found["before"] == NOTHING
    assert found["fetched"] == [200, 200]
    assert found["at"] == ONE_FETCH_EACH
    assert found["after"] == NOTHING
    assert found["files"] == []


def test_processes_call_nobody_and_the_engine_alone_does(tmp_path: Path) -> None:
    """The engine alone is started beside them, and they are watched until it has called."""
    done = tmp_path / "done"
    with ThreadPoolExecutor() as pool:
        alone = pool.submit(inside, engine_alone)
        alone.add_done_callback(lambda _: done.touch())
        check(inside(both_faces, str(done)))
        control = alone.result()
    assert set(control["asked"]) == {HOME}
    assert control["dialled"][0] in [["tcp", address, 443] for address in PUBLIC]
    assert "deviceid" in control["files"]


@pytest.mark.docker
def test_containers_call_nobody(image: str) -> None:
    """In the network of a container that is there for nothing else, from their first packet on."""
    command = ["docker", "run", "--detach", "--rm", "--network=none", f"--dns={NAME_SERVER}"]
    holder = output([*command, "--entrypoint=sleep", image, "600"])
    try:
        pid = output(["docker", "inspect", "--format={{.State.Pid}}", holder])
        check(inside(both_faces, "/", holder, image, of_process=int(pid)))
    finally:
        output(["docker", "kill", holder])


def output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

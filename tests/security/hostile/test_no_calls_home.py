"""Neither face sends a packet that no request asked for.

ONNX Runtime calls a Microsoft host ten seconds after its start unless a switch is set before its
import. A control process without the switch proves that the test detects such a call.
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

from ops import local_servers
from ops.local_servers import ROOT, EmulatedLambda, Face, HttpFace, process_environment
from security.hostile.network import NAME_SERVER, PICTURES, PUBLIC, Network, inside
from support.cases import PHOTOS, data_uri
from support.docker import docker

TELEMETRY = "mobile.events.data.microsoft.com"
WATCHED_SECONDS = 15
ALLOWED = f"http://{PICTURES}/cat.jpg"
ENGINE_ALONE = """
import sys, time
import onnxruntime
onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
time.sleep(600)
"""


def engine_alone() -> dict[str, Any]:
    """Run the engine with its defaults until it calls home. Call it inside the network."""
    model = ROOT / "build/artifacts/efficientnet_lite0/model.onnx"
    with Network.up({TELEMETRY: PUBLIC}) as network, tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        command = [sys.executable, "-c", ENGINE_ALONE, str(model)]
        process = subprocess.Popen(command, env={**os.environ, "HOME": folder})
        dialled: list[Any] = []
        while not dialled and time.monotonic() < started + 120:
            time.sleep(0.1)
            dialled = network.dialled()
        process.kill()
        process.wait()
        return {"asked": network.names.asked, "dialled": dialled, "files": files(folder)}


def files(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).rglob("*") if path.is_file())


def both_faces(until: str, container: str = "", image: str = "") -> dict[str, Any]:
    """Report what both faces send before, during and after one allowed fetch each.

    The faces are processes, or containers of `image` in the network of `container`. Watch them for
    WATCHED_SECONDS and until the file `until` exists. Call it inside the network.
    """
    with ExitStack() as stack:
        network = stack.enter_context(Network.up({TELEMETRY: PUBLIC}, ports=(80, 443)))
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        started = time.monotonic()
        both: list[Face]
        if container:
            command = ["docker", "run", "--rm", f"--network=container:{container}"]
            both = containers(stack, command, image)
        else:
            environment = {**process_environment(), "HOME": folder, "WORKERS": "2"}
            both = [
                stack.enter_context(local_servers.http_process(environment)),
                stack.enter_context(local_servers.lambda_process(environment)),
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


def containers(stack: ExitStack, command: list[str], image: str) -> list[Face]:
    options = "--env=RIE_OPTIONS=--runtime-interface-emulator-address 127.0.0.1:9000"
    http = stack.enter_context(local_servers.running([*command, image, "serve"], {}))
    function = stack.enter_context(local_servers.running([*command, options, image], {}))
    face = HttpFace("http://127.0.0.1:8080")
    local_servers.wait_until_healthy(face, http)
    local_servers.wait_until_open(9000, function)
    return [face, EmulatedLambda("http://127.0.0.1:9000")]


def asked(face: Face, uri: str) -> int:
    body = b'{"uri": "%s"}' % uri.encode()
    return face.send("POST", "/invocations", {"Content-Type": "application/json"}, body).status


def served(face: Face) -> list[int]:
    """Send pictures and errors, none of which requires a fetch; return the statuses."""
    bodies = ((PHOTOS / "cat.jpg").read_bytes(), b"no picture")
    picture = {"Content-Type": "image/jpeg"}
    uris = (data_uri("cat.jpg"), "http://127.0.0.1/", "s3://photos/cat.jpg", "ftp://example.com/")
    statuses = [face.send("POST", "/invocations", picture, body).status for body in bodies]
    return statuses + [asked(face, uri) for uri in uris]


def sent(network: Network) -> dict[str, Any]:
    """Return the names looked up, and what was dialled beyond loopback, since the last call."""
    names, network.names.asked = network.names.asked, []
    dialled = [dial for dial in network.dialled() if dial.address != "127.0.0.1"]
    return {"asked": names, "dialled": dialled}


def check(found: dict[str, Any]) -> None:
    nothing: dict[str, list[Any]] = {"asked": [], "dialled": []}
    assert found["statuses"] == [200, 200] + [200, 422, 200, 403, 403, 400] * 2
    assert found["before"] == nothing
    assert found["fetched"] == [200, 200]
    # Each fetch looks up the IPv4 and the IPv6 address.
    assert found["at"] == {"asked": [PICTURES] * 4, "dialled": [["tcp", PUBLIC[0], 80]] * 2}
    assert found["after"] == nothing
    assert found["files"] == []


def test_only_the_engine_alone_calls_home(tmp_path: Path) -> None:
    """Watch both faces until the engine alone, started beside them, has called home."""
    done = tmp_path / "done"
    with ThreadPoolExecutor() as pool:
        alone = pool.submit(inside, engine_alone)
        alone.add_done_callback(lambda _: done.touch())
        check(inside(both_faces, str(done)))
        control = alone.result()
    assert set(control["asked"]) == {TELEMETRY}
    assert control["dialled"][0] in [["tcp", address, 443] for address in PUBLIC]
    assert "deviceid" in control["files"]


@pytest.mark.docker
def test_containers_call_nobody(image: str) -> None:
    """Watch both faces from their first packet, in the network of an otherwise idle container."""
    options = ("--detach", "--rm", "--network=none", f"--dns={NAME_SERVER}")
    holder = docker("run", *options, "--entrypoint=sleep", image, "600")
    try:
        pid = docker("inspect", "--format={{.State.Pid}}", holder)
        check(inside(both_faces, "/", holder, image, of_process=int(pid)))
    finally:
        docker("kill", holder)

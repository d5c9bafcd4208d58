"""The commands as they are run: their exit status is what `make bench` goes by."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.ours import photograph
from bench.rivals import PEERS_BY_NAME
from ops.faces import ROOT
from serving import inference
from serving.contract import Payload

Serve = Callable[[Callable[[int, bytes], bytes]], str]


def peers(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "bench" / "peers.py"), *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "MODEL_NAME"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def reply(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.fixture(scope="module")
def right(artifact_folder: Path) -> bytes:
    """What any server must say of the benchmark's photograph."""
    net = inference.load_model(artifact_folder)
    return json.dumps(inference.infer(Payload(photograph(), "image/jpeg"), net)).encode()


def measured(url: str) -> subprocess.CompletedProcess[str]:
    return peers("--url", url, "--header", "X-Test: 1", "--concurrency", "2", "--seconds", "0.2")


def test_any_server_can_be_measured(serve: Serve, right: bytes) -> None:
    seen: list[bytes] = []

    def script(_number: int, request: bytes) -> bytes:
        seen.append(request)
        return reply(right)

    found = measured(serve(script))
    assert found.returncode == 0, found.stdout + found.stderr
    assert re.match(r"2 connections: [\d.]+ requests/s, p50 .*, 0 refused, 0 broken", found.stdout)
    assert b"\r\nX-Test: 1\r\n" in seen[0]


def test_a_wrong_answer_is_noticed(serve: Serve, right: bytes) -> None:
    wrong = right.replace(b"espresso", b"expresso")
    assert wrong != right
    found = measured(serve(lambda number, _request: reply(wrong if number == 9 else right)))
    assert found.returncode == 1
    assert "error: wrong answer: 200" in found.stdout
    assert "expresso" in found.stdout


def test_fast_404s_are_noticed(serve: Serve) -> None:
    found = measured(serve(lambda _number, _request: reply(b"", "404 Not Found")))
    assert found.returncode == 1
    assert "error: wrong answer: 404" in found.stdout


def test_a_server_that_is_not_there_is_one_line() -> None:
    found = measured("http://127.0.0.1:9/invocations")
    assert found.returncode == 1
    assert found.stdout.startswith("error: ")
    assert not found.stderr


def test_every_peer_serves_with_our_engine_and_decode() -> None:
    """Their locked files pin what the image's own requirements pin."""
    packages = ("onnxruntime", "numpy", "opencv-python-headless", "simplejpeg")
    ours = pins(ROOT / "container" / "requirements.txt")
    for peer in PEERS_BY_NAME.values():
        locked = ROOT / "bench" / "peers" / peer.folder / "requirements.txt"
        if peer.folder != "proof_of_concept":
            theirs = pins(locked)
            assert {name: theirs[name] for name in packages} == {
                name: ours[name] for name in packages
            }
            assert "--hash=sha256:" in locked.read_text()


def pins(requirements: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ]+)", requirements.read_text(), re.MULTILINE))

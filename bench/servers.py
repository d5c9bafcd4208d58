"""Start our own server and its peers, and wait until every worker is ready."""

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from pathlib import Path

import psutil

from bench.load import Check, NoAnswer, Server, tree
from ops import local_servers
from ops.local_servers import ROOT, FaceError
from serving.core.settings import Settings

# `peers/NAME/start.sh PORT WORKERS` starts a peer in a temporary folder. Its environment's
# interpreter is the first on the PATH.
PEERS = ("proof_of_concept", "multi_model_server", "litserve", "bentoml", "mlserver")
FOLDER = ROOT / "bench" / "peers"
START_SECONDS = 120
# Variables of libraries that a shell may set and the image does not set.
_LIBRARIES = re.compile("(DNNL|GOMP|KMP|MALLOC|MKL|NPY|OMP|OPENBLAS|OPENCV)_")
# The documented switches against telemetry of ONNX Runtime and BentoML, and the common one.
_NO_TELEMETRY = {"ORT_DISABLE_TELEMETRY": "1", "BENTOML_DO_NOT_TRACK": "True", "DO_NOT_TRACK": "1"}


def use_image_environment() -> Settings:
    """Set this process's environment to the image's, and return the settings in it."""
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    for name in list(os.environ):
        if _LIBRARIES.match(name):
            del os.environ[name]
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an image holds compiled byte code
    os.environ.update({**local_servers.process_environment(), **_NO_TELEMETRY, **threads})
    return Settings.from_environment(os.environ)


@contextmanager
def own_server(workers: int, photo: bytes, check: Check, checkout: Path = ROOT) -> Iterator[Server]:
    """Start `entry.sh serve` of a checkout; yield when every worker is ready. Raise FaceError."""
    port = local_servers.free_port()
    entry = str(checkout / "container" / "entry.sh")
    command = [entry, "serve", "--host", "127.0.0.1", "--port", str(port)]
    with local_servers.running(command, {}) as process:
        ready = '"message": "ready"'
        local_servers.wait_until(
            lambda: process.output.count(ready) >= workers, process, "not ready"
        )
        yield Server(f"http://127.0.0.1:{port}/invocations", process.pid, photo, check)


@contextmanager
def endpoint(answer: bytes) -> Iterator[dict[str, str]]:
    """Serve one fixed answer as sagemaker-runtime; yield the variables of a forwarding function."""
    port = local_servers.free_port()
    process = get_context("spawn").Process(target=_serve_endpoint, args=(port, answer), daemon=True)
    process.start()
    try:
        with socket.socket() as probe:
            while probe.connect_ex(("127.0.0.1", port)):
                time.sleep(0.01)
        yield {
            "FORWARD_ENDPOINT": "bench",
            "FORWARD_PERCENT": "100",
            "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": f"http://127.0.0.1:{port}",
            "AWS_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
        }
    finally:
        process.terminate()


def _serve_endpoint(port: int, answer: bytes) -> None:
    class Endpoint(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    ThreadingHTTPServer(("127.0.0.1", port), Endpoint).serve_forever()


@contextmanager
def peer_server(
    name: str, workers: int, artifact: Path, photo: bytes, check: Check
) -> Iterator[Server]:
    """Start a peer; yield when every process has the model and one answer was correct.

    Raise FaceError and WrongAnswer.
    """
    python = install(name)
    port = _low_port()
    with tempfile.TemporaryDirectory(prefix="peer-") as home:
        ready, picture = Path(home, "ready"), Path(home, "photo.jpg")
        ready.mkdir()
        picture.write_bytes(photo)
        environment = {
            "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": f"{FOLDER / name}:{FOLDER / 'shared'}:{ROOT / 'container'}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": home,  # so that the files of a peer are deleted with the folder
            "TMPDIR": home,
            "BENCH_ARTIFACT": str(artifact),
            "BENCH_PHOTO": str(picture),
            "BENCH_READY": str(ready),
        }
        wanted = 1 if name == "proof_of_concept" else workers  # that one has a single process
        start = [str(FOLDER / name / "start.sh"), str(port), str(workers)]
        with local_servers.running(["env", f"--chdir={home}", *start], environment) as process:
            server = Server(f"http://127.0.0.1:{port}/invocations", process.pid, photo, check)

            def is_ready() -> bool:
                return len(list(ready.iterdir())) >= wanted and _answers(server)

            try:
                local_servers.wait_until(is_ready, process, "not ready", START_SECONDS)
                yield server
            finally:
                _stop(process)


def install(name: str) -> Path:
    """Install the peer's locked packages and return its interpreter. Raise FaceError.

    A peer without requirements runs in this environment.
    """
    requirements = FOLDER / name / "requirements.txt"
    if not requirements.exists():
        return Path(sys.executable)
    environment = ROOT / "build" / "peers" / name
    python = environment / "bin" / "python"
    locked = ["--only-binary", ":all:", "--require-hashes", "--python", str(python)]
    for arguments in (
        ["venv", "--allow-existing", "--python", sys.executable, str(environment)],
        ["pip", "sync", *locked, str(requirements)],
    ):
        command = [str(Path(sys.executable).with_name("uv")), "--quiet", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise FaceError(f"uv {' '.join(arguments)}: {done.stderr.strip()[-800:]}")
    return python


def _low_port() -> int:
    """Return a free port below 32767: multi-model-server accepts no other."""
    for port in range(20_000, 32_767):
        with suppress(OSError):
            socket.create_server(("127.0.0.1", port)).close()
            return port
    raise FaceError("no port from 20000 to 32766 is free")


def _answers(server: Server) -> bool:
    """Return True if the server answers. Raise WrongAnswer for a wrong answer with status 200."""

    def first(status: int, body: bytes) -> None:
        if status != 200:  # some servers answer 404 or 5xx before they serve the model
            raise NoAnswer
        server.check(status, body)

    try:
        replace(server, check=first).round(1, 0.01)
    except (OSError, NoAnswer):
        return False
    return True


def _stop(process: local_servers.Process) -> None:
    """Stop a peer and its descendants, because not every server stops its workers."""
    with suppress(psutil.NoSuchProcess):
        descendants = tree(process.pid)[1:]
        process.stop()
        for each in descendants:
            with suppress(psutil.NoSuchProcess):
                each.kill()

"""Faults around a running server: each gets its status and log line, and affects nothing else."""

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from integration.http.peers import PHOTO
from ops.local_servers import ROOT, FaceError, process_environment
from soak.server import HOST, Server, serving, starting, until
from support.upstream import Handler, listening


class BadUpstream(Handler):
    """An http server, and S3 below /photos: S3's client requests /BUCKET/KEY."""

    def reply(self, body: bytes) -> None:
        name = self.path.rpartition("/")[2].partition("?")[0]
        if name == "hang":
            time.sleep(20)  # far longer than FETCH_TIMEOUT_SECONDS
        elif name == "truncated":
            self.answer(200, PHOTO[:1000], {"Content-Length": str(len(PHOTO))})
        else:
            status, _, code = name.partition("-")
            error = f"<Error><Code>{code}</Code><Message>no</Message></Error>"
            self.answer(int(status), error.encode())
        self.close_connection = True


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with listening(BadUpstream) as url:
        yield url


@pytest.fixture(scope="module")
def fetching(upstream: str) -> Iterator[Server]:
    environment = {
        "FETCH_PRIVATE_ADDRESSES": "1",
        "FETCH_TIMEOUT_SECONDS": "2",
        "URI_ALLOWLIST": f"{HOST}, no-such-host.invalid, s3://photos",
        "AWS_ENDPOINT_URL_S3": upstream,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with serving(environment) as server:
        server.wait_for_ready(2)
        yield server


FETCH_FAULTS = {
    "{http}/hang?signature=secret": f"{HOST} did not answer in time",
    "{http}/truncated?signature=secret": f"the connection to {HOST} broke",
    "{http}/503?signature=secret": f"{HOST} answered 503",
    "http://no-such-host.invalid/?signature=secret": "no-such-host.invalid was not found",
    "s3://photos/403-AccessDenied": "S3 answered AccessDenied",
    "s3://photos/404-NoSuchKey": "S3 answered NoSuchKey",
    "s3://photos/503-SlowDown": "S3 answered SlowDown",
    "s3://photos/hang": "S3",
    "s3://photos/truncated": "S3",
}


@pytest.mark.parametrize("uri", FETCH_FAULTS)
def test_a_fetch_that_fails_is_424_and_one_line(fetching: Server, upstream: str, uri: str) -> None:
    filled = uri.format(http=upstream)
    request_id = {"X-Amzn-SageMaker-Inference-Id": uri[-40:]}
    reply = fetching.post(json.dumps({"uri": filled}).encode(), **request_id)
    error = json.loads(reply.body)["error"]
    assert (reply.status, error["code"]) == (424, "uri_fetch_failed")
    assert error["message"].startswith(FETCH_FAULTS[uri])
    (line,) = [record for record in fetching.log() if record.get("requestId") == uri[-40:]]
    assert (line["message"], line["status"], line["code"]) == ("request", 424, "uri_fetch_failed")
    assert line["level"] == "INFO"  # a caller's fault must not page anyone
    assert "traceback" not in line


def test_fetches_that_fail_leave_nothing_behind(fetching: Server, upstream: str) -> None:
    """Pictures are answered while the fetches are in progress."""
    uris = [uri.format(http=upstream) for uri in FETCH_FAULTS] * 3
    bodies = [json.dumps({"uri": uri}).encode() for uri in uris]
    right = fetching.post(PHOTO, "image/jpeg").body

    def all_at_once() -> None:
        with ThreadPoolExecutor(len(bodies)) as clients:
            replies = clients.map(fetching.post, bodies)
            while_they_hang = [fetching.post(PHOTO, "image/jpeg") for _ in range(10)]
            assert {reply.status for reply in replies} == {424}
        assert [(r.status, r.body) for r in while_they_hang] == [(200, right)] * 10

    for _ in range(3):  # start the threads that the server needs for so many requests
        all_at_once()
    before = fetching.holding()
    for _ in range(3):
        all_at_once()
    # A hanging fetch ends shortly after its timeout; there were 18. A pool may start a thread late.
    until(lambda: fetching.holding().threads < before.threads + 9)
    until(lambda: fetching.holding().descriptors <= before.descriptors + 4)
    assert fetching.holding().files == before.files


# The checkout may be in /tmp, so the script moves it aside and back.
FILL = f"""
held=$(mktemp -d /dev/shm/XXXXXX)
mount --bind {ROOT} $held
mount -t tmpfs -o size=64k full /tmp
mount -t tmpfs -o size=64k full /var/tmp
for place in /tmp /var/tmp; do head -c 100000 /dev/zero > $place/full 2>/dev/null || true; done
mkdir -p {ROOT}
mount --move $held {ROOT}
rmdir $held
cd /tmp
exec "$@"
"""


@contextmanager
def full(**environment: str) -> Iterator[Server]:
    """Run a server whose temporary folders are full, in its own mount namespace."""
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    settings = {"TMPDIR": "/tmp", **environment}  # noqa: S108 - the full folder
    with serving(settings, prefix=[*unshare, "sh", "-ec", FILL, "sh"]) as server:
        yield server


def test_a_full_temporary_folder_ends_the_start() -> None:
    with pytest.raises(FaceError) as failed, full():
        pass
    assert "ended with status 1" in str(failed.value)
    assert "traceback" not in str(failed.value)
    assert "No usable temporary directory" in str(failed.value)


def test_a_model_folder_that_vanishes(tmp_path: Path, artifact_folder: Path) -> None:
    """Workers serve the model in memory. A worker that has to load it again ends the server."""
    folder = shutil.copytree(artifact_folder, tmp_path / "model")
    with serving({}, arguments=["--model-path", str(folder)]) as server:
        server.wait_for_ready(2)
        shutil.rmtree(folder)
        assert [server.post(PHOTO, "image/jpeg").status for _ in range(10)] == [200] * 10
        assert server.get("/ping").status == 200
        os.kill(server.workers()[0], signal.SIGKILL)
        until(lambda: server.has_ended)
        errors = [record for record in server.log() if record["level"] == "ERROR"]
        said = [record for record in errors if record["logger"] != "gunicorn.error"]
    assert len(said) == 1, errors
    assert str(folder) in said[0]["message"]
    assert not any("traceback" in record for record in errors)


def test_a_signal_that_nginx_misses_is_sent_again(tmp_path: Path) -> None:
    """nginx misses a SIGQUIT that comes while it starts. The stub misses the first one."""
    stub, started = tmp_path / "nginx", tmp_path / "started"
    stub.write_text(
        f"#!/bin/sh\ntrap 'trap \"exit 0\" QUIT' QUIT\n: >{started}\nwhile :; do sleep 0.1; done\n"
    )
    stub.chmod(0o755)
    with starting({"PATH": f"{tmp_path}:{process_environment()['PATH']}"}) as server:
        until(started.exists)
        assert server.process.stop() == 0

"""Faults around a running server: each gets its status and log line, and affects nothing else."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ops.local_servers import process_environment
from soak.server import HOST, serving, starting, until
from support.cases import PHOTOS
from support.upstream import Handler, listening

PHOTO = (PHOTOS / "cat.jpg").read_bytes()


class BadUpstream(Handler):
    """An http server, and S3 below /photos: S3's client requests /BUCKET/KEY."""

    def reply(self, body: bytes) -> None:
        name = self.path.rpartition("/")[2].partition("?")[0]
        if name == "hang":
            time.sleep(20)  # far longer than FETCH_TIMEOUT_SECONDS
        elif name == "truncated":
            self.answer(200, PHOTO[:1000], {"Content-Length": str(len(PHOTO))})
        else:
            self.answer(403, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>")
        self.close_connection = True


def test_fetches_that_fail_leave_nothing_behind() -> None:
    """Each is 424. Pictures are answered while the fetches are in progress."""
    environment = {
        "FETCH_PRIVATE_ADDRESSES": "1",
        "FETCH_TIMEOUT_SECONDS": "2",
        "URI_ALLOWLIST": f"{HOST}, s3://photos",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with (
        listening(BadUpstream) as upstream,
        serving({**environment, "AWS_ENDPOINT_URL_S3": upstream}) as server,
    ):
        uris = [f"{upstream}/hang", f"{upstream}/truncated", "s3://photos/denied"]
        uris += ["s3://photos/hang", "s3://photos/truncated"]
        bodies = [json.dumps({"uri": uri}).encode() for uri in uris * 3]
        server.wait_for_ready(2)
        right = server.post(PHOTO, "image/jpeg").body

        def all_at_once() -> None:
            with ThreadPoolExecutor(len(bodies)) as clients:
                replies = clients.map(server.post, bodies)
                while_they_hang = [server.post(PHOTO, "image/jpeg") for _ in range(10)]
                assert {reply.status for reply in replies} == {424}
            assert [(r.status, r.body) for r in while_they_hang] == [(200, right)] * 10

        for _ in range(3):  # start the threads that the server needs for so many requests
            all_at_once()
        before = server.holding()
        for _ in range(3):
            all_at_once()
        # A hanging fetch ends shortly after its timeout; there were 18. A pool may start one late.
        until(lambda: server.holding().threads < before.threads + 9)
        until(lambda: server.holding().descriptors <= before.descriptors + 4)
        assert server.holding().files == before.files
        # A caller's fault must not page anyone.
        assert {record["level"] for record in server.log()} == {"INFO"}
        failed = [record for record in server.log() if record.get("status") == 424]
        assert len(failed) == 6 * len(bodies)
        assert {record["code"] for record in failed} == {"uri_fetch_failed"}


READ_ONLY = """
cd /
for place in /tmp /var/tmp; do mount --bind $place $place; mount -o remount,bind,ro $place; done
mount -o remount,bind,ro /
exec "$@"
"""


def test_a_read_only_file_system_affects_no_request() -> None:
    """The server runs in its own mount namespace, in which only /dev/shm is writable."""
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    largest = PHOTO.ljust(4 * 1024 * 1024, b"\0")  # bytes after the end of a JPEG are ignored
    with serving({}, prefix=[*unshare, "sh", "-ec", READ_ONLY, "sh"]) as server:
        replies = [server.post(body, "image/jpeg") for body in (PHOTO, largest)]
        assert [reply.status for reply in replies] == [200, 200]
        assert server.get("/ping").status == 200
        assert all(record["level"] == "INFO" for record in server.log())


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

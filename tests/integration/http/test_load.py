"""How the workers share the load, and how the server stops. tests/soak overloads it."""

from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from integration.http.peers import HEAD, PHOTO, SECONDS, answer, connections
from soak.server import Server, serving


def test_the_workers_share_the_requests_evenly() -> None:
    """Send two at a time: with more, every worker is always busy."""
    with serving({"WORKERS": "2"}) as server, ThreadPoolExecutor(2) as clients:
        server.wait_for_ready(2)
        before = _cpu_seconds(server)
        list(clients.map(lambda _: server.post(PHOTO, "image/jpeg"), range(100)))
        used = [after - time for time, after in zip(before, _cpu_seconds(server), strict=True)]
    assert max(used) < 0.7 * sum(used)


def _cpu_seconds(server: Server) -> list[float]:
    return [sum(psutil.Process(worker).cpu_times()[:2]) for worker in server.workers()]


def test_sigterm_waits_for_a_request_that_has_begun() -> None:
    with (
        serving({"WORKERS": "1"}) as server,
        connections(server, 2) as (half_a_head, half_a_body),
        ThreadPoolExecutor(1) as stopping,
    ):
        half_a_head.sendall(b"GET /ping HTTP/1.1\r\nHos")
        half_a_body.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(PHOTO) + PHOTO[:9999])
        server.get("/ping")  # so that nginx has accepted both
        status = stopping.submit(server.process.stop)
        with pytest.raises(TimeoutError):
            status.result(1)
        half_a_head.sendall(b"t: x\r\n\r\n")
        half_a_body.sendall(PHOTO[9999:])
        assert answer(half_a_head)[0].status == 200
        assert answer(half_a_body)[0].status == 200
        assert status.result(SECONDS) == 0

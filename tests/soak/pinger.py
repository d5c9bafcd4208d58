"""`python pinger.py PORT`: asks `/ping` for as long as it runs, and prints a line for each answer.

A process of its own, as SageMaker's is: in the harness's, a ping would wait for its turn there.
"""

import http.client
import socket
import sys
import time

EVERY_SECONDS = 0.5
_GIVEN_UP_SECONDS = 30.0


def main(port: int) -> None:
    kept = http.client.HTTPConnection("127.0.0.1", port, timeout=_GIVEN_UP_SECONDS)
    while True:
        ping(kept)
        fresh = http.client.HTTPConnection("127.0.0.1", port, timeout=_GIVEN_UP_SECONDS)
        ping(fresh)
        fresh.close()
        time.sleep(EVERY_SECONDS)


def ping(connection: http.client.HTTPConnection) -> None:
    """Print how long it took, the connection's own port, and the status or what went wrong."""
    started, own_port = time.perf_counter(), 0
    try:
        if not connection.sock:
            connection.connect()
        if isinstance(connection.sock, socket.socket):
            own_port = connection.sock.getsockname()[1]
        connection.request("GET", "/ping")
        answer = connection.getresponse()
        answer.read()
        said = str(answer.status)
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        said = repr(error)
    print(f"{time.perf_counter() - started:.4f} {own_port} {said}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))

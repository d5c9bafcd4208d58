"""Where an array of N pictures pays: one request against the same pictures asked for singly.

Both go over one kept connection to `entry.sh serve` with one process, by turns, and are timed until
the last answer is here:

    data          the pictures lie in the request
    upstream      at addresses of this machine that answer at once
    50 ms         at addresses that answer after 50 ms
    large         at once, pictures of 2400x1800, and a process with two threads, as on Lambda with
                  two vCPUs; the rest are 640x480, and one thread

Every answer is compared, the array's byte for byte with the single ones. Ends with status 1 at a
wrong one.
"""

import argparse
import http.client
import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "container")]

from bench import pipeline  # noqa: E402 - found by the line above
from bench.answers import TOLERANCE, Gate, results  # noqa: E402
from bench.measured import WrongAnswer, check  # noqa: E402
from bench.ours import data_uri, obey_image_settings, photograph, server  # noqa: E402
from bench.report import interval, write  # noqa: E402
from ops import faces  # noqa: E402
from serving.errors import StartError  # noqa: E402

PICTURES = (1, 4, 16, 64)
SETTINGS = {
    "WORKERS": "1",
    "FETCH_PRIVATE_ADDRESSES": "1",
    "MAX_BODY_BYTES": str(16 * 1024**2),  # 64 pictures in a request
}

Seconds = tuple[float, float]  # of the array, and of the single requests together


@dataclass(frozen=True)
class Source:
    """Where pictures come from, and how many threads the process has that answers about them."""

    name: str
    latency_seconds: float = 0.0
    inline: bool = False
    large: bool = False
    threads: int = 1


SOURCES = (
    Source("data", inline=True),
    Source("upstream"),
    Source("50 ms", latency_seconds=0.05),
    Source("large", large=True, threads=2),
)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench/batches.py", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--pairs", type=int, default=10, help="(%(default)s)")
    parser.add_argument("--quick", action="store_true", help="3 pairs, and no array of 64")
    parser.add_argument("--out", type=Path, help="write what was measured to this file")
    options = parser.parse_args(arguments)
    pairs, sizes = (3, PICTURES[:-1]) if options.quick else (options.pairs, PICTURES)
    obey_image_settings()
    console, printed, cells = Console(highlight=False), sys.stdout, []
    try:
        for source in SOURCES:
            photo = enlarged() if source.large else photograph()
            expected = results(json.loads(pipeline.expected_answer(photo)))
            sys.stdout = printed
            measured = measure(source, photo, Gate(expected, TOLERANCE), sizes, pairs)
            cells += [summary(source, n, found) for n, found in measured.items()]
    except (WrongAnswer, StartError, faces.FaceError, OSError) as error:
        console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return 1
    _show(cells, console)
    if options.out:
        write(options.out, {"cells": cells}, console)
    return 0


def measure(
    source: Source, photo: bytes, gate: Gate, sizes: Sequence[int], pairs: int
) -> dict[int, list[Seconds]]:
    """Pairs of each size of array. Raises WrongAnswer or FaceError."""
    settings = {**SETTINGS, "OMP_NUM_THREADS": str(source.threads)}
    inline = data_uri(photo)
    with (
        upstream(photo, source.latency_seconds) as address,
        patch.dict(os.environ, settings),
        server(1) as (target, _),
        closing(http.client.HTTPConnection(urlsplit(target.url).netloc, timeout=60)) as connection,
    ):
        ask = partial(_ask, connection)
        record = json.dumps({"uri": inline if source.inline else address}).encode()
        expected = ask(record)
        gate.check(200, expected)
        return {n: compare(ask, record, expected, n, pairs) for n in sizes}


def compare(
    ask: Callable[[bytes], bytes], record: bytes, expected: bytes, n: int, pairs: int
) -> list[Seconds]:
    """Pairs of an array of `n` records and `n` requests, in either order by turns."""
    array, answers = (b"[" + b",".join([text] * n) + b"]" for text in (record, expected))

    def together() -> None:
        check(200, ask(array), answers)

    def singly() -> None:
        for _ in range(n):
            check(200, ask(record), expected)

    found: list[Seconds] = []
    for number in range(pairs + 1):
        seconds = {}
        for side in (together, singly)[:: -1 if number % 2 else 1]:
            started = time.perf_counter()
            side()
            seconds[side] = time.perf_counter() - started
        if number:  # the first of each is slower, and does not count
            found.append((seconds[together], seconds[singly]))
    return found


def _ask(connection: http.client.HTTPConnection, body: bytes) -> bytes:
    connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
    reply = connection.getresponse()
    answer = reply.read()
    check(reply.status, answer, answer)
    return answer


@contextmanager
def upstream(body: bytes, latency_seconds: float) -> Iterator[str]:
    """An address that answers with `body`, each time after that long."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(latency_seconds)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Listener(ThreadingHTTPServer):
        request_queue_size = 64  # of the 8 that come at once, the stock 5 would drop some for 1 s

    with Listener(("127.0.0.1", 0), Handler) as listener:
        thread = threading.Thread(target=listener.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.server_port}/"
        finally:
            listener.shutdown()
            thread.join()


def enlarged() -> bytes:
    """A photograph as large as a telephone's are, with the grain that they have."""
    small = cv2.imdecode(np.frombuffer(photograph(), np.uint8), cv2.IMREAD_COLOR)
    large = cv2.resize(small, (2400, 1800), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    grain = np.random.default_rng(0).normal(0, 4, large.shape).astype(np.int16)
    pixels = np.clip(large + grain, 0, 255).astype(np.uint8)
    return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 85])[1])


def summary(source: Source, pictures: int, pairs: Sequence[Seconds]) -> dict[str, Any]:
    """Median milliseconds a picture, and how many times sooner the array's last answer comes."""
    ratio, low, high = interval([singly / together for together, singly in pairs])
    together, singly = (
        statistics.median(side) * 1000 / pictures for side in zip(*pairs, strict=True)
    )
    return {
        "source": source.name,
        "threads": source.threads,
        "pictures": pictures,
        "array_ms_per_picture": together,
        "single_ms_per_picture": singly,
        "times_sooner": ratio,
        "interval": [low, high],
        "pairs": [list(pair) for pair in pairs],
    }


def _show(cells: Sequence[Mapping[str, Any]], console: Console) -> None:
    table = Table("from", "threads")
    for heading in ("pictures", "array, ms each", "single, ms each", "times sooner"):
        table.add_column(heading, justify="right")
    for cell in cells:
        low, high = cell["interval"]
        table.add_row(
            cell["source"],
            str(cell["threads"]),
            str(cell["pictures"]),
            f"{cell['array_ms_per_picture']:.1f}",
            f"{cell['single_ms_per_picture']:.1f}",
            f"{cell['times_sooner']:.2f} ({low:.2f} to {high:.2f})",
        )
    console.print(table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

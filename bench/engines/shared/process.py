"""One process of one engine: a cold start as the Lambda face has it, then warm requests.

`bench/engine_rounds.py` starts it, with the engine's `engine.py` on the path. The pipeline is ours;
only the forward is the engine's. Time is the system's monotonic clock, which the parent has too.
"""

# What serving/lambda_handler.py imports. awslambdaric is left out: it is the same for all.
import base64  # noqa: F401
import json
import logging  # noqa: F401
import math
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote  # noqa: F401

from serving import artifact, contract, engines, errors, inference, logs, service, settings  # noqa: F401
from serving.images import decode

import engine  # isort: skip - after ours, as the handler's model is

imported = time.monotonic()

WARM_UP = 5  # forwards until every buffer is there and the clock of the CPU is up


def main() -> None:
    photo = Path(os.environ["BENCH_PHOTO"]).read_bytes()
    model, seconds = Path(os.environ["BENCH_MODEL"]), float(os.environ["BENCH_SECONDS"])
    started = float(os.environ["BENCH_STARTED"])
    engines.load = lambda _artifact, threads: engine.load(model, threads)
    net = inference.load_model()
    inference.warm_up(net)
    loaded = time.monotonic()
    found = net.classifier.probabilities(photo)
    answered = time.monotonic()
    for _ in range(WARM_UP):
        net.classifier.probabilities(photo)
    whole = milliseconds(lambda: net.classifier.probabilities(photo), seconds)
    tensor = net.classifier.transform(decode(photo))
    forward = milliseconds(lambda: net.classifier.forward(tensor), seconds / 2)
    memory = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    report = {
        "import_ms": (imported - started) * 1000,
        "load_ms": (loaded - imported) * 1000,
        "first_ms": (answered - loaded) * 1000,
        "warm_ms": statistics.median(whole),
        "warm_mean_ms": statistics.mean(whole),
        "warm_billed_ms": statistics.mean(map(math.ceil, whole)),
        "forward_ms": statistics.median(forward),
        # Not getrusage's peak: that begins with the parent's, from between fork and exec.
        "peak_rss_mb": int(memory["VmHWM"].split()[0]) * 1024 / 1e6,
        "rss_mb": int(memory["VmRSS"].split()[0]) * 1024 / 1e6,
        "cpu_seconds": time.process_time(),
        "probabilities": found.tolist(),
    }
    Path(os.environ["BENCH_REPORT"]).write_text(json.dumps(report))


def milliseconds(call: Callable[[], object], seconds: float) -> list[float]:
    """Of each call, for that long."""
    taken = []
    started = last = time.perf_counter()
    while last - started < seconds:
        call()
        now = time.perf_counter()
        taken.append((now - last) * 1000)
        last = now
    return taken


if __name__ == "__main__":
    main()

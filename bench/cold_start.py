"""Measure a Lambda cold start: the time from an event to its answer if no process runs yet.

AWS's emulator starts the function when the first event arrives. Runs alternate between our handler
and the proof of concept's; with --doorman, between a function that forwards to an endpoint and our
handler. `imports` ends when the handler loads the model, `load` when it is ready (ours has
classified a picture by then), and `answer` is the rest. A wrong answer ends the run with status 1.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "container")]

from bench import benchmark  # noqa: E402 - found by the line above
from bench.answers import check_of, expected_answer, photograph  # noqa: E402
from bench.load import Check, memory_mb, tree  # noqa: E402
from bench.servers import endpoint, use_image_environment  # noqa: E402
from ops import local_servers  # noqa: E402
from ops.inputs import Input, data_uri  # noqa: E402
from serving.artifact.resolve import resolve  # noqa: E402

PEER = "exec aws-lambda-rie $RIE_OPTIONS python -m awslambdaric handler.handler"
# The milliseconds of each stage and their total, and the function's memory (10^6 bytes).
ColdStart = dict[str, float]


def measure(options: argparse.Namespace) -> None:
    settings, photo = use_image_environment(), photograph()
    artifact, expected = resolve(settings).folder, expected_answer(settings, photo)
    check = check_of(expected)
    del os.environ["OMP_NUM_THREADS"]  # entry.sh or the handler sets it, as on Lambda
    sides = ("doorman", "ours") if options.doorman else ("ours", "proof_of_concept")
    rounds: dict[str, list[ColdStart]] = {side: [] for side in sides}
    with endpoint(expected) as forwarding:
        for number in range(options.pairs + 1):
            for side in sides[:: -1 if number % 2 else 1]:
                more = forwarding if side == "doorman" else {}
                rounds[side].append(cold_start(side, photo, check, artifact, more))
            times = (f"{side} {rounds[side][-1]['total']:.0f} ms" for side in sides)
            print(f"pair {number}:", *times, flush=True)
    # The first pair read its files from the disk.
    found = summary({side: each[1:] for side, each in rounds.items()})
    for side in sides:
        figures = (f"{key} {value:.0f}" for key, value in found[side]["medians"].items())
        print(f"{side}: {', '.join(figures)} (ms and MB)")
    for name in ("times_sooner", "memory"):
        ratio, (low, high) = found[name].values()
        print(f"{name}: {ratio:.2f} ({low:.2f} to {high:.2f})")
    if options.out:
        benchmark.write(options.out, found)


def cold_start(
    side: str, photo: bytes, check: Check, artifact: Path, more: Mapping[str, str]
) -> ColdStart:
    """Measure one cold start. Raise WrongAnswer or FaceError."""
    port = local_servers.free_port()
    environment = {
        **local_servers.lambda_settings(),
        "RIE_OPTIONS": f"--runtime-interface-emulator-address 127.0.0.1:{port} "
        f"--runtime-api-address 127.0.0.1:{local_servers.free_port()}",
        "PYTHONPATH": str(ROOT / "bench" / "peers" / "proof_of_concept"),
        "BENCH_ARTIFACT": str(artifact),
        **more,
    }
    start = PEER if side == "proof_of_concept" else f"exec {local_servers.ENTRY}"
    with local_servers.running(["sh", "-c", start], environment) as process:
        local_servers.wait_until_open(port, process)
        face = local_servers.EmulatedLambda(f"http://127.0.0.1:{port}")
        asked = time.time()
        answer = face.invoke({"uri": data_uri(Input("photo", "image/jpeg", photo))})
        answered = time.time()
        check(200, json.dumps(answer).encode())
        ready, load = _ready(process.output)
        rss, pss = max(memory_mb(tree(process.pid)))
    seconds = {"imports": ready - load - asked, "load": load, "answer": answered - ready}
    stages = {stage: each * 1000 for stage, each in seconds.items()}
    return {**stages, "total": sum(stages.values()), "rss_mb": rss, "pss_mb": pss}


def _ready(output: str) -> tuple[float, float]:
    """Return when the model was ready, in seconds since the epoch, and how long loading took."""
    for line in output.splitlines():
        if '"message": "ready"' in line:
            record = json.loads(line[line.index("{") :])
            return datetime.fromisoformat(record["timestamp"]).timestamp(), record["seconds"]
    raise local_servers.FaceError(f"the handler did not log that it is ready: {output[-500:]}")


def summary(rounds: Mapping[str, Sequence[ColdStart]]) -> dict[str, Any]:
    """Return each side's medians, and the ratios of time and memory with their intervals."""
    pairs = [*zip(*rounds.values())]
    return {
        "pairs": len(pairs),
        "times_sooner": benchmark.interval([peer["total"] / ours["total"] for ours, peer in pairs]),
        "memory": benchmark.interval([ours["rss_mb"] / peer["rss_mb"] for ours, peer in pairs]),
        **{
            side: {"medians": benchmark.medians(each), "rounds": each}
            for side, each in rounds.items()
        },
    }


if __name__ == "__main__":
    parser = benchmark.parser_of(__doc__, pairs=12)
    parser.add_argument("--doorman", action="store_true", help="compare a doorman with ours")
    sys.exit(benchmark.run(measure, parser))

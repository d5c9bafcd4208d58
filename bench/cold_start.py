"""Cold start: from an event to its answer, when no process of the function exists yet.

AWS's Runtime Interface Emulator starts the function when the first event comes, so that its answer
takes what a cold start takes within an environment that is there. Ours and the proof of concept's
handler by turns, three stages of each:

    imports   until the handler begins to load the model: emulator, interpreter, packages
    load      the model; ours answers a first picture here too
    answer    the event: decode, infer, encode

Files are in the page cache for both. Ends with status 1 at a wrong answer.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "container")]

from bench import pipeline  # noqa: E402 - found by the line above
from bench.answers import TOLERANCE, Gate, results  # noqa: E402
from bench.environments import PEERS  # noqa: E402
from bench.measured import WrongAnswer, memory_mb, tree  # noqa: E402
from bench.ours import CHOICES, data_uri, obey_image_settings, photograph  # noqa: E402
from bench.report import ratio, write  # noqa: E402
from ops import faces  # noqa: E402
from serving.artifact import resolve  # noqa: E402
from serving.errors import StartError  # noqa: E402
from serving.settings import Settings  # noqa: E402

# The proof of concept's handler under the emulator alone: our entry.sh would give it what ours sets
# for the libraries.
SIDES = {
    "ours": (str(faces.ENTRY),),
    "proof_of_concept": ("aws-lambda-rie", "python", "-m", "awslambdaric", "handler.handler"),
}
STAGES = ("imports", "load", "answer")


@dataclass(frozen=True)
class ColdStart:
    """Milliseconds of each stage, and the function's memory (10^6 bytes) after its answer."""

    imports: float
    load: float
    answer: float
    rss_mb: float
    pss_mb: float

    @property
    def total(self) -> float:
        return self.imports + self.load + self.answer


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench/cold_start.py", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--pairs", type=int, default=12, help="(%(default)s)")
    parser.add_argument("--quick", action="store_true", help="3 pairs")
    parser.add_argument("--out", type=Path, help="write what was measured to this file")
    options = parser.parse_args(arguments)
    obey_image_settings()
    for name in ("OMP_NUM_THREADS", *CHOICES):
        os.environ.pop(name)  # entry.sh and each handler choose, as they do on Lambda
    console, printed, photo = Console(highlight=False), sys.stdout, photograph()
    try:
        expected = results(json.loads(pipeline.expected_answer(photo)))
        sys.stdout = printed
        artifact = resolve(Settings.from_environment(os.environ)).folder
        gate, pairs = Gate(expected, TOLERANCE), []
        for number in range((3 if options.quick else options.pairs) + 1):
            order = list(SIDES)[:: -1 if number % 2 else 1]
            pair = {side: measure(side, photo, gate, artifact) for side in order}
            if number:  # the first of each read its files from the disk
                pairs.append(pair)
                console.print(
                    f"pair {number}:", *(f"{side} {pair[side].total:.0f} ms" for side in SIDES)
                )
    except (WrongAnswer, StartError, faces.FaceError, OSError) as error:
        console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return 1
    found = summary(pairs)
    _show(found, console)
    if options.out:
        write(options.out, found, console)
    return 0


def measure(side: str, photo: bytes, gate: Gate, artifact: Path) -> ColdStart:
    """One cold start. Raises WrongAnswer or FaceError."""
    port = faces.free_port()
    addresses = [
        *("--runtime-interface-emulator-address", f"127.0.0.1:{port}"),
        *("--runtime-api-address", f"127.0.0.1:{faces.free_port()}"),
    ]
    program, *handler = SIDES[side]
    command = [program, *addresses, *handler] if handler else [program]
    environment = {
        **faces.lambda_settings(),
        "RIE_OPTIONS": " ".join(addresses),
        "PYTHONPATH": str(PEERS / "proof_of_concept"),
        "BENCH_ARTIFACT": str(artifact),
    }
    event = {"uri": data_uri(photo)}
    with faces.running(command, environment) as process:
        faces.wait_until_open(port, process)
        face = faces.EmulatedLambda(f"http://127.0.0.1:{port}")
        asked = time.time()
        answer = face.invoke(event)
        answered = time.time()
        gate.check(200, json.dumps(answer).encode())
        ready, load = _ready(process.output)
        rss, pss = max(memory_mb(tree(process.pid)[1:]).values())
    return ColdStart(
        imports=(ready - load - asked) * 1000,
        load=load * 1000,
        answer=(answered - ready) * 1000,
        rss_mb=rss,
        pss_mb=pss,
    )


def _ready(output: str) -> tuple[float, float]:
    """When the model was loaded, in seconds of the epoch, and how long that took."""
    for line in output.splitlines():
        if '"message": "ready"' in line:
            record = json.loads(line[line.index("{") :])
            return datetime.fromisoformat(record["timestamp"]).timestamp(), record["seconds"]
    raise faces.FaceError(f"the handler does not say that it is ready: {output[-500:]}")


def summary(pairs: Sequence[Mapping[str, ColdStart]]) -> dict[str, Any]:
    """Medians of each side, and how many times ours is sooner and smaller, with intervals."""
    ratios = {
        "times_sooner": [pair["proof_of_concept"].total / pair["ours"].total for pair in pairs],
        "memory": [pair["ours"].rss_mb / pair["proof_of_concept"].rss_mb for pair in pairs],
    }
    found: dict[str, Any] = {"pairs": len(pairs)}
    for name, values in ratios.items():
        found[name] = ratio(values)
    for side in SIDES:
        rounds = [pair[side] for pair in pairs]
        keys = (*STAGES, "total", "rss_mb", "pss_mb")
        found[side] = {
            "medians": {k: statistics.median(getattr(one, k) for one in rounds) for k in keys},
            "rounds": [asdict(one) for one in rounds],
        }
    return found


def _show(found: Mapping[str, Any], console: Console) -> None:
    for side in SIDES:
        of = found[side]["medians"]
        stages = ", ".join(f"{stage} {of[stage]:.0f}" for stage in STAGES)
        console.print(
            f"{side}: {of['total']:.0f} ms ({stages}); {of['rss_mb']:.0f} MB resident, "
            f"{of['pss_mb']:.0f} MB proportional",
            soft_wrap=True,
        )
    for name in ("times_sooner", "memory"):
        low, high = found[name]["interval"]
        label = name.replace("_", " ")
        console.print(f"{label}: {found[name]['ratio']:.2f} ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

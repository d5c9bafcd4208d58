"""Ours against its peers: the same model and picture, every answer checked.

Rounds of a closed loop over one request, a 640x480 JPEG, in pairs of ours and a peer in random
order. Each peer is installed from PyPI into an environment of its own in build/peers, once.

    --url measures one server anywhere instead: it must give the classes that ours gives.

Ends with status 1 at the first wrong answer, or when a peer cannot be installed or started.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "container")]

from bench import comparison, pipeline, started  # noqa: E402 - found by the line above
from bench.answers import TOLERANCE, Classes, Gate, results  # noqa: E402
from bench.connection import Target  # noqa: E402
from bench.duel import Duel, Side  # noqa: E402
from bench.environments import PeerError, python_of, versions  # noqa: E402
from bench.load import drive  # noqa: E402
from bench.measured import WrongAnswer  # noqa: E402
from bench.ours import obey_image_settings, photograph, server  # noqa: E402
from bench.report import machine  # noqa: E402
from bench.rivals import PEERS_BY_NAME, Peer  # noqa: E402
from ops import faces  # noqa: E402
from serving.artifact import resolve  # noqa: E402
from serving.errors import StartError  # noqa: E402
from serving.settings import Settings  # noqa: E402

FAULTS = (WrongAnswer, StartError, faces.FaceError, PeerError, OSError, ValueError)
QUICK = ["proof_of_concept", "multi_model_server", "litserve", "bentoml", "mlserver"]


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    console = Console(highlight=False)
    obey_image_settings()
    photo, printed = photograph(), sys.stdout
    try:
        body = pipeline.expected_answer(photo)
        sys.stdout = printed  # the pipeline's log has taken it
        expected = results(json.loads(body))
        if options.url:
            return _measure_url(options, photo, expected, console)
        for folder in dict.fromkeys(PEERS_BY_NAME[name].folder for name in options.peer):
            console.print(f"installing {folder}, unless it is", soft_wrap=True)
            python_of(folder)
        for name in [] if options.install else options.peer:
            try:
                found = _measure_peer(PEERS_BY_NAME[name], options, photo, expected, console)
            except FAULTS as error:
                raise PeerError(f"[{name}] {error}") from None
            if options.out:
                _write(options.out, name, found, options)
                console.print(f"written: {options.out}", soft_wrap=True)
    except FAULTS as error:
        console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return 1
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/peers.py", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    names = list(PEERS_BY_NAME)
    parser.add_argument(
        "--peer", nargs="+", choices=names, metavar="NAME", help=f"(all) of {', '.join(names)}"
    )
    parser.add_argument(
        "--concurrency", type=int, nargs="+", metavar="N", help="connections (1 8 32)"
    )
    parser.add_argument("--pairs", type=int, default=12, help="quiet pairs (%(default)s)")
    parser.add_argument(
        "--attempts", type=int, default=2, help="at each, where others disturb it (%(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=2.5, help="of a round (%(default)s)")
    parser.add_argument("--sweep", action="store_true", help="also 1 to 256 connections")
    parser.add_argument("--install", action="store_true", help="install the peers, and no more")
    parser.add_argument("--quick", action="store_true", help="3 pairs of 1 s")
    parser.add_argument("--out", type=Path, help="write what was measured to this file")
    parser.add_argument("--url", help="measure this server alone")
    parser.add_argument(
        "--header", action="append", default=[], help="a line to send along, 'Name: value'"
    )
    options = parser.parse_args(arguments)
    if options.quick:
        options.pairs, options.attempts, options.seconds = 3, 1, 1.0
    options.peer = options.peer or (QUICK if options.quick else names)
    options.concurrency = options.concurrency or ([8] if options.quick else [1, 8, 32])
    return options


def _measure_url(
    options: argparse.Namespace, photo: bytes, expected: Classes, console: Console
) -> int:
    target, gate = Target(options.url, options.header), Gate(expected, TOLERANCE)
    request = target.request(photo)
    for concurrency in options.concurrency:
        found = drive(target, request, gate.check, concurrency, options.seconds)
        console.print(
            f"{concurrency} connections: {found.requests_per_second:.1f} requests/s, "
            f"p50 {found.p50_ms:.1f} ms, p99 {found.p99_ms:.1f} ms, {found.refused} refused, "
            f"{found.broken} broken",
            soft_wrap=True,
        )
    return 0


def _measure_peer(
    rival: Peer, options: argparse.Namespace, photo: bytes, expected: Classes, console: Console
) -> dict[str, Any]:
    settings = Settings.from_environment(os.environ)
    workers, artifact = settings.workers, resolve(settings).folder
    ours, theirs = Gate(expected, 0.0), Gate(expected, rival.tolerance, rival.envelope)

    def say(text: str) -> None:
        console.print(f"[{rival.name}] {text}", markup=False, soft_wrap=True)

    starts: list[float] = []

    @contextmanager
    def peer() -> Iterator[Side]:
        with started.peer(rival, workers, artifact, photo, theirs.check) as found:
            starts.append(found.seconds_to_start)
            yield Side(found.target, found.pid, theirs, photo)

    with (
        server(workers) as (target, root),
        Duel(Side(target, root, ours, photo), peer, say) as duel,
    ):
        runs = []
        for n in options.concurrency:
            pairs, hangs = duel.pairs(n, options.pairs, options.attempts, options.seconds)
            runs.append(comparison.compare(n, pairs, options.pairs, hangs))
        comparison.show(rival.title, runs, console)
        both = zip(comparison.SIDES, (duel.ours, duel.peer))
        memory = {name: side.memory_mb() for name, side in both}
        limit = rival.largest_concurrency
        sweep = duel.sweep(options.seconds / 2, limit) if options.sweep else {}
    return {
        "title": rival.title,
        "note": rival.note,
        "versions": versions(python_of(rival.folder), rival.packages),
        "largest_difference_of_a_probability": theirs.largest_difference,
        "seconds_to_start": starts[0],
        "memory_mb": memory,
        "runs": runs,
        "sweep": sweep,
    }


def _write(path: Path, name: str, found: dict[str, Any], options: argparse.Namespace) -> None:
    """Beside the peers that the file has already: a run of one replaces only that one's."""
    report = json.loads(path.read_text()) if path.exists() else {"peers": {}}
    report |= {"machine": machine(), "seconds_per_round": options.seconds}
    report["peers"][name] = found
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Compare our server with its peers, with the same model and picture. Every answer is verified.

Each peer is installed once, from locked requirements, into build/peers. The exit status is 1 after
a wrong answer, or if a peer cannot be installed or started.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "container")]

from bench import benchmark, servers  # noqa: E402 - found by the line above
from bench.answers import check_of, expected_answer, photograph  # noqa: E402
from bench.load import Check, NoAnswer, Server  # noqa: E402
from serving.artifact.resolve import resolve  # noqa: E402

MAX_HANGS = 3  # for each peer and number of connections; the peer is started again after each


def measure(options: argparse.Namespace) -> None:
    settings, photo = servers.use_image_environment(), photograph()
    expected, artifact = expected_answer(settings, photo), resolve(settings).folder
    for name in options.peer:
        servers.install(name)
    exactly = check_of(expected, tolerance=0.0)
    with servers.own_server(settings.workers, photo, exactly) as ours:
        for name in options.peer:
            print(f"{name}:")
            peer = (name, settings.workers, artifact, photo, check_of(expected))
            found = {"runs": [_run(ours, peer, n, options) for n in options.concurrency]}
            if options.out:
                # Keep the results of the peers that this run does not measure.
                file = options.out
                kept = json.loads(file.read_text())["peers"] if file.exists() else {}
                report = {"seconds_per_round": options.seconds, "peers": {**kept, name: found}}
                benchmark.write(file, report)


def _run(
    ours: Server,
    arguments: tuple[str, int, Path, bytes, Check],
    connections: int,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Compare our server with a new process of the peer, which is started again if it hangs."""
    for hangs in range(MAX_HANGS):
        with servers.peer_server(*arguments) as peer:
            sides = {"ours": ours.faultless, "peer": peer.round}
            try:
                found = benchmark.match(sides, connections, options)
            except NoAnswer as error:
                print(f"{connections} connections: {error}")
                continue
            return {**found, "hangs": hangs}
    return {"concurrency": connections, "settled": False, "hangs": MAX_HANGS}


if __name__ == "__main__":
    parser = benchmark.parser_of(__doc__, pairs=12, attempts=2)
    names = list(servers.PEERS)
    parser.add_argument("--peer", nargs="+", choices=names, default=names, help="(all)")
    sys.exit(benchmark.run(measure, parser))

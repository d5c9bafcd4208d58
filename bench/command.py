"""The options of the benchmarks, and their exit status."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from bench.load import WrongAnswer
from ops.local_servers import FaceError
from serving.core.errors import StartError


def parser_of(
    text: str | None, *, pairs: int, attempts: int | None = None
) -> argparse.ArgumentParser:
    """Return a parser of the common options. Without `attempts`, rounds have no length."""
    parser = argparse.ArgumentParser(prog=sys.argv[0], description=text)
    add = parser.add_argument
    add("--pairs", type=int, default=pairs, help="quiet pairs (%(default)s)")
    add("--quick", action="store_true", help="fewer and shorter rounds")
    add("--out", type=Path, help="write the results to this file")
    if attempts:
        add("--concurrency", type=int, nargs="+", default=[1, 8, 32], help="connections (1 8 32)")
        add("--attempts", type=int, default=attempts, help="pairs for each quiet one (%(default)s)")
        add("--seconds", type=float, default=2.5, help="of a round (%(default)s)")
    return parser


def run(benchmark: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser) -> int:
    """Run a benchmark and return its exit status, which is 1 after an error or a wrong answer."""
    options = parser.parse_args()
    if options.quick:
        options.pairs, options.attempts, options.seconds, options.concurrency = 4, 1, 1.5, [8]
    try:
        benchmark(options)
    except (WrongAnswer, StartError, FaceError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0

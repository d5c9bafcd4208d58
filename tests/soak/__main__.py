"""`python -m soak`: mixed load at ten times the server's capacity, then a search for leaks.

It prints the figures as JSON. The exit status is 1 if an answer was wrong, a ping was late, or
anything grew.
"""

import argparse
import asyncio
import json
import logging
import sys

from soak.runs import leaks, overload

_WARM_UP = 20_000  # requests, during which the heaps of two workers grow; then they stay


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="of load, or 0 (%(default)s)")
    parser.add_argument("--times", type=float, default=10, help="the capacity (%(default)s)")
    seek = "requests for the search for leaks, or 0 (%(default)s)"
    parser.add_argument("--requests", type=int, default=50_000, help=seek)
    options = parser.parse_args()
    # S3's stand-in logs every request, and asyncio every write to a closed connection.
    for name in ("werkzeug", "asyncio"):
        logging.getLogger(name).setLevel(logging.ERROR)
    runs = {}
    if options.minutes:
        runs["overload"] = asyncio.run(overload(options.minutes * 60, options.times))
    if options.requests:
        runs["leaks"] = asyncio.run(leaks(options.requests, _WARM_UP))
    print(json.dumps({name: run.figures for name, run in runs.items()}, indent=2))
    problems = [problem for run in runs.values() for problem in run.problems]
    for problem in problems:
        print(f"WRONG: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

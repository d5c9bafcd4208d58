"""`python -m soak`: mixed load at ten times what the server can take, then a search for leaks.

Prints the figures as JSON. Ends with status 1 if an answer was wrong, a ping was late, or anything
grew.
"""

import argparse
import asyncio
import json
import logging
import sys

from soak.runs import leaks, overload

_WARM_UP = 20_000  # the heaps of two workers grow until then, and no more in 40,000 requests


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="of load; 0: none (%(default)s)")
    parser.add_argument("--times", type=float, default=10, help="the capacity (%(default)s)")
    parser.add_argument(
        "--requests", type=int, default=50_000, help="to look for leaks; 0: none (%(default)s)"
    )
    options = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # S3's stand-in tells every request
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # and this every write to a lost client
    runs = {}
    if options.minutes:
        runs["overload"] = asyncio.run(overload(options.minutes * 60, options.times, tell=True))
    if options.requests:
        runs["leaks"] = asyncio.run(leaks(options.requests, _WARM_UP))
    print(json.dumps({name: run.figures for name, run in runs.items()}, indent=2))
    problems = [problem for run in runs.values() for problem in run.problems]
    for problem in problems:
        print(f"WRONG: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

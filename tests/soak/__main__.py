"""`python -m soak`: mixed load at ten times what the server can take, then a search for leaks.

Ends with status 1 if an answer was wrong, a ping was late, or anything grew.
"""

import argparse
import asyncio
import json
import logging
import sys
from pathlib import Path

from soak.leaks import leaks
from soak.overload import Setting, overload
from soak.report import table

_WARM_UP = 5000


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="of load; 0: none (%(default)s)")
    parser.add_argument("--times", type=float, default=10, help="the capacity (%(default)s)")
    parser.add_argument(
        "--requests", type=int, default=50_000, help="to look for leaks; 0: none (%(default)s)"
    )
    parser.add_argument("--out", type=Path, help="a file for the figures, as JSON")
    options = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # S3's stand-in tells every request
    figures: dict[str, object] = {}
    problems: list[str] = []
    if options.minutes:
        run = asyncio.run(overload(Setting(options.minutes * 60, options.times, progress=True)))
        print(table(run))
        figures["overload"] = run.as_json()
        problems += run.problems
    if options.requests:
        left = asyncio.run(leaks(options.requests, _WARM_UP))
        print(f"{left.requests:,} requests\n  before: {left.before}\n  after:  {left.after}")
        figures["leaks"] = left.as_json()
        problems += left.problems
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2) + "\n")
    for problem in problems:
        print(f"WRONG: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

"""How much is fuzzed, with which seed, and what was seen.

`FUZZ_REQUESTS=100000 python -m pytest tests/fuzz` is the full run, of a new seed each time, which
it prints; `FUZZ_SEED` repeats one. Without them it is short, and the same every time.
"""

import os
import random
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, seed, settings

Test = TypeVar("Test", bound=Callable[..., Any])

SHORT = 4_000
REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "") or SHORT)
FULL = REQUESTS > SHORT
SEED = int(
    os.environ.get("FUZZ_SEED", "") or (random.SystemRandom().getrandbits(32) if FULL else 0)
)

# Of each kind, how many in a thousand at most, for Hypothesis stops when it has tried all there is.
# Raw sockets make up the rest.
SHARES = {
    "schemathesis": 60,
    "parser": 90,
    "addresses": 40,
    "fetcher": 30,
    "decoder": 20,
    "lambda": 30,
}

seen: Counter[str] = Counter()
statuses: Counter[str] = Counter()


def count(kind: str, of: int = 1) -> int:
    """How many of a kind one of `of` tests makes."""
    return REQUESTS * SHARES[kind] // 1000 // of


def fuzzed(kind: str, of: int = 1) -> Callable[[Test], Test]:
    """Have Hypothesis run a test `count(kind, of)` times.

    No deadline, since a machine may be slow, and no database, which would make runs differ.
    """

    def decorate(test: Test) -> Test:
        limits = settings(
            max_examples=count(kind, of),
            derandomize=not FULL,
            deadline=None,
            database=None,
            print_blob=True,
            phases=[Phase.explicit, Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        return limits(seed(SEED)(test) if FULL else test)

    return decorate


def saw(kind: str, answers: Collection[object] = ()) -> None:
    """Count one request, and the statuses of its answers."""
    seen[kind] += 1
    statuses.update(f"{kind}: {answer}" for answer in answers or ["no answer"])

"""Set how many requests are fuzzed and with which seed, and count the answers.

FUZZ_REQUESTS=100000 makes a full run, whose seed is new and printed; FUZZ_SEED repeats one. By
default the run is short and always the same.
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

# At most how many in a thousand each kind gets; Hypothesis stops early when it has tried all there
# is. Raw sockets make up the rest.
SHARES = {
    "schemathesis": 60,
    "parser": 90,
    "addresses": 40,
    "fetcher": 30,
    "decoder": 20,
    "lambda": 30,
}

seen: Counter[str] = Counter()
statuses: Counter[tuple[str, str]] = Counter()


def fuzzed(kind: str, of: int = 1) -> Callable[[Test], Test]:
    """Have Hypothesis run a test with its part of the kind's requests; `of` tests share them.

    No deadline, since a machine may be slow, and no database, which would make runs differ.
    """
    limits = settings(
        max_examples=REQUESTS * SHARES[kind] // 1000 // of,
        derandomize=not FULL,
        deadline=None,
        database=None,
        print_blob=True,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    return lambda test: limits(seed(SEED)(test) if FULL else test)


def saw(kind: str, answers: Collection[object] = ()) -> None:
    """Count one request, and the statuses of its answers."""
    seen[kind] += 1
    statuses.update((kind, str(answer)) for answer in answers or ["no answer"])

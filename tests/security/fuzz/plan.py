"""Set the number of fuzzed requests and the seed, and count the answers.

The default run is short and always the same. FUZZ_REQUESTS=100000 makes a full run with a new seed,
which it prints; FUZZ_SEED repeats a run.
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
_DEFAULT_SEED = random.SystemRandom().getrandbits(32) if FULL else 0
SEED = int(os.environ.get("FUZZ_SEED", "") or _DEFAULT_SEED)

# The largest number in a thousand requests for each kind; Hypothesis stops early after it has tried
# all inputs. Raw sockets get the rest.
SHARES = {"schemathesis": 60, "parser": 90, "addresses": 40, "fetcher": 30}
SHARES |= {"decoder": 20, "lambda": 30}

seen: Counter[str] = Counter()
statuses: Counter[tuple[str, str]] = Counter()


def fuzzed(kind: str) -> Callable[[Test], Test]:
    """Let Hypothesis run a test with its share of the requests.

    A machine may be slow, so there is no deadline. A database would make runs differ.
    """
    limits = settings(
        max_examples=REQUESTS * SHARES[kind] // 1000,
        derandomize=not FULL,
        deadline=None,
        database=None,
        print_blob=True,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    return lambda test: limits(seed(SEED)(test) if FULL else test)


def saw(kind: str, answers: Collection[object] = ()) -> None:
    seen[kind] += 1
    statuses.update((kind, str(answer)) for answer in answers or ["no answer"])

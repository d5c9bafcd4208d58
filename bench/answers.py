"""Which answers count: the classes of one picture, whatever a server wraps them in.

A server that answers fast and wrongly, or with a fast 404, has not been measured but found out.
"""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from bench.measured import WrongAnswer

TOLERANCE = 1e-5  # of a probability; the artifact's builder holds two engines to the same

Classes = list[tuple[str, float]]  # label and probability, most probable first
Envelope = Callable[[Any], Classes]


def results(document: Any) -> Classes:
    """Of our own wire format, `{"results": [{"label": ..., "prob": ...}, ...]}`."""
    return [(one["label"], float(one["prob"])) for one in document["results"]]


class Gate:
    """Lets the right answers pass. A body that passed once is compared by its bytes from then on.

    So the load generator, which shares the CPUs with what it measures, parses nothing twice.
    """

    def __init__(
        self, expected: Sequence[tuple[str, float]], tolerance: float, envelope: Envelope = results
    ) -> None:
        """`tolerance`: how far a probability may be off; the labels must be the same."""
        self._expected = list(expected)
        self._tolerance = tolerance
        self._envelope = envelope
        self._passed: set[bytes] = set()
        self.largest_difference = 0.0  # of a probability, in the answers so far

    def check(self, status: int, body: bytes) -> None:
        """Raises WrongAnswer."""
        if status == 200 and body in self._passed:
            return
        if status != 200 or (difference := self._difference(body)) > self._tolerance:
            raise WrongAnswer(
                f"wrong answer: {status} {body[:300]!r} where 200 and {self._expected}, each "
                f"within {self._tolerance:g}, are expected"
            )
        self.largest_difference = max(self.largest_difference, difference)
        if len(self._passed) < 1000:
            self._passed.add(body)

    def _difference(self, body: bytes) -> float:
        """Infinite where the classes are others, or there are none."""
        try:
            classes = self._envelope(json.loads(body))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            return math.inf
        if [label for label, _ in classes] != [label for label, _ in self._expected]:
            return math.inf
        pairs = zip(classes, self._expected)
        difference = max((abs(a - b) for (_, a), (_, b) in pairs), default=math.inf)
        return math.inf if math.isnan(difference) else difference

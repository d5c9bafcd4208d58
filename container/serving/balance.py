"""How many connections each worker process of a server has, in memory that they share."""

from multiprocessing.sharedctypes import RawArray

NOBODY = 2**30  # a place whose worker is not ready yet, or is gone


class Balance:
    """A place for each worker; the arbiter gives and takes places, its worker alone writes one."""

    def __init__(self, workers: int) -> None:
        # A worker may be started before the one that it replaces has gone. Of more (SIGTTIN adds
        # workers) the last place is everybody's.
        self._spare = 2 * workers
        self._counts = RawArray("i", [NOBODY] * (self._spare + 1))
        self._free = list(range(self._spare))

    def take(self) -> int:
        """A place for a worker that is about to be forked. Only in the arbiter, as `give_back`."""
        return self._free.pop(0) if self._free else self._spare

    def give_back(self, place: int) -> None:
        self._counts[place] = NOBODY
        if place != self._spare:
            self._free.append(place)

    def publish(self, place: int, connections: int) -> None:
        self._counts[place] = connections

    def has_most(self, place: int) -> bool:
        """Whether another worker has fewer connections."""
        return bool(self._counts[place] > min(self._counts))

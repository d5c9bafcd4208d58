"""Print the f32 operations a second of one core: the best of some products of large matrices."""

import sys
import time

import numpy as np

SIZE = 2048  # too large for the caches to matter, small enough for one to take 0.1 s


def main(repeats: int) -> None:
    one, other = (np.random.default_rng(i).random((SIZE, SIZE), np.float32) for i in range(2))
    out = np.empty((SIZE, SIZE), np.float32)
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        np.matmul(one, other, out=out)
        best = min(best, time.perf_counter() - started)
    print(2 * SIZE**3 / best)


if __name__ == "__main__":
    main(int(sys.argv[1]))

"""Milliseconds a picture of forwards of several, with one thread: `batches.py MODEL ROUNDS`.

MODEL takes any number of pictures. Prints the median for each number, as JSON; they take turns.
Every picture's logits have to be those that it gets alone, to 1e-4.
"""

import json
import statistics
import sys
import time

import numpy as np

from serving import engines  # noqa: F401 - before onnxruntime: it switches the telemetry off

import onnxruntime  # isort: skip

SIZES = (1, 2, 4, 8, 16)


def main(model: str, rounds: int) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    pictures = np.random.default_rng(0).standard_normal((max(SIZES), 3, 224, 224), np.float32)
    alone = np.concatenate([session.run(None, {name: pictures[i : i + 1]})[0] for i in range(16)])
    taken: dict[int, list[float]] = {size: [] for size in SIZES}
    for number in range(rounds + 1):
        for size in SIZES:
            for first in range(0, max(SIZES), size):  # as many pictures of each size
                started = time.perf_counter()
                logits = session.run(None, {name: pictures[first : first + size]})[0]
                seconds = time.perf_counter() - started
                if not np.allclose(logits, alone[first : first + size], rtol=0, atol=1e-4):
                    raise SystemExit(f"wrong answer: a batch of {size} changes the logits")
                if number:  # the first of each size makes its buffers
                    taken[size].append(seconds * 1000 / size)
    print(json.dumps({size: statistics.median(of) for size, of in taken.items()}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

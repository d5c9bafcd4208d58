"""Train the network in PyTorch, say how good it is, export it; README.md has the command. Minutes.

The network marks, on a grid of cells of 4 x 4 pixels, the middle of each digit with its class. It
learns from canvases that are made here of scikit-learn's 1,797 handwritten digits, 8 x 8 pixels
each. The last 297, of writers that the others do not have, are kept for the test.
"""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import onnx
import torch
from inference import CELL, CORE, SIDE, Found, digits_in
from sklearn.datasets import load_digits
from torch import nn

from serving.artifact import manifest

HERE = Path(__file__).parent
HELD_OUT = 297
STEPS, BATCH = 1500, 16
BACKGROUND = 10
PICTURES = {"one.png": (3,), "row.png": (4, 0, 7), "page.png": (9, 2, 5, 1, 8, 6)}


class Network(nn.Sequential):
    """Convolutions only: (N, 1, 128, 128), ink 1 on paper 0 -> (N, 11, 32, 32), logits."""

    def __init__(self) -> None:
        def block(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            )

        super().__init__(
            block(1, 16, stride=2),
            block(16, 32, stride=2),
            block(32, 48),
            block(48, 48, dilation=2),
            block(48, 48, dilation=2),
            block(48, 48, dilation=1),
            nn.Conv2d(48, 11, 1),
        )


def canvas(
    samples: np.ndarray, classes: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, list[Found]]:
    """A picture of one to six digits, its cells' classes, and where the digits are."""
    picture = np.zeros((SIDE, SIDE), np.float32)
    cells = np.full((SIDE // CELL, SIDE // CELL), BACKGROUND, np.int64)
    taken = np.zeros_like(picture)
    truth = []
    for _ in range(random.integers(1, 7)):
        which = random.integers(len(samples))
        size = int(random.integers(22, 45))
        turn = cv2.getRotationMatrix2D((size / 2, size / 2), random.uniform(-12, 12), 1.0)
        large = cv2.resize(samples[which], (size, size), interpolation=cv2.INTER_CUBIC)
        digit = cv2.warpAffine(large, turn, (size, size)).clip(0, 1)
        for _ in range(10):
            x, y = random.integers(0, SIDE - size, 2)
            if not taken[y : y + size, x : x + size].any():
                break
        else:
            continue
        taken[y : y + size, x : x + size] = 1
        picture[y : y + size, x : x + size] = digit
        lit = digit.max(axis=0) > 0.3
        left, right = np.flatnonzero(lit)[[0, -1]]
        box = (int(x + left), int(y), int(right - left + 1), size)
        truth.append(Found(int(classes[which]), box, 1.0))
        centres = (np.arange(SIDE // CELL) + 0.5) * CELL
        inside = [
            abs(centres - (start + length / 2)) <= max(length * CORE / 2, CELL / 2)
            for start, length in ((box[1], box[3]), (box[0], box[2]))
        ]
        cells[np.outer(*inside)] = classes[which]
    picture = picture ** random.uniform(0.6, 1.4) * random.uniform(0.6, 1.0)
    picture = picture + random.normal(0, random.uniform(0, 0.06), picture.shape)
    return picture.clip(0, 1).astype(np.float32), cells, truth


def batches(
    samples: np.ndarray, classes: np.ndarray, random: np.random.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    while True:
        made = [canvas(samples, classes, random)[:2] for _ in range(BATCH)]
        pictures, cells = (np.stack(each) for each in zip(*made))
        yield torch.from_numpy(pictures[:, None]), torch.from_numpy(cells)


def train(samples: np.ndarray, classes: np.ndarray) -> Network:
    torch.manual_seed(1)
    network = Network()
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=STEPS)
    loss_of = nn.CrossEntropyLoss()
    made = batches(samples, classes, np.random.default_rng(1))
    for step, (pictures, cells) in zip(range(STEPS), made):
        loss = loss_of(network(pictures), cells)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 250 == 0:
            print(f"step {step}: {loss.item():.4f}", flush=True)
    return network.eval()


def test(network: Network, samples: np.ndarray, classes: np.ndarray) -> dict[str, float]:
    """The share of digits that are found with the right class, and of finds that are right."""
    random = np.random.default_rng(2)
    right = found = there = 0
    for _ in range(500):
        picture, _, truth = canvas(samples, classes, random)
        with torch.no_grad():
            finds = digits_in(network(torch.from_numpy(picture[None, None])).numpy()[0])
        there, found = there + len(truth), found + len(finds)
        right += sum(
            any(t.digit == f.digit and _overlap(t.box, f.box) > 0.5 for f in finds) for t in truth
        )
    return {"recall": round(right / there, 4), "precision": round(right / found, 4)}


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """Intersection over union."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    return common / (a[2] * a[3] + b[2] * b[3] - common)


def draw(samples: np.ndarray, classes: np.ndarray) -> None:
    """The pictures that the golden cases ask about, of digits that were not trained on."""
    random = np.random.default_rng(3)
    for name, numbers in PICTURES.items():
        ink = np.zeros((240, 400), np.float32)
        for place, number in enumerate(numbers):
            sample = samples[random.choice(np.flatnonzero(classes == number))]
            x, y = 20 + place % 3 * 125, 15 + place // 3 * 112
            large = cv2.resize(sample, (96, 96), interpolation=cv2.INTER_CUBIC).clip(0, 1)
            ink[y : y + 96, x : x + 96] = large
        cv2.imwrite(str(HERE / "pictures" / name), np.uint8(255 - 235 * ink))


def export(network: Network, measured: dict[str, float]) -> None:
    artifact = HERE / "artifact"
    artifact.mkdir(exist_ok=True)
    torch.onnx.export(
        network,
        (torch.zeros(1, 1, SIDE, SIDE),),
        artifact / "model.onnx",
        input_names=["pictures"],
        output_names=["logits"],
        dynamo=True,
        external_data=False,
    )
    strip(artifact / "model.onnx")
    facts = {"name": "digits", "framework": f"PyTorch {torch.__version__}", "measured": measured}
    manifest.write(artifact, facts)


def strip(path: Path) -> None:
    """Leave out where each node comes from: the paths of this machine's files."""
    model = onnx.load(path)
    for each in (model, model.graph, *model.graph.node, *model.graph.value_info):
        del each.metadata_props[:]
        each.doc_string = ""
    path.write_bytes(model.SerializeToString())


def main() -> None:
    samples, classes = load_digits(return_X_y=True)
    samples = (samples.reshape(-1, 8, 8) / 16).astype(np.float32)
    draw(samples[-HELD_OUT:], classes[-HELD_OUT:])
    network = train(samples[:-HELD_OUT], classes[:-HELD_OUT])
    measured = test(network, samples[-HELD_OUT:], classes[-HELD_OUT:])
    print(measured)
    export(network, measured)


if __name__ == "__main__":
    main()

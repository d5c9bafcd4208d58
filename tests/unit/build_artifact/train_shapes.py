"""Train a small Gluon network, as a user would, to recognise three drawn shapes.

`train_shapes.py FOLDER` writes FOLDER/network, with the files of `net.export` and labels.txt, and
FOLDER/pictures, one new PNG of each class. It runs in the exporter's environment, which has MXNet
and OpenCV, and imports no module of this project.
"""

import sys
import warnings
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mxnet as mx
    from mxnet.gluon import nn
import cv2
import numpy as np

CLASSES = ("disc", "square", "stripes")
SIDE = 32
MEAN, STD = 0.5, 0.25


def draw(label: int, random: np.random.Generator) -> Any:
    """Draw a shape of random colour, place, size and background: (32, 32, 3), RGB."""
    picture = np.full((SIDE, SIDE, 3), random.integers(0, 100, 3), np.uint8)
    colour = [int(value) for value in random.integers(150, 256, 3)]
    x, y = (int(value) for value in random.integers(12, 20, 2))
    size = int(random.integers(6, 11))
    if label == 0:
        cv2.circle(picture, (x, y), size, colour, -1)
    elif label == 1:
        cv2.rectangle(picture, (x - size, y - size), (x + size, y + size), colour, -1)
    else:
        for row in range(size % 4, SIDE, 6):
            picture[row : row + 3] = colour
    return picture


def tensor(pictures: list[Any]) -> Any:
    batch = np.stack(pictures).transpose(0, 3, 1, 2).astype(np.float32) / 255
    return mx.nd.array((batch - MEAN) / STD)


def train(random: np.random.Generator) -> Any:
    net = nn.HybridSequential()
    for channels in (8, 16):
        net.add(nn.Conv2D(channels, 3, padding=1), nn.BatchNorm(), nn.Activation("relu"))
        net.add(nn.MaxPool2D(2))
    net.add(nn.Flatten(), nn.Dense(len(CLASSES)))
    net.initialize(mx.init.Xavier())
    net.hybridize()
    trainer = mx.gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.01})
    loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    for _ in range(60):
        labels = random.integers(0, len(CLASSES), 32)
        batch = tensor([draw(label, random) for label in labels])
        with mx.autograd.record():
            lost = loss(net(batch), mx.nd.array(labels))
        lost.backward()
        trainer.step(len(labels))
    return net


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    mx.random.seed(1)
    np.random.seed(1)  # for the initialiser
    random = np.random.default_rng(1)
    network = folder / "network"
    network.mkdir(parents=True)
    train(random).export(str(network / "shapes"), epoch=60)
    (network / "labels.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    (folder / "pictures").mkdir()
    for label, name in enumerate(CLASSES):
        picture = draw(label, random)
        large = cv2.resize(picture, (4 * SIDE, 4 * SIDE), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / "pictures" / f"{name}.png"), large[:, :, ::-1])

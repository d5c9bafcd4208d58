"""A network of yours: what `HybridBlock.export` wrote of it, and how its pictures are prepared.

These two files are all that leaves the place of its training, so it needs nothing of ours there.
They are also the artifact of those who have served symbol and params so far.
"""

import argparse
import math
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from serving import labels, manifest
from serving.errors import StartError, reason

if TYPE_CHECKING:
    from serving.zoo import Authored

# GluonCV's evaluation on ImageNet.
_MEAN, _STD, _CROP_RATIO = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 0.875
SYMBOL, PARAMS = "model-symbol.json", "model-0000.params"


@dataclass(frozen=True)
class Preprocessing:
    """Of a picture: its short side resized, the centre cut out, (x / 255 - mean) / std."""

    resize_short: int
    crop: int
    mean: Sequence[float]
    std: Sequence[float]


@dataclass(frozen=True)
class OwnNetwork:
    """A folder with one `*symbol.json` and one `*.params`; `labels`, a file, a class a line."""

    folder: Path
    labels: Path
    preprocessing: Preprocessing

    def copy(self, name: str, target: Path) -> None:
        """Make `target` an artifact without a graph that is compiled. Raises StartError."""
        found = {}
        for pattern, kept in (("*symbol.json", SYMBOL), ("*.params", PARAMS)):
            files = sorted(self.folder.glob(pattern))
            if len(files) != 1:
                raise StartError(
                    f"{self.folder} holds {len(files)} {pattern}, and one is needed: "
                    f"`net.hybridize()`, one forward, `net.export(PATH)` write it"
                )
            found[kept] = files[0]
        try:
            for kept, file in {**found, "labels.txt": self.labels}.items():
                shutil.copyfile(file, target / kept)
        except OSError as error:
            raise StartError(f"{error.filename} cannot be read: {error.strerror}") from None
        side = self.preprocessing.crop
        manifest.write(
            target,
            {
                "name": name,
                "input": {"name": "data", "shape": [1, 3, side, side], "layout": "NCHW, RGB"},
                "preprocessing": asdict(self.preprocessing),
                "source": {"network": found[SYMBOL].name},
            },
        )
        manifest.preprocessing(target)  # which judges it
        if not labels.read(target):
            raise StartError(f"{self.labels} is empty; it must have a line for each class")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("a network of yours, which NAME becomes the name of")
    group.add_argument(
        "--network",
        type=Path,
        metavar="FOLDER",
        help="what `net.export` wrote: one *symbol.json and one *.params, logits for answers",
    )
    group.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="its classes, one a line (default: labels.txt in FOLDER)",
    )
    group.add_argument(
        "--input-size",
        type=int,
        default=224,
        metavar="PIXELS",
        help="the side of the picture that it takes (default: %(default)s)",
    )
    group.add_argument(
        "--resize-short",
        type=int,
        metavar="PIXELS",
        help="the short side before the centre is cut out (default: the input size / 0.875)",
    )
    for name, default, what in (("mean", _MEAN, "subtracted"), ("std", _STD, "divided by")):
        group.add_argument(
            f"--{name}",
            type=_numbers,
            default=default,
            metavar="R,G,B",
            help=f"of values from 0 to 1, what is {what} (default: ImageNet's)",
        )


def of_arguments(options: argparse.Namespace) -> OwnNetwork:
    size = options.input_size
    short = options.resize_short or math.ceil(size / _CROP_RATIO)
    return OwnNetwork(
        options.network,
        options.labels or options.network / "labels.txt",
        Preprocessing(short, size, options.mean, options.std),
    )


def _numbers(text: str) -> list[float]:
    try:
        red, green, blue = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not R,G,B") from None
    return [red, green, blue]


def is_there(folder: Path) -> bool:
    """Whether `OwnNetwork.copy` has been in an artifact's folder."""
    return (folder / SYMBOL).exists()


def load(name: str, folder: Path) -> "Authored":
    """The network that `OwnNetwork.copy` has left there, ready to run. Raises StartError.

    Imports MXNet and GluonCV.
    """
    from serving.zoo import Authored
    from serving.zoo import Preprocessing as Made

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # types that it guesses rightly
        import mxnet as mx

        try:
            net = mx.gluon.SymbolBlock.imports(str(folder / SYMBOL), ["data"], str(folder / PARAMS))
            authored = Authored(
                name, net, labels.read(folder), Made(**manifest.preprocessing(folder))
            )
            answer = net(mx.nd.ones(authored.input_shape))
            shape = answer.shape
        except Exception as error:  # mxnet raises MXNetError, AssertionError, ValueError and others
            raise StartError(
                f"MXNet cannot run {name!r} on one input called data, "
                f"{'x'.join(map(str, authored.input_shape))}: {reason(error)}"
            ) from None
    if shape != (1, len(authored.labels)):
        raise StartError(
            f"{name!r} answers with shape {shape}, and its labels are {len(authored.labels)}: "
            f"it must be (1, {len(authored.labels)})"
        )
    if (answer >= 0).min() and abs(answer.sum().asscalar() - 1) < 1e-3:
        raise StartError(
            f"{name!r} ends in a softmax, and the server takes the softmax of what it answers; "
            "export it without"
        )
    return authored

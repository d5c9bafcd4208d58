"""Make an artifact of a user's own network, from `HybridBlock.export` or an ONNX file."""

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

from build_artifact.optimise import optimise
from serving.artifact import labels, manifest, symbol
from serving.artifact.manifest import PROBABILITIES
from serving.artifact.preprocessing import Preprocessing
from serving.core.errors import StartError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that describe a network."""
    group = parser.add_argument_group("your own network, which gets the name NAME")
    add, either = group.add_argument, group.add_mutually_exclusive_group().add_argument
    wrote = "the files of `net.export`: one *symbol.json and one *.params, with logits as output"
    either("--network", type=Path, metavar="FOLDER", help=wrote)
    graph = "its graph, from [1, 3, PIXELS, PIXELS] to logits"
    either("--onnx", type=Path, metavar="FILE", help=graph)
    classes = "its classes, one per line (default: labels.txt in FOLDER, or beside the ONNX file)"
    add("--labels", type=Path, metavar="FILE", help=classes)
    side = "the side of its input picture (default: %(default)s)"
    add("--input-size", type=int, default=224, metavar="PIXELS", help=side)
    short = "the short side before the centre is cropped (default: the input size / 0.875)"
    add("--resize-short", type=int, metavar="PIXELS", help=short)
    for name, default in (("mean", Preprocessing.mean), ("std", Preprocessing.std)):
        what = f"the {name} of each channel, for values from 0 to 1 (default: ImageNet's)"
        add(f"--{name}", type=_numbers, default=default, metavar="R,G,B", help=what)
    softmax = "the network ends in a softmax, so its output is probabilities"
    add("--probabilities", action="store_true", help=softmax)


def check_arguments(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End the command if these options are given without a network."""
    for name in ("labels", "input_size", "resize_short", "mean", "std", "probabilities"):
        is_given = vars(options)[name] != parser.get_default(name)
        if is_given and not options.network and not options.onnx:
            parser.error(f"--{name.replace('_', '-')} describes your own --network or --onnx")


def _numbers(text: str) -> tuple[float, float, float]:
    try:
        red, green, blue = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not R,G,B") from None
    return red, green, blue


def copy(options: argparse.Namespace, target: Path) -> None:
    """Make `target` an artifact from the command line's options. Raises StartError.

    A network's graph is not yet compiled to `model.onnx`.
    """
    made = Preprocessing.for_size(options.input_size, mean=options.mean, std=options.std)
    if options.resize_short:
        made = replace(made, resize_short=options.resize_short)
    facts = {"name": options.name, **made.facts()}
    Preprocessing.check(facts, "--input-size, --resize-short, --mean, --std")
    if options.probabilities:
        facts["output"] = PROBABILITIES
    files = {}
    if options.onnx:
        facts["input"]["name"] = optimise(options.onnx, target)
        facts["source"] = {"onnx": options.onnx.name}
    else:
        for name, pattern in ((symbol.SYMBOL, "*symbol.json"), (symbol.PARAMS, "*.params")):
            found = symbol.find(options.network, pattern)
            if len(found) != 1:
                raise StartError(
                    f"{options.network} holds {len(found)} {pattern}, and one is needed: "
                    "`net.hybridize()`, one forward, `net.export(PATH)` write it"
                )
            files[name] = found[0]
        facts["source"] = {"network": files[symbol.SYMBOL].name}
        symbol.check(files[symbol.SYMBOL])
    files["labels.txt"] = options.labels or (options.network or options.onnx.parent) / "labels.txt"
    try:
        for name, file in files.items():
            shutil.copyfile(file, target / name)
    except OSError as error:
        raise StartError(f"{error.filename} cannot be read: {error.strerror}") from None
    manifest.write(target, facts)
    if not labels.read(target):
        raise StartError(f"{files['labels.txt']} is empty; it must have a line for each class")

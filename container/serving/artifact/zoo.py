"""Get pretrained classifiers from the GluonCV zoo, and write a Gluon network as an artifact."""

import difflib
import io
import logging
import re
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # both packages use deprecated names
    import gluoncv
    import mxnet as mx

from serving.artifact import manifest
from serving.artifact.labels import imagenet_labels
from serving.artifact.preprocessing import Preprocessing
from serving.core.errors import StartError, reason

_log = logging.getLogger(__name__)

# Models for other tasks, data sets or number formats. All other models classify images.
_OTHER_TASKS = re.compile(
    r"_(voc|coco|custom|ade|citys|mhpv1|kinetics\d+|ucf101|hmdb51|sthsthv2|otb15|int8|s)$"
    r"|kitti|pose|rcnn|ssd|yolo|center_net|siamrpn|i3d|slowfast|r2plus1d|c3d|p3d"
)
# Input sizes other than 224, with their sources in docs/03-zoo-models.md.
_SIZES = {"inceptionv3": 299, "xception": 299}
_SIZES |= {"resnest101": 256, "resnest200": 320, "resnest269": 416}
# https://www.cs.toronto.edu/~kriz/cifar.html
_CIFAR = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@dataclass(frozen=True)
class Authored:
    """A trained Gluon network with one input, `data`, and the facts for its manifest."""

    name: str
    net: Any
    labels: Sequence[str]
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    source: dict[str, str] = field(default_factory=dict)


def classification_names() -> list[str]:
    """Return the names of the zoo's image classifiers with published weights."""
    # HRNet's weights and classifiers have different names.
    trained = {n.replace("_cls", "_c") for n in gluoncv.model_zoo.pretrained_model_list()}
    names = trained.intersection(gluoncv.model_zoo.get_model_list())
    return sorted(name for name in names if not _OTHER_TASKS.search(name))


def pretrained(name: str, folder: Path) -> Authored:
    """Download a network from `MXNET_GLUON_REPO` or the zoo's own bucket. Raises StartError.

    Downloads go to `folder`, so that they are removed with it if the process is killed.
    """
    names = classification_names()
    if name not in names:
        close = difflib.get_close_matches(name, names, n=3)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        known = "a classification model of the GluonCV zoo with trained weights"
        raise StartError(f"{name!r} is not {known}{hint}")
    with tempfile.TemporaryDirectory(dir=folder) as downloads:
        _log.info("downloading the model", extra={"modelName": name})
        try:
            with redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):  # progress bars
                net = gluoncv.model_zoo.get_model(name, pretrained=True, root=downloads)
        except Exception as error:  # requests, zipfile and MXNet have no common base
            why = reason(error)
            raise StartError(f"the weights of {name!r} cannot be downloaded: {why}") from None
    # A mirror's weights have the same SHA-1 as the zoo's.
    package, repository = f"gluoncv {gluoncv.__version__}", "the GluonCV model zoo"
    source = {"package": package, "repository": repository}
    # GluonCV does not name the classes of CIFAR's networks and darknet53.
    if name.startswith("cifar"):
        mean, std = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
        return Authored(name, net, _CIFAR, Preprocessing(32, 32, mean, std), source)
    preprocessing = Preprocessing.for_size(_SIZES.get(name, 224))
    return Authored(name, net, imagenet_labels(), preprocessing, source)


def write(authored: Authored, folder: Path) -> None:
    """Write symbol, params, labels and manifest of a network into `folder`. Raises StartError."""
    try:
        authored.net.hybridize()
        # One forward determines the shapes for the export.
        authored.net(mx.nd.zeros(authored.preprocessing.input_shape))
        authored.net.export(str(folder / "model"), epoch=0)
    except mx.MXNetError as error:  # a block that has no graph
        raise StartError(f"MXNet cannot export {authored.name!r}: {reason(error)}") from None
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in authored.labels))
    facts = authored.preprocessing.facts()
    manifest.write(folder, {"name": authored.name, **facts, "source": authored.source})

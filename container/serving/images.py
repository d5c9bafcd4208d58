"""Decode a photograph and make the model's input of it, bit for bit as GluonCV does.

Decode equals `mx.image.imdecode`, but for WebP's orientation; `Transform` equals
`gluoncv.data.transforms.presets.imagenet.transform_eval`. A test holds both to that.
"""

import os
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")  # read at its import: our records are JSON

import cv2
import numpy as np
import simplejpeg

from serving import headers
from serving.errors import UndecodableImage
from serving.headers import MAX_PIXELS
from serving.quiet import libraries_are_quiet

# As numpy.typing would spell them, whose import a cold start would pay for.
Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Tensor = np.ndarray[Any, np.dtype[np.float32]]

# What simplejpeg says of a picture that every viewer shows, and OpenCV decodes.
_HARMLESS = ("subsampling level", "extraneous bytes before marker", "bad ICC marker")
_FLIPS = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}  # of an EXIF orientation, in cv2.flip's terms

cv2.setNumThreads(1)  # a process a core: its own threads would only compete


def decode(data: bytes) -> Pixels:
    """RGB pixels, shape (height, width, 3).

    JPEG, PNG and WebP, told by their first bytes; what else the file is, or holds behind its
    picture, does not matter. An EXIF orientation is applied, in each of them; grey, palettes and
    CMYK become RGB; alpha is dropped, so that what is transparent has the colour that the file
    gives it; of 16 bits the upper 8 stay; profiles and gamma are not applied. An animated PNG is
    its default picture, an animated WebP is refused. Raises UndecodableImage; for a picture that
    would take too much memory or time, before a pixel is decoded (`headers`).
    """
    if data[:3] == b"\xff\xd8\xff":
        return _decode_jpeg(data)
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        still, orientation = headers.png(data)
        return _oriented(_decode_any(still), orientation)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        orientation = headers.webp(data)
        return _oriented(_decode_any(data), orientation)
    raise UndecodableImage("the bytes are not a JPEG, PNG or WebP image")


def _decode_jpeg(data: bytes) -> Pixels:
    """simplejpeg is faster and gives the same pixels, but does not take all that OpenCV takes."""
    components, orientation = headers.jpeg(data)
    try:
        pixels: Pixels = (
            _decode_any(data) if components == 4 else simplejpeg.decode_jpeg(data, colorspace="RGB")
        )
    except ValueError as error:
        if not any(words in str(error) for words in _HARMLESS):
            raise UndecodableImage(headers.BROKEN) from None
        pixels = _decode_any(data)
    return _oriented(pixels, orientation)


def _decode_any(data: bytes) -> Pixels:
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        with libraries_are_quiet():
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise UndecodableImage(headers.BROKEN)
    return pixels.astype(np.uint8, copy=False)


def _oriented(pixels: Pixels, orientation: int) -> Pixels:
    if orientation in (5, 6, 7, 8):  # the file's rows are the picture's columns
        pixels = cv2.transpose(pixels).astype(np.uint8, copy=False)
    if orientation in _FLIPS:
        cv2.flip(pixels, _FLIPS[orientation], dst=pixels)
    return pixels


@dataclass(frozen=True)
class Transform:
    """Resize the short side, crop the centre, scale to 0..1, subtract `mean`, divide by `std`."""

    resize_short: int
    crop: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def from_manifest(cls, preprocessing: dict[str, Any]) -> "Transform":
        return cls(
            resize_short=int(preprocessing["resize_short"]),
            crop=int(preprocessing["crop"]),
            mean=tuple(preprocessing["mean"]),
            std=tuple(preprocessing["std"]),
        )

    def __post_init__(self) -> None:
        # A pixel has 256 values, so the arithmetic is done once, in the float32 steps of MXNet's
        # ToTensor and Normalize, and looked up afterwards.
        values = np.arange(256, dtype=np.float32) / np.float32(255)
        table = np.stack(
            [(values - np.float32(m)) / np.float32(s) for m, s in zip(self.mean, self.std)], axis=-1
        )
        object.__setattr__(self, "_table", np.ascontiguousarray(table)[:, None, :])

    def __call__(self, pixels: Pixels) -> Tensor:
        """The input tensor, shape (1, 3, crop, crop). Raises UndecodableImage."""
        height, width = pixels.shape[:2]
        short = self.resize_short
        if height > width:
            height, width = short * height // width, short
        else:
            height, width = short, short * width // height
        if height * width > MAX_PIXELS:
            raise UndecodableImage("the image is too narrow to be resized")
        if (height, width) != pixels.shape[:2]:
            pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR).astype(
                np.uint8, copy=False
            )
        top, left = (height - self.crop) // 2, (width - self.crop) // 2
        square = pixels[top : top + self.crop, left : left + self.crop]
        table: Tensor = vars(self)["_table"]
        scaled = cv2.LUT(np.ascontiguousarray(square), table)
        return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None], dtype=np.float32)

"""Decode a photograph and make the model's input of it, bit for bit as GluonCV does.

Decode equals `mx.image.imdecode`, but for WebP's orientation; `Transform` equals
`gluoncv.data.transforms.presets.imagenet.transform_eval`. A test holds both to that.
"""

import os
import struct
from dataclasses import dataclass
from typing import Any

# OpenCV refuses larger pictures from their header, before it allocates a pixel. Read at its import.
MAX_PIXELS = 50_000_000
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))
os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")  # our records are JSON, its own are not

import cv2
import numpy as np
import simplejpeg

from serving.errors import UndecodableImage

# As numpy.typing would spell them, whose import a cold start would pay for.
Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Tensor = np.ndarray[Any, np.dtype[np.float32]]

# Each of a progressive JPEG's scans is decoded over all its pixels; encoders write about ten.
MAX_SCANS = 100

cv2.setNumThreads(1)  # a process a core: its own threads would only compete


def decode(data: bytes) -> Pixels:
    """RGB pixels, shape (height, width, 3).

    JPEG, PNG and WebP, told by their first bytes. An EXIF orientation is applied, in each of them;
    grey, palettes and CMYK become RGB; alpha is dropped, so that what is transparent has the colour
    that the file gives it; of 16 bits the upper 8 stay; profiles and gamma are not applied. Raises
    UndecodableImage.
    """
    if data[:3] == b"\xff\xd8\xff":
        return _decode_jpeg(data)
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return _decode_png(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _decode_webp(data)
    raise UndecodableImage("the bytes are not a JPEG, PNG or WebP image")


def _decode_jpeg(data: bytes) -> Pixels:
    """simplejpeg is faster and gives the same pixels, but knows neither EXIF nor CMYK."""
    if data.count(b"\xff\xda") > MAX_SCANS:
        raise UndecodableImage(f"the image has more than {MAX_SCANS} scans")
    if b"Exif\0\0" in data[:65536]:
        return _decode_any(data)
    try:
        height, width, colorspace, _ = simplejpeg.decode_jpeg_header(data)
        if colorspace in ("CMYK", "YCCK"):
            return _decode_any(data)
        if height * width > MAX_PIXELS:
            raise UndecodableImage(f"the image has more than {MAX_PIXELS} pixels")
        pixels: Pixels = simplejpeg.decode_jpeg(data, colorspace="RGB")
    except ValueError:
        raise UndecodableImage("the image is broken or incomplete") from None
    return pixels


def _decode_png(data: bytes) -> Pixels:
    """Only with chunks that are there: OpenCV allocates what a chunk claims before it reads it."""
    position = 8
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data.ljust(position + 8, b"\xff"), position)
        position += 12 + length
        if position > len(data):
            raise UndecodableImage("the image is broken or incomplete")
        if kind == b"IEND":
            break
    return _decode_any(data)


def _decode_webp(data: bytes) -> Pixels:
    """OpenCV applies the EXIF orientation of a JPEG and a PNG, and not a WebP's."""
    pixels = _decode_any(data)
    position = 12
    while position + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, position)
        if kind == b"EXIF":
            return _oriented(pixels, _orientation(data[position + 8 : position + 8 + length]))
        position += 8 + length + length % 2
    return pixels


def _orientation(exif: bytes) -> int:
    """EXIF 2.32, 4.6: an entry of the first directory of a TIFF file. 1 is upright."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4], "")
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, directory)
        for entry in range(entries if order else 0):
            position = directory + 2 + 12 * entry
            tag, value = struct.unpack_from(f"{order}H6xH", tiff, position)
            if tag == 0x0112:
                return int(value)
    except struct.error:
        pass  # what cannot be read turns nothing, as in OpenCV
    return 1


def _oriented(pixels: Pixels, orientation: int) -> Pixels:
    if orientation in (5, 6, 7, 8):  # the file's rows are the picture's columns
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _decode_any(data: bytes) -> Pixels:
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise UndecodableImage(
            f"the image is broken, incomplete, or has more than {MAX_PIXELS} pixels"
        )
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


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

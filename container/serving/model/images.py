"""Decode a photograph and turn it into the model's input, bit for bit as GluonCV does.

`decode` equals `mx.image.imdecode`, except that it applies a WebP's EXIF orientation. `Transform`
equals `gluoncv.data.transforms.presets.imagenet.transform_eval`. A test compares them.
"""

import os
from typing import Any

os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")  # OpenCV reads it at import; our logs are JSON

import cv2
import numpy as np
import simplejpeg

from serving.artifact.preprocessing import Preprocessing
from serving.core.errors import UndecodableImage
from serving.model import image_headers
from serving.model.image_headers import MAX_PIXELS

# numpy.typing has these types, but importing it would lengthen a cold start.
Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Tensor = np.ndarray[Any, np.dtype[np.float32]]

# Messages of libjpeg and simplejpeg about pictures that may have all their data.
_WARNINGS = (
    *("subsampling level", "extraneous bytes before marker", "bad ICC marker", "JFIF revision"),
    *("Adobe color transform", "Invalid SOS parameters", "Inconsistent progression sequence"),
    *("bad Huffman code", "instead of RST", "Premature end of JPEG file"),
)
_FLIPS = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}  # cv2.flip's code for an EXIF orientation

cv2.setNumThreads(1)  # each core has a process, so more threads would only compete


def decode(data: bytes) -> Pixels:
    """Return RGB pixels, shape (height, width, 3), of a JPEG, PNG or WebP.

    The first bytes determine the format; bytes after the picture are ignored. The EXIF orientation
    is applied. Grey, palettes and CMYK become RGB. Alpha is dropped, so a transparent pixel has the
    colour in the file. 16-bit samples keep their upper 8 bits. Colour profiles and gamma are not
    applied. An animated PNG yields its default picture; an animated WebP is refused.

    Raises UndecodableImage, before decoding if that would take too much memory or time.
    """
    if data[:3] == b"\xff\xd8\xff":
        return _decode_jpeg(data)
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        still, orientation = image_headers.png(data)
        return _oriented(_decode_any(still), orientation)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        orientation = image_headers.webp(data)
        return _oriented(_decode_any(data), orientation)
    raise UndecodableImage("the bytes are not a JPEG, PNG or WebP image")


def _decode_jpeg(data: bytes) -> Pixels:
    """Decode with simplejpeg, which is faster, or with OpenCV, which accepts more.

    OpenCV ignores missing data, so simplejpeg checks each picture first.
    """
    components, orientation = image_headers.jpeg(data)
    pixels = _decode_strictly(data, components)
    if pixels is None:
        pixels = _decode_strictly(image_headers.without_warnings(data, components), components)
    if pixels is None or components == 4:
        pixels = _decode_any(data)
    return _oriented(pixels, orientation)


def _decode_strictly(data: bytes, components: int) -> Pixels | None:
    """Return a JPEG's pixels, or None after a warning. Raises UndecodableImage after an error."""
    # OpenCV decodes CMYK afterwards, so an eighth of the size is enough here to find an error.
    options = {"colorspace": "CMYK", "min_width": 1, "min_height": 1} if components == 4 else {}
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(data, **options)
    except ValueError as error:
        if any(words in str(error) for words in _WARNINGS):
            return None
        raise UndecodableImage(image_headers.BROKEN) from None
    return pixels


def _decode_any(data: bytes) -> Pixels:
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise UndecodableImage(image_headers.BROKEN)
    return pixels.astype(np.uint8, copy=False)


def _oriented(pixels: Pixels, orientation: int) -> Pixels:
    if orientation in (5, 6, 7, 8):  # the file's rows are the picture's columns
        pixels = cv2.transpose(pixels).astype(np.uint8, copy=False)
    if orientation in _FLIPS:
        cv2.flip(pixels, _FLIPS[orientation], dst=pixels)
    return pixels


class Transform:
    def __init__(self, preprocessing: Preprocessing) -> None:
        self.preprocessing = preprocessing
        # MXNet's ToTensor and Normalize in float32, computed once for each pixel value.
        values = np.arange(256, dtype=np.float32)[:, None] / np.float32(255)
        mean, std = np.array((preprocessing.mean, preprocessing.std), np.float32)
        self._table: Tensor = ((values - mean) / std)[:, None, :]

    def __call__(self, pixels: Pixels) -> Tensor:
        """Return the input tensor, shape (1, 3, crop, crop). Raises UndecodableImage."""
        height, width = pixels.shape[:2]
        short, crop = self.preprocessing.resize_short, self.preprocessing.crop
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
        top, left = (height - crop) // 2, (width - crop) // 2
        square = pixels[top : top + crop, left : left + crop]
        scaled = cv2.LUT(np.ascontiguousarray(square), self._table)
        return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None], dtype=np.float32)

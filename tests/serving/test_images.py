"""Decoding and the transform, held bit for bit to MXNet's and GluonCV's own."""

import resource
import struct
import warnings
import zlib

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from cases import PHOTOS
from serving.errors import UndecodableImage
from serving.images import MAX_PIXELS, Transform, decode

IMAGENET = Transform(256, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CIFAR = Transform(32, 32, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
random = np.random.default_rng(7)


def encoded(suffix: str, pixels: npt.NDArray[np.generic], *options: int) -> bytes:
    ok, data = cv2.imencode(suffix, pixels, options)
    assert ok
    return data.tobytes()


@pytest.mark.parametrize("transform", [IMAGENET, CIFAR], ids=["imagenet", "cifar"])
@pytest.mark.parametrize(
    "data",
    [
        *((PHOTOS / name).read_bytes() for name in ("cat.jpg", "coffee.png", "rocket.jpg")),
        encoded(".jpg", random.integers(0, 256, (97, 31, 3), np.uint8)),
        encoded(".jpg", random.integers(0, 256, (31, 97), np.uint8)),
        encoded(".png", random.integers(0, 256, (300, 257, 3), np.uint8)),
        encoded(".png", random.integers(0, 256, (256, 256, 3), np.uint8)),
    ],
    ids=["cat", "coffee", "rocket", "tall", "grey", "odd", "square"],
)
def test_the_same_tensor_as_gluoncv(data: bytes, transform: Transform) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mxnet and gluoncv use names since deprecated
        import mxnet as mx
        from gluoncv.data.transforms.presets.imagenet import transform_eval

        expected = transform_eval(
            mx.image.imdecode(data),
            resize_short=transform.resize_short,
            crop_size=transform.crop,
            mean=transform.mean,
            std=transform.std,
        ).asnumpy()
    actual = transform(decode(data))
    assert actual.dtype == np.float32
    np.testing.assert_array_equal(actual, expected)


def with_exif(jpeg: bytes, orientation: int) -> bytes:
    """The JPEG with an EXIF block that holds nothing but an orientation."""
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    segment = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


@pytest.mark.parametrize(
    ("orientation", "turns", "mirrored"),
    [(1, 0, False), (2, 0, True), (3, 2, False), (6, 3, False), (8, 1, False)],
)
def test_an_exif_orientation_is_applied(orientation: int, turns: int, mirrored: bool) -> None:
    photo = (PHOTOS / "cat.jpg").read_bytes()
    upright = decode(photo)
    expected = np.rot90(upright[:, ::-1] if mirrored else upright, turns)
    np.testing.assert_array_equal(decode(with_exif(photo, orientation)), expected)


def test_grey_alpha_and_16_bits_become_rgb() -> None:
    grey = random.integers(0, 256, (5, 7), np.uint8)
    rgb = np.repeat(grey[:, :, None], 3, axis=2)
    with_alpha = np.dstack([rgb, np.zeros_like(grey)])
    np.testing.assert_array_equal(decode(encoded(".png", grey)), rgb)
    np.testing.assert_array_equal(decode(encoded(".png", with_alpha)), rgb)
    np.testing.assert_array_equal(decode(encoded(".png", grey.astype(np.uint16) * 257)), rgb)


def test_lossless_formats_keep_every_pixel() -> None:
    pixels = random.integers(0, 256, (5, 7, 3), np.uint8)
    for data in (encoded(".png", pixels), encoded(".webp", pixels, cv2.IMWRITE_WEBP_QUALITY, 101)):
        np.testing.assert_array_equal(decode(data), pixels[:, :, ::-1])


@pytest.mark.parametrize("name", ["cat.jpg", "coffee.png", "astronaut.webp"])
def test_a_file_that_ends_early(name: str) -> None:
    data = (PHOTOS / name).read_bytes()
    for size in (3, 12, 100, len(data) // 4):
        with pytest.raises(UndecodableImage):
            decode(data[:size])


def test_formats_that_we_do_not_take() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    for data in (encoded(".bmp", pixels), encoded(".tiff", pixels), b"GIF89a", b"", b"\0" * 64):
        with pytest.raises(UndecodableImage, match="not a JPEG, PNG or WebP"):
            decode(data)


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims that many pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


def test_too_many_pixels_are_refused_by_the_header() -> None:
    side = int(MAX_PIXELS**0.5) + 1
    with pytest.raises(UndecodableImage, match=str(MAX_PIXELS)):
        decode(bomb(side, side))
    jpeg = bytearray(encoded(".jpg", np.zeros((8, 8, 3), np.uint8)))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 65500, 65500)
    with pytest.raises(UndecodableImage, match=str(MAX_PIXELS)):
        decode(bytes(jpeg))


@pytest.mark.parametrize("kind", [b"IHDR", b"IDAT", b"tEXt", b"iCCP"])
def test_a_chunk_that_claims_gigabytes_allocates_none(kind: bytes) -> None:
    start = bomb(8, 8)[: 8 + 25] if kind != b"IHDR" else b"\x89PNG\r\n\x1a\n"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UndecodableImage):
        decode(start + b"\xf0\0\0\0" + kind + bytes(17))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_a_jpeg_of_thousands_of_scans_is_refused() -> None:
    jpeg = (PHOTOS / "cat.jpg").read_bytes()
    scan = jpeg[jpeg.index(b"\xff\xda") :][:14]
    with pytest.raises(UndecodableImage, match="more than 100 scans"):
        decode(jpeg[:-2] + scan * 101)


def test_an_image_too_narrow_to_resize_is_refused() -> None:
    with pytest.raises(UndecodableImage, match="too narrow"):
        IMAGENET(np.zeros((1, 1000, 3), np.uint8))
    assert IMAGENET(np.zeros((1, 100, 3), np.uint8)).shape == (1, 3, 224, 224)

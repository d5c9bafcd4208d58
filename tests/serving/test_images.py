"""Decoding and the transform, held bit for bit to MXNet's and GluonCV's own."""

import io
import os
import resource
import struct
import warnings
import zlib
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import simplejpeg
from PIL import Image

from cases import PHOTOS
from hostile.pictures import progressive, riff
from serving.errors import UndecodableImage
from serving.headers import MAX_PIXELS
from serving.images import Transform, decode

IMAGENET = Transform(256, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CIFAR = Transform(32, 32, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
random = np.random.default_rng(7)


def encoded(suffix: str, pixels: npt.NDArray[np.integer[Any]], *options: int) -> bytes:
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


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """The picture as Pillow writes it."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def exif(orientation: int, order: str = "<") -> bytes:
    """An EXIF block that holds a width and an orientation."""
    head = b"II*\0" if order == "<" else b"MM\0*"
    entries = struct.pack(f"{order}HHIHH", 0x0100, 3, 1, 7, 0)
    entries += struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    return head + struct.pack(f"{order}IH", 8, 2) + entries + bytes(4)


def with_exif(data: bytes, block: bytes) -> bytes:
    """The file with that block where its format has it, made without a library."""
    if data[:2] == b"\xff\xd8":
        block = b"Exif\0\0" + block
        return data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]
    if data[:4] == b"\x89PNG":
        return data[:33] + chunk(b"eXIf", block) + data[33:]
    picture = data[12:]
    height, width = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape[:2]
    size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    extended = b"VP8X" + struct.pack("<II", 10, 0x08) + size
    block = b"EXIF" + struct.pack("<I", len(block)) + block + bytes(len(block) % 2)
    body = b"WEBP" + extended + picture + block
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize("name", ["cat.jpg", "coffee.png", "astronaut.webp"])
@pytest.mark.parametrize(
    ("orientation", "turns", "mirrored"),
    [
        (1, 0, False),
        (2, 0, True),
        (3, 2, False),
        (4, 2, True),
        (5, 1, True),
        (6, 3, False),
        (7, 3, True),
        (8, 1, False),
        (9, 0, False),  # there is no such orientation
    ],
)
def test_an_exif_orientation_is_applied(
    orientation: int, turns: int, mirrored: bool, name: str, order: str
) -> None:
    photo = (PHOTOS / name).read_bytes()
    upright = decode(photo)
    expected = np.rot90(upright[:, ::-1] if mirrored else upright, turns)
    turned = decode(with_exif(photo, exif(orientation, order)))
    np.testing.assert_array_equal(turned, expected)
    assert turned.flags.c_contiguous


def test_a_webp_whose_exif_has_a_name_before_it() -> None:
    photo = (PHOTOS / "astronaut.webp").read_bytes()
    data = with_exif(photo, b"Exif\0\0" + exif(3))
    np.testing.assert_array_equal(decode(data), decode(photo)[::-1, ::-1])


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"II*",
        b"no tiff at all",
        b"II*\0\xff\xff\xff\xff",
        exif(3)[:12],
    ],
)
@pytest.mark.parametrize("name", ["cat.jpg", "coffee.png", "astronaut.webp"])
def test_an_exif_block_that_cannot_be_read_turns_nothing(name: str, block: bytes) -> None:
    photo = (PHOTOS / name).read_bytes()
    np.testing.assert_array_equal(decode(with_exif(photo, block)), decode(photo))


def test_grey_alpha_and_16_bits_become_rgb() -> None:
    grey = random.integers(0, 256, (5, 7), np.uint8)
    rgb = np.repeat(grey[:, :, None], 3, axis=2)
    with_alpha = np.dstack([rgb, np.zeros_like(grey)])
    np.testing.assert_array_equal(decode(encoded(".png", grey)), rgb)
    np.testing.assert_array_equal(decode(encoded(".png", with_alpha)), rgb)
    np.testing.assert_array_equal(decode(encoded(".png", grey.astype(np.uint16) * 257)), rgb)


def flat(*shape: int) -> npt.NDArray[np.uint8]:
    """Random colours in tiles of 16 pixels, of which JPEG at its best keeps nearly all."""
    tiles = random.integers(0, 256, shape, np.uint8)
    return np.kron(tiles, np.ones((16, 16, 1), np.uint8))


def on_white(ink: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """What is seen of cyan, magenta, yellow and black."""
    light = 255 - ink.astype(float)
    return light[:, :, :3] * light[:, :, 3:] / 255


def test_cmyk_is_ink_on_white() -> None:
    ink = flat(3, 4, 4)
    jpeg = saved(Image.fromarray(ink, "CMYK"), "JPEG", quality=100, subsampling=0)
    np.testing.assert_allclose(decode(jpeg), on_white(ink), atol=3)


def test_ycck_is_cmyk_whose_colours_are_ycc() -> None:
    """Pillow writes CMYK upside down, as Adobe does, but no YCCK: it is given and marked so."""
    ink = flat(3, 4, 4)
    ycc = np.asarray(Image.fromarray(ink[:, :, :3]).convert("YCbCr"))
    given = Image.fromarray(np.dstack([255 - ycc, ink[:, :, 3]]), "CMYK")
    jpeg = bytearray(saved(given, "JPEG", quality=100, subsampling=0))
    jpeg[jpeg.index(b"Adobe") + 11] = 2  # ITU-T T.872, 6.5.3
    assert simplejpeg.decode_jpeg_header(bytes(jpeg))[2] == "YCCK"
    np.testing.assert_allclose(decode(bytes(jpeg)), on_white(ink), atol=5)


def test_a_palette_with_transparency_or_without() -> None:
    indices = random.integers(0, 16, (5, 7), np.uint8)
    palette = random.integers(0, 256, (16, 3), np.uint8)
    picture = Image.fromarray(indices, "L")
    picture.putpalette(palette.tobytes())
    for options in ({}, {"transparency": bytes(range(0, 256, 16))}, {"bits": 4}):
        np.testing.assert_array_equal(
            decode(saved(picture, "PNG", **options)), palette[indices], str(options)
        )


def test_one_bit_is_black_and_white() -> None:
    bits = random.integers(0, 2, (5, 7)).astype(bool)
    expected = np.repeat(bits[:, :, None] * np.uint8(255), 3, axis=2)
    np.testing.assert_array_equal(decode(saved(Image.fromarray(bits), "PNG")), expected)


def test_a_webp_with_alpha_keeps_its_colours() -> None:
    pixels = random.integers(0, 256, (5, 7, 4), np.uint8)
    webp = saved(Image.fromarray(pixels, "RGBA"), "WEBP", lossless=True, exact=True)
    np.testing.assert_array_equal(decode(webp), pixels[:, :, :3])


@pytest.mark.parametrize("interlaced", [False, True], ids=["in rows", "interlaced"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("colour", [0, 2, 4, 6], ids=["grey", "rgb", "grey+alpha", "rgb+alpha"])
def test_every_kind_of_png(colour: int, bits: int, interlaced: bool) -> None:
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    samples = random.integers(0, 1 << bits, (13, 11, channels))
    colours = samples[:, :, :3] if colour in (2, 6) else np.repeat(samples[:, :, :1], 3, axis=2)
    data = png(samples, colour, bits, interlaced)
    np.testing.assert_array_equal(decode(data), colours >> (bits - 8))


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


def chunk(kind: bytes, body: bytes) -> bytes:
    """Of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


ROWS = [(0, 0, 1, 1)]
ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
ADAM7 += [(1, 0, 2, 1)]


def png(samples: npt.NDArray[Any], colour: int, bits: int, interlaced: bool) -> bytes:
    """A PNG written by the book, in the passes (top, left, down, right) of its interlacing."""
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    lines = b"".join(
        b"\0" + row.astype(f">u{bits // 8}").tobytes()
        for top, left, down, right in (ADAM7 if interlaced else ROWS)
        for row in samples[top::down, left::right]
    )
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def bomb(width: int, height: int, bits: int = 8, colour: int = 2) -> bytes:
    """A PNG of a few bytes that claims that many pixels."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
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


def test_a_jpeg_of_many_scans_is_refused() -> None:
    photo = saved(Image.open(PHOTOS / "cat.jpg"), "JPEG", progressive=True)
    scan = photo[photo.rindex(b"\xff\xda") :][:10]
    with pytest.raises(UndecodableImage, match="more than 30 scans"):
        decode(photo[:-2] + scan * 30)


@pytest.mark.parametrize(
    ("data", "pixels"),
    [
        (bomb(5010, 5000), 25_000_000),
        (bomb(4100, 4100, bits=16), 16_666_666),
        (bomb(3600, 3600, bits=16, colour=6), 12_500_000),
        (progressive(5010, 5000, b"\x22\x11\x11"), 25_000_000),
        (progressive(4100, 4100, b"\x11\x11\x11"), 16_666_666),
        (progressive(3700, 3700, b"\x11\x11\x11\x11"), 13_636_363),
        (riff((b"VP8 ", b"\0\0\0\x9d\1\x2a" + struct.pack("<HH", 5010, 5000))), 25_000_000),
        (riff((b"VP8L", b"\x2f" + struct.pack("<I", 4099 | 4099 << 14))), 16_666_666),
    ],
)
def test_a_picture_that_costs_more_may_have_fewer_pixels(data: bytes, pixels: int) -> None:
    with pytest.raises(UndecodableImage, match=f"more than {pixels} pixels"):
        decode(data)


def test_of_a_png_no_chunk_that_changes_no_pixel_is_decoded(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A profile that libpng would print a warning about, and an animation that crashes OpenCV."""
    pixels = random.integers(0, 256, (5, 7, 3), np.uint8)
    data = encoded(".png", pixels)
    frame = struct.pack(">IIIIIHHBB", 0, 20000, 20000, 0, 0, 1, 10, 0, 0)
    extra = chunk(b"acTL", struct.pack(">II", 2, 0)) + chunk(b"fcTL", frame)
    extra += chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(5000)))
    np.testing.assert_array_equal(decode(data[:33] + extra + data[33:]), pixels[:, :, ::-1])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_what_a_library_says_of_a_broken_picture_is_not_printed(
    suffix: str, capfd: pytest.CaptureFixture[str]
) -> None:
    if suffix == ".png":
        data = encoded(suffix, np.zeros((9, 9, 3), np.uint8))
        data = data.replace(data[-16:-12], bytes(4))  # the CRC of its pixels
        with pytest.raises(UndecodableImage):
            decode(data)
    else:  # such that OpenCV decodes it
        data = saved(Image.fromarray(flat(3, 4, 4), "CMYK"), "JPEG")
        assert decode(data[:-2] + b"abc" + data[-2:]).shape == decode(data).shape
    os.write(2, b"what others print is\n")
    assert capfd.readouterr().err == "what others print is\n"


def test_an_animated_webp_is_refused_and_an_animated_png_is_its_default_picture() -> None:
    first, second = (Image.fromarray(flat(3, 4, 3)) for _ in range(2))
    options = {"save_all": True, "append_images": [second], "lossless": True}
    with pytest.raises(UndecodableImage, match="animation"):
        decode(saved(first, "WEBP", **options))
    np.testing.assert_array_equal(decode(saved(first, "PNG", **options)), np.asarray(first))


def test_a_jpeg_that_viewers_forgive() -> None:
    """simplejpeg refuses bytes before a marker, and samplings that few programs write."""
    photo = (PHOTOS / "cat.jpg").read_bytes()
    np.testing.assert_array_equal(decode(photo[:20] + b"abc" + photo[20:]), decode(photo))
    frame = photo.index(b"\xff\xc0")
    odd = photo[: frame + 14] + b"\x12" + photo[frame + 15 :]  # one of the colours' sampling
    assert decode(odd).shape == decode(photo).shape


def test_an_image_too_narrow_to_resize_is_refused() -> None:
    with pytest.raises(UndecodableImage, match="too narrow"):
        IMAGENET(np.zeros((1, 1000, 3), np.uint8))
    assert IMAGENET(np.zeros((1, 100, 3), np.uint8)).shape == (1, 3, 224, 224)

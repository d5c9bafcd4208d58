"""Compare decoding and the transform bit for bit with MXNet and GluonCV."""

import io
import struct
import warnings
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import simplejpeg
from PIL import Image

from security.hostile import pictures
from security.hostile.pictures import canvas, chunk, encoded, riff, saved, segment
from serving.artifact.preprocessing import Preprocessing
from serving.core.errors import UndecodableImage
from serving.model.images import Transform, decode
from support.cases import PHOTOS

IMAGENET = Preprocessing()
CIFAR = Preprocessing(32, 32, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
random = np.random.default_rng(7)


@pytest.mark.parametrize("made", [IMAGENET, CIFAR], ids=["imagenet", "cifar"])
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
def test_the_same_tensor_as_gluoncv(data: bytes, made: Preprocessing) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mxnet and gluoncv use deprecated names
        import mxnet as mx
        from gluoncv.data.transforms.presets.imagenet import transform_eval

        pixels = mx.image.imdecode(data)
        expected = transform_eval(pixels, made.resize_short, made.crop, made.mean, made.std)
        expected = expected.asnumpy()
    actual = Transform(made)(decode(data))
    assert actual.dtype == np.float32
    np.testing.assert_array_equal(actual, expected)


def exif(orientation: int, order: str = "<") -> bytes:
    """Return an EXIF block with a width and an orientation."""
    head = b"II*\0" if order == "<" else b"MM\0*"
    entries = struct.pack(f"{order}HHIHH", 0x0100, 3, 1, 7, 0)
    entries += struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    return head + struct.pack(f"{order}IH", 8, 2) + entries + bytes(4)


def with_exif(data: bytes, block: bytes) -> bytes:
    """Add an EXIF block to a file, without a library."""
    if data[:2] == b"\xff\xd8":
        return pictures.with_exif(data, block)
    if data[:4] == b"\x89PNG":
        return data[:33] + chunk(b"eXIf", block) + data[33:]
    width, height = Image.open(io.BytesIO(data)).size
    picture = (data[12:16], data[20 : 20 + int.from_bytes(data[16:20], "little")])
    return riff(canvas(width, height, 8), picture, (b"EXIF", block))


# For orientations 1 to 9: turns by 90 degrees, and whether mirroring comes first. 9 is invalid.
TURNS = [(0, 0), (0, 1), (2, 0), (2, 1), (1, 1), (3, 0), (3, 1), (1, 0), (0, 0)]


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize("name", ["cat.jpg", "coffee.png", "astronaut.webp"])
def test_an_exif_orientation_is_applied(name: str, order: str) -> None:
    photo = (PHOTOS / name).read_bytes()
    upright = decode(photo)
    for orientation, (turns, mirrored) in enumerate(TURNS, 1):
        expected = np.rot90(upright[:, ::-1] if mirrored else upright, turns)
        turned = decode(with_exif(photo, exif(orientation, order)))
        np.testing.assert_array_equal(turned, expected)
        assert turned.flags.c_contiguous
    for invalid in (b"", b"no tiff at all", b"II*\0\xff\xff\xff\xff", exif(3, order)[:12]):
        np.testing.assert_array_equal(decode(with_exif(photo, invalid)), upright)


def flat(*shape: int) -> npt.NDArray[np.uint8]:
    """Return random colours in tiles of 16 pixels, which JPEG at its best nearly keeps."""
    tiles = random.integers(0, 256, shape, np.uint8)
    return np.kron(tiles, np.ones((16, 16, 1), np.uint8))


def on_white(ink: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return the RGB colours of CMYK inks on white."""
    light = 255 - ink.astype(float)
    return light[:, :, :3] * light[:, :, 3:] / 255


def test_cmyk_is_ink_on_white() -> None:
    ink = flat(3, 4, 4)
    jpeg = saved(Image.fromarray(ink, "CMYK"), "JPEG", quality=100, subsampling=0)
    np.testing.assert_allclose(decode(jpeg), on_white(ink), atol=3)


def test_ycck_is_cmyk_whose_colours_are_ycc() -> None:
    """Pillow writes inverted CMYK, as Adobe does, but not YCCK, so the test marks the file."""
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


def test_a_webp_with_alpha_keeps_its_colours() -> None:
    pixels = random.integers(0, 256, (5, 7, 4), np.uint8)
    webp = saved(Image.fromarray(pixels, "RGBA"), "WEBP", lossless=True, exact=True)
    np.testing.assert_array_equal(decode(webp), pixels[:, :, :3])


def test_grey_alpha_and_16_bits_become_rgb() -> None:
    grey = random.integers(0, 256, (5, 7), np.uint8)
    rgb = np.repeat(grey[:, :, None], 3, axis=2)
    with_alpha = np.dstack([rgb, np.zeros_like(grey)])
    np.testing.assert_array_equal(decode(encoded(".png", grey)), rgb)
    np.testing.assert_array_equal(decode(encoded(".png", with_alpha)), rgb)
    np.testing.assert_array_equal(decode(encoded(".png", grey.astype(np.uint16) * 257)), rgb)


def test_animations() -> None:
    first, second = (Image.fromarray(flat(3, 4, 3)) for _ in range(2))
    options = {"save_all": True, "append_images": [second], "lossless": True}
    with pytest.raises(UndecodableImage, match="animation"):
        decode(saved(first, "WEBP", **options))
    np.testing.assert_array_equal(decode(saved(first, "PNG", **options)), np.asarray(first))


CAT = (PHOTOS / "cat.jpg").read_bytes()
CUT = CAT[: len(CAT) // 2] + b"\xff\xd9"


def set_band(jpeg: bytes) -> bytes:
    """Let a JPEG's scan name only the first coefficient, as Samsung's cameras do."""
    return jpeg.replace(b"\x03\x11\0\x3f\0", b"\x03\x11\0\0\0")


# For each warning of libjpeg, a way to cause it in a JPEG with a JFIF header of 20 bytes.
WARNINGS: dict[str, Callable[[bytes], bytes]] = {
    "unknown JFIF revision": lambda jpeg: jpeg[:11] + b"\2" + set_band(jpeg)[12:],
    "Invalid SOS parameters": set_band,
    "bad ICC marker": lambda jpeg: jpeg[:2] + segment(0xE2, b"ICC_PROFILE\0\2\1") + jpeg[2:],
    "Unknown Adobe color transform": lambda jpeg: (
        jpeg[:2] + segment(0xEE, b"Adobe\0\x64\0\0\0\0\7") + jpeg[20:]
    ),
    "extraneous bytes before marker": lambda jpeg: jpeg[:20] + b"abc" + jpeg[20:],
}


@pytest.mark.parametrize("warning", WARNINGS)
def test_a_jpeg_that_libjpeg_warns_of(warning: str) -> None:
    """It decodes as in OpenCV, Pillow and MXNet. It is refused if data is missing."""
    warned = WARNINGS[warning](CAT)
    with pytest.raises(ValueError, match=warning):
        simplejpeg.decode_jpeg(warned)
    assert_decoded_alike(warned)
    np.testing.assert_array_equal(decode(warned), decode(CAT))
    for cut in (CUT, CUT[:-2]):  # libjpeg reports only the first of several warnings
        with pytest.raises(UndecodableImage, match="broken or incomplete"):
            decode(WARNINGS[warning](cut))


def assert_decoded_alike(jpeg: bytes) -> None:
    """Assert that OpenCV, Pillow and MXNet give the same pixels as `decode`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mxnet as mx

        by_mxnet = mx.image.imdecode(jpeg).asnumpy()
    by_opencv = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
    by_pillow = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))
    for expected in (by_opencv, by_pillow, by_mxnet):
        np.testing.assert_array_equal(decode(jpeg), expected)


@pytest.mark.parametrize("mark", [b"Adobe", b"Adobe\0\x64\0\0\0\0\7"])
def test_an_incomplete_adobe_marker_is_ignored(mark: bytes) -> None:
    grey = saved(Image.open(io.BytesIO(CAT)).convert("L"), "JPEG")
    marked = WARNINGS["unknown JFIF revision"](grey[:20] + segment(0xEE, mark) + grey[20:])
    np.testing.assert_array_equal(decode(marked), decode(grey))


def test_a_jpeg_with_damaged_data_is_decoded_as_far_as_it_goes() -> None:
    """libjpeg warns of a bad code, a missing restart marker and a repeated scan."""
    picture = Image.open(io.BytesIO(CAT))
    restarts = saved(picture, "JPEG", restart_marker_blocks=4)
    at = restarts.index(b"\xff\xd3")
    scans = saved(picture, "JPEG", progressive=True)
    last = scans.rindex(b"\xff\xda")
    for damaged, warning in (
        (CAT[:-40] + b"\xff\0" * 20 + CAT[-2:], "bad Huffman code"),
        (restarts[:at] + restarts[restarts.index(b"\xff\xd4") :], "0xd4 instead of RST3"),
        (scans[:-2] + scans[last:], "Inconsistent progression sequence"),
    ):
        with pytest.raises(ValueError, match=warning):
            simplejpeg.decode_jpeg(damaged)
        assert_decoded_alike(damaged)


def test_a_jpeg_without_its_end_has_all_its_data() -> None:
    np.testing.assert_array_equal(decode(CAT[:-2]), decode(CAT))
    np.testing.assert_array_equal(decode(CAT[:-2] + bytes(512)), decode(CAT))


def test_an_unusual_sampling() -> None:
    frame = CAT.index(b"\xff\xc0")
    odd = CAT[: frame + 14] + b"\x12" + CAT[frame + 15 :]  # the sampling of one colour
    assert decode(odd).shape == decode(CAT).shape

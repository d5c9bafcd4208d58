"""What a picture's file says of itself, read from its bytes before a pixel of it is decoded.

It decides what decoding may cost, in memory and in time. Each function raises UndecodableImage.
"""

import re
import struct
from collections.abc import Iterator

from serving.errors import UndecodableImage

# 25 million pixels, where decoding takes no more than 6 bytes for each: the picture, and as much
# again for the copy that cv2.imdecode makes, or to turn it, or for a progressive JPEG's
# coefficients. A picture that takes more may have fewer pixels.
MAX_PIXELS = 25_000_000
_BYTES_PER_PIXEL = 6
# Each of a progressive JPEG's scans is decoded over all its pixels; libjpeg writes 18 at the most.
MAX_SCANS = 30
# Segments or chunks of a file: each costs a microsecond.
_MAX_PARTS = 50_000

BROKEN = "the image is broken or incomplete"
_PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # a pixel's, by colour type
# They neither change a pixel nor unfold; left in, the file need not be copied.
_PNG_PLAIN = frozenset(b"pHYs tIME gAMA cHRM sRGB sBIT bKGD tRNS eXIf tEXt".split())
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xff])")
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_PROGRESSIVE, _JPEG_SCAN, _JPEG_EXIF = 0xC2, 0xDA, 0xE1


def jpeg(data: bytes) -> tuple[int, int]:
    """The number of components (4: inks, CMYK or YCCK), and the EXIF orientation.

    Of ITU-T T.81's kinds a baseline, extended or progressive one with Huffman codes, which are what
    encoders in use write.
    """
    orientation, kind, frame = 0, 0, b""
    for marker, body in _segments(data):
        if marker == _JPEG_EXIF and body[:6] == b"Exif\0\0":
            orientation = orientation or _orientation(body[6:])
        elif marker in _JPEG_FRAMES:
            if marker > _JPEG_PROGRESSIVE:
                raise UndecodableImage("the JPEG is arithmetic, lossless or hierarchical")
            kind, frame = marker, body
        elif marker == _JPEG_SCAN:
            try:
                height, width, components = struct.unpack_from(">xHHB", frame)
                areas = [(frame[i] >> 4) * (frame[i] & 15) for i in range(7, 6 + 3 * components, 3)]
                several_scans = kind == _JPEG_PROGRESSIVE or body[0] < components
            except (struct.error, IndexError):
                break
            # From scan to scan the coefficients are kept, 16 bits each.
            kept = 2 * sum(areas) / max([1, *areas]) if several_scans else 0
            _check_size(width, height, 3 + kept)
            if several_scans and data.count(b"\xff\xda") > MAX_SCANS:
                raise UndecodableImage(f"the image has more than {MAX_SCANS} scans")
            return components, orientation or 1
    raise UndecodableImage(BROKEN)


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """A JPEG's markers with their segments up to the first scan's, found as libjpeg finds them."""
    position = 2
    for _ in range(_MAX_PARTS):
        found = _JPEG_MARKER.search(data, position)
        if found is None:
            return
        marker, position = found[1][0], found.end()
        if 0xC0 <= marker < 0xD0 or marker > 0xD8:  # others have no segment
            length = int.from_bytes(data[position : position + 2])
            yield marker, data[position + 2 : position + length]
            position += length


def png(data: bytes) -> tuple[bytes, int]:
    """The same picture without chunks that change no pixel, and its EXIF orientation.

    They are left out unless they are plain: they could be bombs (iCCP, iTXt), or animate the
    picture, and on an APNG whose frame is larger than it OpenCV 4.11 crashes. A chunk must be there
    as long as it claims to be: OpenCV allocates that before it reads it.
    """
    if data[8:16] != b"\0\0\0\rIHDR" or len(data) < 33:
        raise UndecodableImage(BROKEN)
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    # Inflating and unfiltering 100 MB takes half a second.
    _check_size(width, height, 1.5 * _PNG_SAMPLES.get(colour, 4) * bits / 8)
    whole = memoryview(data)
    orientation, position, kept, changed = 0, 33, [whole[:33]], False
    for _ in range(_MAX_PARTS):
        if position + 12 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, position)
        start, position = position, position + 12 + length
        if position > len(data) or kind == b"IHDR":
            break
        if kind == b"eXIf":
            orientation = orientation or _orientation(data[start + 8 : position - 4])
        if not kind[0] & 0x20 or kind in _PNG_PLAIN:  # libpng refuses critical ones unknown to it
            kept.append(whole[start:position])
        else:
            changed = True
        if kind == b"IEND":
            return b"".join(kept) if changed else data, orientation or 1
    raise UndecodableImage(BROKEN)


def webp(data: bytes) -> int:
    """The EXIF orientation. An animation is refused; one size must be given everywhere."""
    end = 8 + int.from_bytes(data[4:8], "little")
    orientation, position, sizes, has_alpha = 0, 12, set(), False
    for _ in range(_MAX_PARTS):
        if position + 8 > end or end > len(data):
            break
        kind, length = struct.unpack_from("<4sI", data, position)
        body = data[position + 8 : position + 8 + length]
        position += 8 + length + length % 2
        if kind == b"VP8X":
            if body[:1] and body[0] & 2:
                raise UndecodableImage("the WebP is an animation")
            sizes.add((_little(body[4:7]) + 1, _little(body[7:10]) + 1))
        elif kind == b"VP8 ":
            sizes.add((_little(body[6:8]) & 0x3FFF, _little(body[8:10]) & 0x3FFF))
        elif kind == b"VP8L":
            bits = _little(body[1:5])
            sizes.add(((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1))
        elif kind == b"EXIF":
            orientation = orientation or _orientation(body)
        has_alpha = has_alpha or kind in (b"VP8L", b"ALPH")
    if len(sizes) != 1:
        raise UndecodableImage(BROKEN)
    _check_size(*sizes.pop(), 9 if has_alpha else _BYTES_PER_PIXEL)
    return orientation or 1


def _little(number: bytes) -> int:
    return int.from_bytes(number, "little")


def _check_size(width: int, height: int, bytes_per_pixel: float) -> None:
    most = int(MAX_PIXELS * _BYTES_PER_PIXEL / max(bytes_per_pixel, _BYTES_PER_PIXEL))
    if width * height > most:
        raise UndecodableImage(f"the image has more than {most} pixels")


def _orientation(tiff: bytes) -> int:
    """EXIF 2.32, 4.6: an entry of the first directory of a TIFF file. 1 is upright."""
    tiff = tiff.removeprefix(b"Exif\0\0")
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
        pass  # what cannot be read turns nothing
    return 1

"""Read a picture's headers, to limit the memory and time of decoding it.

OpenCV and simplejpeg limit the number of pixels, but not their cost or a JPEG's scans. OpenCV 4.11
allocates the size that a PNG's chunk claims, and crashes on an animated PNG with a frame larger
than the picture. Each function raises UndecodableImage.
"""

import re
import struct
from collections.abc import Iterator
from contextlib import suppress

from serving.core.errors import UndecodableImage

# The limit for up to 6 bytes per pixel, which hold the picture and a copy, or a progressive JPEG's
# coefficients. If decoding takes more bytes per pixel, the limit is lower.
MAX_PIXELS = 25_000_000
_BYTES_PER_PIXEL = 6
# Each scan of a progressive JPEG takes a pass over all pixels. libjpeg writes up to 18 scans.
MAX_SCANS = 30
_MAX_PARTS = 50_000  # segments or chunks of a file; reading one takes a microsecond

BROKEN = "the image is broken or incomplete"
_PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # samples per pixel, by colour type
# Chunks that neither change a pixel nor decompress. A file with no others need not be copied.
_PNG_PLAIN = frozenset(b"pHYs tIME gAMA cHRM sRGB sBIT bKGD tRNS eXIf tEXt".split())
_JPEG_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])")  # all markers but those in a scan
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_TABLES = frozenset({0xC4, 0xDB, 0xDD})
_JPEG_ENDS = frozenset({0xD8, 0xD9})  # a second start is an error for libjpeg
_JPEG_PROGRESSIVE, _JPEG_SCAN = 0xC2, 0xDA
_JPEG_JFIF, _JPEG_EXIF, _JPEG_ADOBE = 0xE0, 0xE1, 0xEE


def jpeg(data: bytes) -> tuple[int, int]:
    """Return the number of components (4 for CMYK and YCCK) and the EXIF orientation."""
    orientation, kind, frame = 0, 0, b""
    for marker, start, end in _segments(data):
        body = data[start:end]
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
            # Several scans need all coefficients in memory, 16 bits each.
            kept = 2 * sum(areas) / max([1, *areas]) if several_scans else 0
            _check_size(width, height, 3 + kept)
            if several_scans:
                markers = [found[0] for found in _segments(data)]
                if markers.count(_JPEG_SCAN) > MAX_SCANS or len(markers) == _MAX_PARTS:
                    raise UndecodableImage(f"the image has more than {MAX_SCANS} scans")
            return components, orientation or 1
    raise UndecodableImage(BROKEN)


def without_warnings(data: bytes, components: int) -> bytes:
    """Return a JPEG with an end and without causes of libjpeg's warnings before the first scan.

    libjpeg reports only the first of several warnings.
    """
    kept, kind = [data[:2]], 0
    for marker, start, end in _segments(data):
        body = bytearray(data[start:end])
        if marker in _JPEG_FRAMES:
            kind = marker
        elif marker == _JPEG_JFIF and body[:5] == b"JFIF\0":
            body[5:6] = b"\1"  # the major version
        elif marker == _JPEG_ADOBE and body[:5] == b"Adobe" and len(body) > 11:
            body[11] = min(body[11], max(0, components - 2))  # the colour transform
        elif marker == _JPEG_SCAN:
            if kind != _JPEG_PROGRESSIVE:
                body[-3:] = b"\0\x3f\0"  # all coefficients at once
            return b"".join([*kept, _segment(marker, body), data[end:], b"\xff\xd9"])
        elif marker not in _JPEG_TABLES:
            continue
        kept.append(_segment(marker, body))
    return data


def _segment(marker: int, body: bytearray) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield each marker of a JPEG with its segment's start and end, as libjpeg finds them."""
    position = 2
    for _ in range(_MAX_PARTS):
        found = _JPEG_MARKER.search(data, position)
        if found is None or found[1][0] in _JPEG_ENDS:
            return
        start = found.end() + 2
        position = max(start, found.end() + int.from_bytes(data[start - 2 : start]))
        yield found[1][0], start, position


def png(data: bytes) -> tuple[bytes, int]:
    """Return the picture without unneeded chunks, and its EXIF orientation.

    The dropped chunks change no pixel, but could be bombs (iCCP, iTXt) or animate the picture.
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
        if not kind[0] & 0x20 or kind in _PNG_PLAIN:  # critical chunks stay: libpng judges them
            kept.append(whole[start:position])
        else:
            changed = True
        if kind == b"IEND":
            return b"".join(kept) if changed else data, orientation or 1
    raise UndecodableImage(BROKEN)


def webp(data: bytes) -> int:
    """Return the EXIF orientation. Refuses an animation, and a file that names two sizes."""
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
    """Return the orientation in the first directory of a TIFF file, or 1 (EXIF 2.32, 4.6)."""
    tiff = tiff.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4], "")
    with suppress(struct.error):  # ignore an invalid block
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, directory)
        for entry in range(entries if order else 0):
            position = directory + 2 + 12 * entry
            tag, value = struct.unpack_from(f"{order}H6xH", tiff, position)
            if tag == 0x0112:
                return int(value)
    return 1

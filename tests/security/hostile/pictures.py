"""Make pictures that must be refused, odd ones that must be accepted, and a normal one."""

import io
import struct
import zlib
from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from support.cases import PHOTOS

Pictures = dict[str, bytes]  # by name
PNG_START, PNG_END = b"\x89PNG\r\n\x1a\n", b"\0\0\0\0IEND\xaeB`\x82"
JPEG_END = b"\xff\xd9"
SUBSAMPLED = b"\x22\x11\x11"  # 4:2:0
# Tables for JPEGs that hold only zeros: quantisation, a code for "no difference", one for end of
# band.
_TABLES = b"\xff\xdb\0\x43\0" + b"\1" * 64
_CODES = b"\xff\xc4\0\x14\0\1" + bytes(15) + b"\0"
_CODES += b"\xff\xc4\0\x16\x10\1\1\1" + bytes(13) + b"\xe0\x11\0"


def chunk(kind: bytes, body: bytes, crc: int | None = None) -> bytes:
    crc = zlib.crc32(kind + body) if crc is None else crc
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def header(width: int, height: int, bits: int = 8, colour: int = 2, *methods: int) -> bytes:
    """Return a PNG's header. `methods`: compression, filtering, interlacing."""
    methods = (*methods, 0, 0, 0)[:3]
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, *methods))


def png(*chunks: bytes, end: bytes = PNG_END) -> bytes:
    return PNG_START + b"".join(chunks) + end


def zeros(size: int, filter_type: int = 0, row: int = 1 << 20) -> bytes:
    """Return `size` zero bytes, deflated, in rows that begin with a filter type."""
    deflate = zlib.compressobj(1)
    line = bytes([filter_type]) + bytes(row - 1)
    lines = line * max(1, (1 << 20) // row)
    parts = [deflate.compress(lines) for _ in range(size // len(lines))]
    parts.append(deflate.compress((line * (size // row + 1))[: size % len(lines)]))
    return b"".join([*parts, deflate.flush()])


def blank_png(width: int, height: int, bits: int, colour: int, interlace: int = 0) -> bytes:
    """Return a complete PNG; its rows use Paeth's filter, the slowest."""
    row = (width * bits * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour] + 7) // 8 + 1
    data = zeros(row * height, 0 if interlace else 4, row)
    if interlace:  # seven passes with rows of their own: a little more than in one
        data = zeros(row * height + 4 * height)
    return png(header(width, height, bits, colour, 0, 0, interlace), chunk(b"IDAT", data))


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def scan(components: int, blocks: int, band: bytes) -> bytes:
    """Return a scan of zeros. `band`: first and last coefficient, and the approximation."""
    names = b"".join(bytes([i + 1, 0]) for i in range(components))
    return segment(0xDA, bytes([components]) + names + band) + bytes(components * blocks // 8 + 1)


def progressive(width: int, height: int, samplings: bytes, scans: int = 1) -> bytes:
    """Return a progressive JPEG of one colour; scans after the first change nothing."""
    components = b"".join(bytes([i + 1, s, 0]) for i, s in enumerate(samplings))
    frame = segment(0xC2, struct.pack(">BHHB", 8, height, width, len(samplings)) + components)
    blocks = -(-width // 8) * -(-height // 8) * 2  # enough for the padding of subsampled ones
    first = scan(len(samplings), blocks, b"\0\0\0")
    others = scan(1, 64, b"\1\x3f\0") * (scans - 1)
    return b"\xff\xd8" + _TABLES + frame + _CODES + first + others + JPEG_END


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    parts = (kind + struct.pack("<I", len(b)) + b + bytes(len(b) % 2) for kind, b in chunks)
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def canvas(width: int, height: int, flags: int = 0) -> tuple[bytes, bytes]:
    size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return b"VP8X", struct.pack("<I", flags) + size


def lossy(width: int, height: int) -> tuple[bytes, bytes]:
    """Return a WebP chunk with a key frame of that size."""
    return b"VP8 ", b"\x10\0\0\x9d\1\x2a" + struct.pack("<HH", width, height) + bytes(100)


def lossless(width: int, height: int) -> tuple[bytes, bytes]:
    return b"VP8L", b"\x2f" + struct.pack("<I", width - 1 | (height - 1) << 14) + bytes(100)


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def encoded(suffix: str, pixels: npt.NDArray[Any], *options: int) -> bytes:
    ok, data = cv2.imencode(suffix, pixels, options)
    assert ok
    return data.tobytes()


def flat(width: int, height: int) -> npt.NDArray[np.uint8]:
    return np.full((height, width, 3), 90, np.uint8)


def exif(*entries: bytes, count: int | None = None, directory: int = 8) -> bytes:
    """Return a TIFF file with these entries in its first directory."""
    count = len(entries) if count is None else count
    return struct.pack("<4sIH", b"II*\0", directory, count) + b"".join(entries)


def entry(tag: int, value: int, kind: int = 3, count: int = 1) -> bytes:
    return struct.pack("<HHII", tag, kind, count, value)


def with_exif(jpeg: bytes, block: bytes) -> bytes:
    return jpeg[:2] + segment(0xE1, b"Exif\0\0" + block) + jpeg[2:]


@cache
def photo(name: str) -> bytes:
    return (PHOTOS / name).read_bytes()


@cache
def normal() -> bytes:
    """Return a phone's portrait photograph: 12 megapixels, rotated by EXIF, under 4 MiB."""
    cat = cv2.imdecode(np.frombuffer(photo("cat.jpg"), np.uint8), cv2.IMREAD_COLOR)
    large = cv2.resize(cat, (4000, 3000), interpolation=cv2.INTER_CUBIC)
    grain = np.random.default_rng(7).integers(0, 24, large.shape, np.uint8)
    jpeg = encoded(".jpg", cv2.add(large, grain), cv2.IMWRITE_JPEG_QUALITY, 93)
    return with_exif(jpeg, exif(entry(0x0112, 6)))


@cache
def refused() -> Pictures:
    broken = _broken_pngs() | _broken_jpegs() | _broken_webps()
    return _too_large() | broken | _other_formats() | _cut_short()


def _cut_short() -> Pictures:
    """Cut every kind of file at every tenth of its length."""
    cat = Image.open(PHOTOS / "cat.jpg").convert("RGB")
    whole = {
        "baseline JPEG": photo("cat.jpg"),
        "progressive JPEG": saved(cat, "JPEG", progressive=True),
        "JPEG with EXIF": with_exif(photo("cat.jpg"), exif(entry(0x0112, 6))),
        "CMYK JPEG": saved(cat.convert("CMYK"), "JPEG"),
        "PNG": photo("coffee.png"),
        "interlaced PNG": blank_png(300, 300, 8, 2, interlace=1),
        "lossy WebP": photo("astronaut.webp"),
        "lossless WebP": saved(cat.resize((200, 150)), "WEBP", lossless=True),
    }
    return {
        f"{kind} cut at {tenth}0 %": data[: len(data) * tenth // 10]
        for kind, data in whole.items()
        for tenth in range(1, 10)
    }


def _other_formats() -> Pictures:
    cat, coffee = photo("cat.jpg"), photo("coffee.png")
    frames = [Image.new("P", (9, 9), colour) for colour in (1, 2)]
    return {
        "GIF": saved(frames[0], "GIF"),
        "animated GIF": saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "GIF of 65,535 x 65,535": b"GIF89a\xff\xff\xff\xff\x80" + bytes(99),
        "BMP": encoded(".bmp", flat(9, 9)),
        "BMP of 65,535 x 65,535": b"BM" + struct.pack("<IIIIII", 54, 0, 54, 40, 65535, 65535),
        "TIFF": encoded(".tiff", flat(9, 9)),
        "JPEG 2000": encoded(".jp2", flat(64, 64)),
        "PPM of 65,535 x 65,535": b"P6 65535 65535 255\n" + bytes(99),
        "Radiance": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 65535 +X 65535\n" + bytes(99),
        "EXR": b"\x76\x2f\x31\1\2\0\0\0" + bytes(99),
        "SVG with entities that grow": b'<!DOCTYPE svg [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'
        b'<svg xmlns="http://www.w3.org/2000/svg" width="65535">&b;</svg>',
        "SVG that names a file": b'<svg><image href="file:///etc/passwd"/></svg>',
        "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99),
        "AVIF": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(99),
        "PDF": b"%PDF-1.7\n1 0 obj\n<</Type/Catalog>>\nendobj\n%%EOF",
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) (r) file\n",
        "script": b"#!/bin/sh\nid\n",
        "MVG": b"push graphic-context\nfill 'url(https://127.0.0.1/x.jpg\"|id\")'\n",
        "ZIP": b"PK\3\4" + bytes(99),
        "ZIP before a PNG": b"PK\5\6" + bytes(18) + coffee,
        "HTML before a JPEG": b"<!DOCTYPE html><script>alert(1)</script>" + cat,
        "a line feed before a PNG": b"\n" + coffee,
        "PNG with line feeds for its ends of lines": coffee.replace(b"\r\n", b"\n", 1),
        "one byte": b"\xff",
        "two bytes of a JPEG": b"\xff\xd8",
        "three bytes of a JPEG": b"\xff\xd8\xff",
        "JPEG that is only its ends": b"\xff\xd8\xff\xd9",
        "a PNG's signature": PNG_START,
        "a PNG's signature and end": png(),
        "a WebP's signature": b"RIFF\0\0\0\0WEBP",
        "four MiB of zeros": bytes(4 * 1024**2),
    }


def _broken_pngs() -> Pictures:
    rows = b"".join(b"\0" + bytes(range(90)) for _ in range(30))
    deflated, ihdr = zlib.compress(rows), header(30, 30)
    idat = chunk(b"IDAT", deflated)
    cases = {
        "of no width": (header(0, 30), idat),
        "of no height": (header(30, 0), idat),
        "of a negative width": (header(1 << 31, 1), idat),
        "of 3 bits": (header(30, 30, 3), idat),
        "of colour type 5": (header(30, 30, 8, 5), idat),
        "with another compression": (header(30, 30, 8, 2, 1), idat),
        "with another interlacing": (header(30, 30, 8, 2, 0, 0, 2), idat),
        "whose IHDR has a wrong CRC": (ihdr[:-4] + bytes(4), idat),
        "whose IDAT has a wrong CRC": (ihdr, chunk(b"IDAT", deflated, 0)),
        "whose IDAT is garbage": (ihdr, chunk(b"IDAT", bytes(range(200)))),
        "whose checksum is wrong": (ihdr, chunk(b"IDAT", deflated[:-4] + b"abcd")),
        "with a filter that is none": (ihdr, chunk(b"IDAT", zlib.compress(b"\7" + rows[1:]))),
        "with too few rows": (ihdr, chunk(b"IDAT", zlib.compress(rows[:1000]))),
        "with a palette that is missing": (header(90, 30, 8, 3), idat),
        "with a palette of 7 bytes": (header(90, 30, 8, 3), chunk(b"PLTE", bytes(7)), idat),
        "with a palette too late": (header(90, 30, 8, 3), idat, chunk(b"PLTE", bytes(30))),
        "with two headers": (ihdr, header(60000, 60000), idat),
        "whose header comes second": (chunk(b"tEXt", b"a\0b"), ihdr, idat),
        "with a short header": (chunk(b"IHDR", b"\0\0\0\1"), idat),
        "without pixels": (ihdr,),
        "with a critical chunk that nobody knows": (ihdr, chunk(b"CrIt", b"?"), idat),
        "with 60,000 chunks": (ihdr, chunk(b"teXt", b"") * 60_000, idat),
        "with 300,000 empty IDAT": (ihdr, chunk(b"IDAT", b"") * 300_000, idat),
    }
    named = {f"PNG {name}": png(*chunks) for name, chunks in cases.items()}
    named["PNG without its end"] = png(ihdr, idat, end=b"")
    for kind in (b"IDAT", b"iCCP", b"PLTE"):
        claim = b"\x7f\xff\xff\xff" + kind + bytes(99)
        named[f"PNG whose {kind.decode()} claims 2 GB"] = png(ihdr, claim)
    return named


def _broken_jpegs() -> Pictures:
    cat = photo("cat.jpg")
    start = cat.index(b"\xff\xc0")
    two_scans = progressive(64, 64, b"\x11\x11\x11", 2)

    def changed(offset: int, value: bytes) -> bytes:
        """Return the cat with other bytes in its frame's header."""
        at = start + offset
        return cat[:at] + value + cat[at + len(value) :]

    return {
        "JPEG of no height": changed(5, b"\0\0"),
        "JPEG of no width": changed(7, b"\0\0"),
        "JPEG of 12 bits": changed(4, b"\x0c"),
        "JPEG of no components": changed(9, b"\0"),
        "JPEG of 255 components": changed(9, b"\xff"),
        "JPEG with a sampling of 0": changed(11, b"\0"),
        "JPEG with a table that is missing": changed(12, b"\3"),
        "lossless JPEG": changed(1, b"\xc3"),
        "hierarchical JPEG": changed(1, b"\xc5"),
        "arithmetic JPEG": changed(1, b"\xc9"),
        "arithmetic progressive JPEG": changed(1, b"\xca"),
        "JPEG with two frames": cat[:start] + cat[start : start + 19] + cat[start:],
        "JPEG without a frame": cat[:start] + cat[start + 19 :],
        "JPEG without codes": progressive(64, 64, b"\x11").replace(_CODES, b""),
        "JPEG with a second start": cat[:2] + cat,
        "JPEG with 31 scans": progressive(64, 64, b"\x11\x11\x11", 31),
        "JPEG with 100,000 scans": two_scans[:-2] + scan(1, 0, b"\1\x3f\0") * 100_000,
        "JPEG with 1,000,000 comments": cat[:2] + b"\xff\xfe\0\2" * 1_000_000 + cat[2:],
        "JPEG of 0xFF": b"\xff\xd8" + b"\xff" * 4_000_000,
        "JPEG of 0xFF00": b"\xff\xd8\xff" + b"\xff\0" * 2_000_000,
        "JPEG of 65,500 x 1": encoded(".jpg", flat(65500, 1)),
        "JPEG whose pixels are another's": cat[: start + 400] + bytes(range(256)) * 150,
    }


def _broken_webps() -> Pictures:
    whole = saved(Image.fromarray(flat(30, 20)), "WEBP", lossless=True)
    pixels = (b"VP8L", whole[20 : 20 + int.from_bytes(whole[16:20], "little")])
    frames = [Image.new("RGB", (30, 20), colour) for colour in ("red", "green")]
    return {
        "animated WebP": saved(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        "WebP that says it is animated": riff(canvas(30, 20, 2), pixels),
        "WebP on a larger canvas": riff(canvas(16384, 16384), pixels),
        "WebP on a smaller canvas": riff(canvas(3, 3), pixels),
        "WebP of two sizes": riff(pixels, lossless(16384, 16384)),
        "WebP of no size": riff(lossy(0, 0)),
        "WebP without pixels": riff(canvas(30, 20)),
        "WebP whose pixels are zeros": riff(lossless(30, 20)),
        "WebP that claims 4 GB": whole[:4] + b"\xf6\xff\xff\xff" + whole[8:],
        "WebP whose chunk claims 4 GB": whole[:16] + b"\xf6\xff\xff\xff" + whole[20:],
        "WebP with 300,000 chunks": riff(*[(b"JUNK", b"")] * 300_000, pixels),
        "WebP of 16,383 x 1": encoded(".webp", flat(16383, 1)),
    }


def _too_large() -> Pictures:
    """Make pictures over the pixel limit of their kind; most are complete."""
    cat = photo("cat.jpg")
    size = cat.index(b"\xff\xc0") + 5
    large = flat(5010, 5000)
    all_rows_but_one = chunk(b"IDAT", zeros(18_001 * 3999, 4, 18_001))
    return {
        "PNG header of 65,535 x 65,535": png(header(65535, 65535), chunk(b"IDAT", b"")),
        "PNG of 30,000 x 30,000, in 110 KB": blank_png(30000, 30000, 1, 0),
        "PNG of 25,050,000 grey pixels": blank_png(5010, 5000, 8, 0),
        "PNG of 16 bits with alpha, 13 megapixels": blank_png(3700, 3600, 16, 6),
        "the same, interlaced": blank_png(3700, 3600, 16, 6, interlace=1),
        "PNG of 1 x 25,000,000": blank_png(1, 25_000_000, 1, 0),
        "PNG of 25,000,000 x 1": blank_png(25_000_000, 1, 1, 0),
        "PNG of 1 x 1,000": blank_png(1, 1000, 8, 0),
        "JPEG header of 65,535 x 65,535": cat[:size] + b"\xff\xff\xff\xff" + cat[size + 4 :],
        "JPEG of 25,050,000 pixels": encoded(".jpg", large),
        "progressive JPEG of 25,050,000 pixels": progressive(5010, 5000, SUBSAMPLED),
        "progressive JPEG without subsampling, 17 megapixels": progressive(4250, 4000, b"\x11" * 3),
        "progressive JPEG of inks, 14 megapixels": progressive(3700, 3800, b"\x11" * 4),
        "JPEG of inks, 25,050,000 pixels": saved(Image.new("CMYK", (5010, 5000)), "JPEG"),
        "24 megapixels, progressive, cut at 90 %": progressive(6000, 4000, SUBSAMPLED)[:200_000],
        "24 megapixels, a PNG without its last row": png(header(6000, 4000), all_rows_but_one),
        "WebP header of 16,383 x 16,383": riff(lossy(16383, 16383)),
        "lossless WebP header of 16,384 x 16,384": riff(lossless(16384, 16384)),
        "WebP canvas of 16,777,216 x 16,777,216": riff(canvas(1 << 24, 1 << 24), lossy(9, 9)),
        "WebP of 25,050,000 pixels": encoded(".webp", large, cv2.IMWRITE_WEBP_QUALITY, 1),
        "lossless WebP of 17 megapixels": riff(lossless(4250, 4000)),
    }


@cache
def taken() -> Pictures:
    """Return pictures that get 200. The function that makes them says why."""
    return _as_large_as_may_be() | _with_odd_parts() | _with_odd_exif() | _with_company()


def _with_company() -> Pictures:
    """Append data to pictures. A picture ends where its format says, and the rest is ignored."""
    files = {"JPEG": photo("cat.jpg"), "PNG": photo("coffee.png"), "WebP": photo("astronaut.webp")}
    company = {
        "ZIP": b"PK\3\4" + bytes(99) + b"PK\5\6" + bytes(18),
        "HTML": b"<html><script>alert(document.domain)</script></html>",
        "script": b"\n<?php system($_GET['c']); ?>\n#!/bin/sh\nid\n",
        "second picture": photo("rocket.jpg"),
    }
    return {
        f"{kind} with a {name} behind it": data + tail
        for kind, data in files.items()
        for name, tail in company.items()
    }


def _with_odd_exif() -> Pictures:
    """Add broken EXIF, which rotates nothing."""
    turned = entry(0x0112, 6)
    blocks = {
        "of no bytes": b"",
        "of garbage": bytes(range(256)),
        "that claims 65,535 entries": exif(turned, count=65535),
        "that claims 65,535 entries and has none": exif(count=65535),
        "whose directory is itself": exif(turned, directory=0),
        "whose directory is 4 GB away": exif(turned, directory=0xFFFFFFFF),
        "whose next directory is the first": exif(entry(0x0100, 9)) + struct.pack("<I", 8),
        "with orientation 0": exif(entry(0x0112, 0)),
        "with orientation 9": exif(entry(0x0112, 9)),
        "with orientation 65,535": exif(entry(0x0112, 65535)),
        "with 4,294,967,295 orientations": exif(entry(0x0112, 6, count=0xFFFFFFFF)),
        "with a thumbnail of 4 GB": exif(entry(0x0201, 8, 4), entry(0x0202, 0xFFFFFFFF, 4)),
        "of 65,000 bytes": exif(*[entry(0x0100, 1)] * 5000, count=65535),
    }
    cat = photo("cat.jpg")
    named = {f"JPEG with EXIF {name}": with_exif(cat, block) for name, block in blocks.items()}
    first = with_exif(cat, exif(turned) + bytes(60_000))
    blocks_59 = segment(0xE1, b"Exif\0\0" + bytes(65_000)) * 59
    named["JPEG with 60 blocks of EXIF"] = first[:2] + blocks_59 + first[2:]
    coffee = photo("coffee.png")
    named["PNG with EXIF of 1 MB"] = coffee[:33] + chunk(b"eXIf", bytes(1 << 20)) + coffee[33:]
    return named


def _with_odd_parts() -> Pictures:
    """Add parts that are ignored, since they change no pixel, and faults that viewers forgive."""
    rows = b"".join(b"\0" + bytes(range(90)) for _ in range(30))
    ihdr, idat = header(30, 30), chunk(b"IDAT", zlib.compress(rows))
    palette, bomb = chunk(b"PLTE", bytes(30)), zeros(1 << 29)  # 2 MB, which become 512
    frame = struct.pack(">IIIIIHHBB", 0, 20000, 20000, 0, 0, 1, 10, 0, 0)
    animated = chunk(b"acTL", struct.pack(">II", 2, 0))
    cases = {
        "whose profile is a bomb": (ihdr, chunk(b"iCCP", b"a\0\0" + bomb), idat),
        "whose text is a bomb": (ihdr, chunk(b"zTXt", b"a\0\0" + bomb), idat),
        "whose other text is a bomb": (ihdr, chunk(b"iTXt", b"a\0\1\0\0\0" + bomb), idat),
        "that is an animation": (ihdr, animated, idat),
        "whose animation is larger than it is": (ihdr, animated, chunk(b"fcTL", frame), idat),
        "whose text has a wrong CRC": (ihdr, chunk(b"tEXt", b"a\0b", 0), idat),
        "with a transparency too long": (ihdr, chunk(b"tRNS", bytes(300)), idat),
        "with colours that its palette lacks": (header(90, 30, 8, 3), palette, idat),
        "with more than its pixels": (ihdr, chunk(b"IDAT", zlib.compress(rows + bytes(1 << 20)))),
        "with 40,000 empty IDAT": (ihdr, idat, chunk(b"IDAT", b"") * 40_000),
    }
    named = {f"PNG {name}": png(*chunks) for name, chunks in cases.items()}
    cat = photo("cat.jpg")
    named["JPEG with bytes before its end"] = cat[:-2] + b"abc" + JPEG_END
    named["JPEG with bytes before a marker"] = cat[:20] + b"abc" + cat[20:]
    profile = segment(0xE2, b"ICC_PROFILE\0\1\xff" + b"\xff" * 60_000)
    named["JPEG with a profile of 16 MB, by its own account"] = cat[:2] + profile + cat[2:]
    return named


def _as_large_as_may_be() -> Pictures:
    portrait = exif(entry(0x0112, 6))
    large = progressive(6000, 4000, SUBSAMPLED)
    translucent = Image.new("RGBA", (4080, 4080), (1, 2, 3, 4))
    return {
        "24 megapixels of a camera, upright": with_exif(
            encoded(".jpg", flat(6000, 4000)), portrait
        ),
        "24 megapixels, progressive": large,
        "24 megapixels, progressive, turned": with_exif(large, portrait),
        "progressive without subsampling": progressive(4080, 4080, b"\x11" * 3),
        "progressive, inks": progressive(3680, 3680, b"\x11" * 4),
        "inks": saved(Image.new("CMYK", (6000, 4000)), "JPEG"),
        "PNG with alpha": blank_png(5000, 5000, 8, 6),
        "PNG with alpha, interlaced": blank_png(5000, 5000, 8, 6, interlace=1),
        "PNG of 16 bits with alpha, interlaced": blank_png(3500, 3500, 16, 6, interlace=1),
        "lossy WebP": encoded(".webp", flat(5000, 5000), cv2.IMWRITE_WEBP_QUALITY, 1),
        "lossless WebP with alpha": saved(translucent, "WEBP", lossless=True, method=0),
    }

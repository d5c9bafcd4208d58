"""What every target is asked: photographs, edge cases and mistakes, or the user's own."""

import base64
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ops.answers import media_type
from ops.aws import CannotAsk
from ops.local import MEDIA_TYPES, Picture, default_pictures, default_requests, read

JSON, JSON_LINES = "application/json", "application/jsonlines"
# A red square of 8 x 8 pixels: less than the model's own input.
_SQUARE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEUlEQVQI12P8z4AdMDEMKQkA"
    "zUEBD9aGuoAAAAAASUVORK5CYII="
)
# EXIF of one entry: orientation 6, to be turned by 90 degrees. It is decoded by another library.
_ON_ITS_SIDE = (
    b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
)


def shipped() -> list[Picture]:
    """Our photographs as bytes and `data:`, batches, edge cases, mistakes. Nothing is fetched.

    Of a model folder, its own requests. Raises OSError.
    """
    if os.environ.get("MODEL_FOLDER"):
        return default_requests()
    photos = [read(path) for path in default_pictures()]
    by_name = {photo.name: photo for photo in photos}
    cat, coffee = by_name["cat.jpg"], by_name["coffee.png"]
    requests = [{"uri": data_uri(coffee)}, {"uri": 7}, {"uri": data_uri(cat)}]
    lines = "".join(f"{json.dumps(request)}\n" for request in requests)
    turned = cat.body[:2] + _ON_ITS_SIDE + cat.body[2:]
    return [
        *photos,
        Picture("cat.jpg on its side, by EXIF", "image/jpeg", turned),
        _asked("cat.jpg as data:", {"uri": data_uri(cat)}),
        _asked("a square of 8 x 8 pixels", {"uri": _SQUARE}),
        _asked("an array, one record at fault", requests),
        Picture("JSON lines, one at fault", JSON_LINES, lines.encode()),
        Picture("cat.jpg cut short", "image/jpeg", cat.body[:1000]),
        Picture("bytes that are no image", "image/jpeg", b"no image"),
        Picture("no bytes", "image/jpeg", b""),
        Picture("text that is no JSON", JSON, b"{"),
        _asked("a request without uri", {"url": "cat.jpg"}),
        _asked("a uri that must be refused", {"uri": "http://169.254.169.254/latest/meta-data/"}),
        Picture("an unknown media type", "text/csv", b"1,2"),
    ]


def of_user(place: Path) -> list[Picture]:
    """The pictures of a folder, or the requests of a file of JSON lines.

    A line is a request, as it is posted, or a URI as a JSON string. Raises CannotAsk and OSError.
    """
    found = _in_folder(place) if place.is_dir() else list(_in_lines(place.read_text()))
    if not found:
        kinds = ", ".join(MEDIA_TYPES)
        raise CannotAsk(f"--inputs {place} has nothing to ask", f"it needs {kinds}, or JSON lines")
    return found


def shown(picture: Picture) -> tuple[str, bytes] | None:
    """Media type and bytes of the one image that is sent, where it is sent and known."""
    data = picture.body
    if picture.content_type == JSON:
        try:
            uri = json.loads(picture.body)["uri"]
            head, _, encoded = uri.partition(",")
            data = base64.b64decode(encoded) if head.endswith(";base64") else b""
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
    kind = media_type(data)
    return (kind, data) if kind in MEDIA_TYPES.values() else None


def data_uri(photo: Picture) -> str:
    return f"data:{photo.content_type};base64,{base64.b64encode(photo.body).decode()}"


def _asked(name: str, request: Mapping[str, Any] | Sequence[Any]) -> Picture:
    return Picture(name, JSON, json.dumps(request).encode())


def _in_folder(folder: Path) -> list[Picture]:
    files = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in MEDIA_TYPES]
    found = [read(str(path)) for path in files]
    return [replace(picture, content_type=media_type(picture.body)) for picture in found]


def _in_lines(text: str) -> Iterator[Picture]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            request = json.loads(line)
        except ValueError as error:
            raise CannotAsk(
                f"line {number} of --inputs is no JSON: {error}", "correct it"
            ) from None
        if isinstance(request, str):
            request = {"uri": request}
        uri = request.get("uri") if isinstance(request, dict) else None
        # What follows a '?' may be a signature, and of data: the start tells nothing.
        named = uri.partition("?")[0][:60] if isinstance(uri, str) and uri[:5] != "data:" else ""
        yield _asked(f"line {number} {named}".strip(), request)

"""Requests for a target: the user's, a model folder's, or the project's own exam."""

import base64
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.aws import CannotAsk
from ops.local_servers import ROOT

JSON, JSON_LINES = "application/json", "application/jsonlines"
PHOTOS = ROOT / "container" / "photos"
PICTURE = "application/x-image"  # the container detects the format
ENDINGS = {".json": JSON, ".jsonl": JSON_LINES, ".jsonlines": JSON_LINES, ".ndjson": JSON_LINES}
PICTURES = (".jpg", ".jpeg", ".png", ".webp")
URI_SCHEMES = ("http", "https", "s3", "data")
# A red square of 8 x 8 pixels, which is smaller than the model's input.
_SQUARE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEUlEQVQI12P8z4AdMDEMKQkA"
    "zUEBD9aGuoAAAAAASUVORK5CYII="
)
# EXIF with one entry, orientation 6 (turn by 90 degrees): another library decodes such a JPEG.
_EXIF = b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
_PLACEHOLDER = re.compile(r"\{(?:bytes|head|zeros|data|sha256):")  # in a golden case


@dataclass(frozen=True)
class Input:
    """One request: a name to show, its media type and its body."""

    name: str
    content_type: str
    body: bytes


def media_type(data: bytes) -> str:
    """Return an image's type by its content, or PICTURE if it is not known."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    return "image/png" if data.startswith(b"\x89PNG\r\n\x1a\n") else PICTURE


def read_input(place: str) -> Input:
    """Read a file, or make a JSON request of a URI. Raise OSError.

    A file's content decides its type first, then its ending.
    """
    if is_uri(place):
        return Input(shown_uri(place), JSON, json.dumps({"uri": place}).encode())
    path = Path(place)
    data = path.read_bytes()
    kind = media_type(data)
    if kind == PICTURE:
        kind = ENDINGS.get(path.suffix.lower(), kind)
    return Input(path.name, kind, data)


def is_uri(place: str) -> bool:
    scheme, colon, _ = place.partition(":")
    return bool(colon) and scheme.lower() in URI_SCHEMES


def shown_uri(uri: str) -> str:
    """Return the start of a URI without its query, which may hold a signature."""
    return uri.partition("?")[0][:60]


def pictures_in(folder: Path) -> list[Input]:
    paths = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in PICTURES]
    return [read_input(str(path)) for path in paths]


def default_requests() -> list[Input]:
    """Return the shipped photographs. Raise OSError.

    With MODEL_FOLDER, return that folder's `requests.jsonl`, or else its `pictures/`.
    """
    if not (folder := os.environ.get("MODEL_FOLDER")):
        return pictures_in(PHOTOS)
    lines = Path(folder, "requests.jsonl")
    return [*_in_lines(lines)] if lines.exists() else pictures_in(Path(folder, "pictures"))


def golden_requests(folder: Path) -> list[Input]:
    """Return a model folder's golden JSON requests without files. Raise CannotAsk or OSError."""
    path = folder / "golden.json"
    try:
        cases = json.loads(path.read_bytes()) if path.exists() else []
        bodies = [(case["name"], case["request"].get("body")) for case in cases]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CannotAsk(f"{path} holds no golden cases: {error!r}", "correct it") from None
    return [
        _json(name, body)
        for name, body in bodies
        if isinstance(body, dict | list) and not _PLACEHOLDER.search(json.dumps(body))
    ]


def default_exam() -> list[Input]:
    """Return photographs, batches, edge cases and invalid requests, none of which need a network.

    With MODEL_FOLDER, return that folder's requests. Raise OSError.
    """
    if os.environ.get("MODEL_FOLDER"):
        return default_requests()
    photos = pictures_in(PHOTOS)
    by_name = {photo.name: photo for photo in photos}
    cat, coffee = by_name["cat.jpg"], by_name["coffee.png"]
    requests = [{"uri": data_uri(coffee)}, {"uri": 7}, {"uri": data_uri(cat)}]
    lines = "".join(f"{json.dumps(request)}\n" for request in requests)
    turned = cat.body[:2] + _EXIF + cat.body[2:]
    return [
        *photos,
        Input("cat.jpg on its side, by EXIF", "image/jpeg", turned),
        _json("cat.jpg as data:", {"uri": data_uri(cat)}),
        _json("a square of 8 x 8 pixels", {"uri": _SQUARE}),
        _json("an array, one record at fault", requests),
        Input("JSON lines, one at fault", JSON_LINES, lines.encode()),
        Input("cat.jpg cut short", "image/jpeg", cat.body[:1000]),
        Input("bytes that are no image", "image/jpeg", b"no image"),
        Input("no bytes", "image/jpeg", b""),
        Input("text that is no JSON", JSON, b"{"),
        _json("a request without uri", {"url": "cat.jpg"}),
        _json("a uri that must be refused", {"uri": "http://169.254.169.254/latest/meta-data/"}),
        Input("an unknown media type", "text/csv", b"1,2"),
    ]


def read_inputs(places: Sequence[str]) -> list[Input]:
    """Read pictures, URIs, folders of pictures, JSON files and files of JSON lines.

    A line holds a request, or a URI as a JSON string. Raise CannotAsk or OSError.
    """
    found: list[Input] = []
    for place in places:
        path = Path(place)
        if is_uri(place) or path.suffix.lower() in PICTURES or _is_one_request(path):
            inputs = [read_input(place)]
        else:
            inputs = pictures_in(path) if path.is_dir() else [*_in_lines(path)]
        if not inputs:
            fix = f"it needs {', '.join(PICTURES)}, or JSON lines"
            raise CannotAsk(f"--inputs {place} has nothing to ask", fix)
        found += inputs
    return found


def picture_of(item: Input) -> tuple[str, bytes] | None:
    """Return media type and bytes of the image in an input, or None."""
    data = item.body
    if item.content_type == JSON:
        try:
            head, _, encoded = json.loads(item.body)["uri"].partition(",")
            data = base64.b64decode(encoded) if head.endswith(";base64") else b""
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
    kind = media_type(data)
    return None if kind == PICTURE else (kind, data)


def data_uri(photo: Input) -> str:
    return f"data:{photo.content_type};base64,{base64.b64encode(photo.body).decode()}"


def _json(name: str, request: Mapping[str, Any] | Sequence[Any]) -> Input:
    return Input(name, JSON, json.dumps(request).encode())


def _is_one_request(path: Path) -> bool:
    """Check whether a .json file holds one JSON text instead of JSON lines."""
    try:
        found = path.suffix.lower() == ".json" and json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict | list)


def _in_lines(path: Path) -> Iterator[Input]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        fix = f"save JSON lines as UTF-8; a picture's name must end with {', '.join(PICTURES)}"
        raise CannotAsk(f"--inputs {path} is no text in UTF-8", fix) from None
    for number, line in enumerate(text.split("\n"), start=1):  # splitlines also splits at U+2028
        if not line.strip():
            continue
        try:
            request = json.loads(line)
        except (ValueError, RecursionError) as error:
            why = f"line {number} of --inputs {path} is no JSON: {error}"
            raise CannotAsk(why, "correct it") from None
        if isinstance(request, str):
            request = {"uri": request}
        uri = request.get("uri") if isinstance(request, dict) else None
        name = shown_uri(uri) if isinstance(uri, str) and not uri.startswith("data:") else ""
        yield _json(f"line {number} {name}".strip(), request)

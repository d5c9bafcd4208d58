"""`python -m ops local`: both faces on this machine, asked the same, compared."""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ops import faces
from ops.faces import ROOT, Face, FaceError, Reply

MEDIA_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
}
REPEATS = 5


@dataclass(frozen=True)
class Picture:
    """One request: its name for the reader, its media type and its body."""

    name: str
    content_type: str
    body: bytes


@dataclass(frozen=True)
class Comparison:
    """What every face said about one picture, and each one's median time."""

    picture: Picture
    replies: Mapping[str, Reply]
    milliseconds: Mapping[str, float]

    @property
    def identical(self) -> bool:
        return len({(reply.status, reply.body) for reply in self.replies.values()}) == 1

    @property
    def ok(self) -> bool:
        return self.identical and all(reply.status == 200 for reply in self.replies.values())

    def as_json(self) -> dict[str, Any]:
        return {
            "picture": self.picture.name,
            "identical": self.identical,
            "faces": {
                name: {
                    "status": reply.status,
                    "milliseconds": self.milliseconds[name],
                    "answer": json.loads(reply.body),
                }
                for name, reply in self.replies.items()
            },
        }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--docker",
        nargs="?",
        const="one-image",
        metavar="IMAGE",
        help="run the faces as containers of this image (default: one-image, what `make image` "
        "builds) and not as processes",
    )
    parser.add_argument(
        "--image",
        action="append",
        metavar="PATH_OR_URI",
        help="a picture of yours, or its https:, http:, s3: or data: URI; may be repeated "
        "(default: the photographs in container/photos)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")


def run(options: argparse.Namespace) -> int:
    """Exit status 0: every picture got the same answer from both faces."""
    console = Console(stderr=options.json)
    try:
        pictures = [read(place) for place in options.image or ()] or default_requests()
    except OSError as error:
        console.print(f"error: --image {error.filename}: {error.strerror}", style="red")
        return 2
    try:
        with started(options.docker) as both, console.status("asking both faces") as status:
            comparisons = []
            for picture in pictures:
                status.update(f"asking both faces about {picture.name}")
                comparisons.append(compare(picture, both))
    except (FaceError, FileNotFoundError) as error:
        console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return 2
    same = all(comparison.ok for comparison in comparisons)
    if options.json:
        answers = [comparison.as_json() for comparison in comparisons]
        json.dump({"identical": same, "pictures": answers}, sys.stdout, indent=2)
        print()
    else:
        for comparison in comparisons:
            show(comparison, console)
        console.print(verdict(comparisons, same), style="green" if same else "red")
    return 0 if same else 1


@contextmanager
def started(image: str | None) -> Iterator[tuple[Face, Face]]:
    """Both faces, as containers of `image` or as processes. Raises FaceError."""
    with ExitStack() as stack:
        if image:
            faces.require_image(image)
            yield (
                stack.enter_context(faces.http_container(image)),
                stack.enter_context(faces.lambda_container(image)),
            )
        else:
            environment = process_environment()
            yield (
                stack.enter_context(faces.http_process(environment)),
                stack.enter_context(faces.lambda_process(environment)),
            )


def process_environment() -> dict[str, str]:
    """What the image's ENV says, for a face that runs from this checkout.

    MODEL_FOLDER is the folder of another kind of model, as `-c model_folder` is; `make` installs
    what it requires.
    """
    path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    if folder := os.environ.get("MODEL_FOLDER"):
        return {**path, **of_model_folder(Path(folder))}
    return {
        **path,
        "MODEL_NAME": os.environ.get("MODEL_NAME", "") or "efficientnet_lite0",
        "ARTIFACTS_DIR": str(ROOT / "build" / "artifacts"),
    }


def of_model_folder(folder: Path) -> dict[str, str]:
    """What has a face of this checkout serve the model folder, as an image of it would."""
    folder = folder.resolve()
    return {
        "INFERENCE": str(folder / "inference.py"),
        "ARTIFACTS_DIR": str(folder),
        "MODEL_NAME": "artifact",
        "PYTHONPATH": str(ROOT / "build" / "packages" / folder.name),
    }


def default_pictures() -> list[str]:
    photos = ROOT / "container" / "photos"
    return [str(path) for path in sorted(photos.iterdir()) if path.suffix in MEDIA_TYPES]


def default_requests() -> list[Picture]:
    """Our photographs, or what MODEL_FOLDER asks: `requests.jsonl`, else `pictures/`.

    Raises OSError.
    """
    if not (folder := os.environ.get("MODEL_FOLDER")):
        return [read(place) for place in default_pictures()]
    lines = Path(folder, "requests.jsonl")
    if not lines.exists():
        files = sorted(Path(folder, "pictures").iterdir())
        return [read(str(path)) for path in files if path.suffix in MEDIA_TYPES]
    return [
        Picture(f"line {number}", "application/json", line)
        for number, line in enumerate(lines.read_bytes().splitlines(), start=1)
        if line.strip()
    ]


def read(place: str) -> Picture:
    """A picture from a path, sent as bytes, or from a URI, sent as JSON. Raises OSError."""
    if place.partition(":")[0].lower() in ("http", "https", "s3", "data"):
        body = json.dumps({"uri": place}).encode()
        return Picture(place.partition("?")[0][:60], "application/json", body)
    path = Path(place)
    content_type = MEDIA_TYPES.get(path.suffix.lower(), "application/x-image")
    return Picture(path.name, content_type, path.read_bytes())


def compare(picture: Picture, both: Sequence[Face]) -> Comparison:
    replies, milliseconds = {}, {}
    for face in both:
        rounds = [
            face.send("POST", "/invocations", {"Content-Type": picture.content_type}, picture.body)
            for _ in range(REPEATS)
        ]
        replies[face.name] = rounds[0]
        median = statistics.median(reply.seconds for reply in rounds)
        milliseconds[face.name] = round(median * 1000, 1)
    return Comparison(picture, replies, milliseconds)


def show(comparison: Comparison, console: Console) -> None:
    """The answers side by side, one row a class."""
    picture = comparison.picture
    table = Table(
        title=f"{picture.name} ({picture.content_type}, {len(picture.body):,} bytes)",
        title_justify="left",
        title_style="bold",
    )
    table.add_column("")
    answers = {}
    for name, reply in comparison.replies.items():
        table.add_column(name, justify="right")
        answers[name] = json.loads(reply.body)
    first = next(iter(answers.values()))
    if all("results" in answer for answer in answers.values()):
        for rank, result in enumerate(first["results"]):
            others = [answer["results"][rank] for answer in answers.values()]
            same_label = all(other["label"] == result["label"] for other in others)
            cells = [o["prob"] if same_label else f"{o['label']} {o['prob']}" for o in others]
            table.add_row(result["label"] if same_label else "", *cells)
    elif any("error" in answer for answer in answers.values()):
        for part in ("code", "message"):
            table.add_row(part, *(a.get("error", {}).get(part, "") for a in answers.values()))
    else:
        for part in first:
            table.add_row(part, *(json.dumps(a.get(part)) for a in answers.values()))
    table.add_section()
    table.add_row("status", *(str(reply.status) for reply in comparison.replies.values()))
    table.add_row("median time", *(f"{ms} ms" for ms in comparison.milliseconds.values()))
    table.add_row("identical", "yes, to the byte" if comparison.identical else "NO")
    console.print(table)


def verdict(comparisons: Sequence[Comparison], same: bool) -> str:
    if same:
        plural = "" if len(comparisons) == 1 else "s"
        return f"{len(comparisons)} picture{plural}, both faces: identical answers."
    if all(comparison.identical for comparison in comparisons):
        return "Both faces agree, but not every picture was answered."
    return "The faces differ."

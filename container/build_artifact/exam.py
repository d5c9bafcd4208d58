"""`python -m build_artifact.exam MODEL_FOLDER`: add the exam to a model's artifact.

Writes the requests of MODEL_FOLDER/golden.json, with their files, to
MODEL_FOLDER/artifact/golden.json, and updates the manifest, so that the model id covers them.
"""

import base64
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from serving.artifact import manifest
from serving.core.contract import JSON
from serving.core.errors import StartError
from serving.examiner import exam

# The placeholders of a golden case: a file, or something that only a test can provide.
_PLACE = re.compile(r"\{(bytes|data|head|zeros|sha256|https?|host)(?::([^}]*))?\}")


def write(model_folder: Path) -> int:
    """Return the number of requests. Raises StartError if there is none, or an unreadable file."""
    cases, artifact = model_folder / "golden.json", model_folder / "artifact"
    try:
        questions = [*_questions(json.loads(cases.read_bytes()), model_folder)]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise StartError(f"{cases} holds no golden cases: {error!r}") from None
    except OSError as error:
        raise StartError(f"{error.filename} cannot be read: {error.strerror}") from None
    if not questions:
        raise StartError(f"{cases} has no POST /invocations that needs nothing but files")
    text = json.dumps(questions[: exam.MAX_QUESTIONS], indent=1) + "\n"
    place = artifact / exam.EXAM
    if not place.exists() or place.read_text() != text:
        place.write_text(text)
        manifest.write(artifact, manifest.read(artifact))
    return len(exam.read(place))


def _questions(cases: Any, folder: Path) -> Iterator[dict[str, str]]:
    """Yield the requests to /invocations that need nothing but files of the folder."""

    def encoded(file: str) -> str:
        return base64.b64encode((folder / file).read_bytes()).decode()

    for case in cases:
        request = case["request"]
        if request.get("method", "POST") != "POST" or "path" in request:
            continue
        headers = {name.lower(): value for name, value in request.get("headers", {}).items()}
        body = request.get("body", "")
        text = body if isinstance(body, str) else json.dumps(body)
        question = {"name": case["name"], "content_type": headers.get("content-type", JSON)}
        if {match[1] for match in _PLACE.finditer(text)} <= {"data"}:
            body = _PLACE.sub(lambda match: f"data:image/jpeg;base64,{encoded(match[2])}", text)
            yield {**question, "body": body}
        elif (whole := _PLACE.fullmatch(text)) and whole[1] == "bytes":
            yield {**question, "base64": encoded(whole[2])}


if __name__ == "__main__":
    try:
        write(Path(sys.argv[1]))
    except StartError as failure:
        sys.exit(f"error: {failure}")

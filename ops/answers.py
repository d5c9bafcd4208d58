"""Answers of all targets in one form. Nothing here does I/O."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# The tools' own codes, for a container that did not run or did not answer.
THROTTLED = "throttled"
TARGET_FAILED = "target_failed"
_CODES = {429: THROTTLED, 413: "too_large"}  # the container uses the same code for 413


@dataclass(frozen=True)
class Answer:
    """One line of JSON, its value, and the HTTP status of the container or of AWS."""

    status: int
    text: str
    value: Any

    @property
    def ok(self) -> bool:
        return self.status == 200

    @property
    def error(self) -> Mapping[str, Any]:
        return error_of(self.value)


def error_of(value: object) -> Mapping[str, Any]:
    """Return the contract's error object in an answer's value, or an empty mapping."""
    error = value.get("error") if isinstance(value, dict) else None
    return error if isinstance(error, dict) and {"code", "message"} <= error.keys() else {}


def from_body(status: int, body: bytes) -> Answer:
    """Parse a body that the container or AWS sent. JSON lines become an array."""
    text = body.decode(errors="replace").strip()
    try:
        value = json.loads(text)
    except ValueError:
        try:
            value = [json.loads(line) for line in text.split("\n")]
        except ValueError:
            return platform_error(status, text[:500])
    answer = Answer(status, json.dumps(value) if "\n" in text else text, value)
    if answer.ok or answer.error:
        return answer
    said = value if isinstance(value, dict) else {}
    # AWS's services call it `message`, `Message` or `errorMessage`; some add a `Reason`.
    message = said.get("message") or said.get("Message") or said.get("errorMessage")
    reason = said.get("Reason")
    words = " ".join(str(part) for part in (message, reason and f"({reason})") if part)
    return platform_error(status, words or text[:500])


def from_failure(text: str) -> Answer:
    """Parse the sentence that an asynchronous endpoint stores about a failure."""
    match = re.search(r'\((\d{3})\) from \S+ with message "(.*?)"(?:\. See |\s*$)', text, re.DOTALL)
    return from_body(int(match[1]), match[2].encode()) if match else from_body(0, text.encode())


def platform_error(status: int, message: str) -> Answer:
    """Put a message of AWS into the contract's error object. The status is never a success."""
    message = " ".join(message.split()) or f"status {status} and an empty body"
    code = _CODES.get(status, TARGET_FAILED)
    value = {"error": {"code": code, "message": message}}
    return Answer(502 if status in (0, 200) else status, json.dumps(value), value)


def classes_of(value: object) -> Sequence[tuple[str, str]]:
    """Return labels with probabilities, or an empty list if the model is not a classifier."""
    results = value.get("results") if isinstance(value, dict) else None
    try:
        return [(str(result["label"]), str(result["prob"])) for result in results or ()]
    except (TypeError, KeyError):
        return []

"""The answer of a target, in one form whichever target gave it. Nothing here does I/O."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Codes of the tools, not of the container: it did not run, or it ended before it could answer.
THROTTLED = "throttled"
TARGET_FAILED = "target_failed"
_CODES = {429: THROTTLED, 413: "too_large"}  # the container's own code for 413


@dataclass(frozen=True)
class Answer:
    """JSON of one line and its value, and the HTTP status of the container or of the platform."""

    status: int
    text: str
    value: Any

    @property
    def ok(self) -> bool:
        return self.status == 200

    @property
    def error(self) -> Mapping[str, Any]:
        """Return the contract's error object, empty where the answer is none."""
        return error_of(self.value)


def error_of(value: object) -> Mapping[str, Any]:
    """Return the error object of an answer's value, empty where there is none."""
    error = value.get("error") if isinstance(value, dict) else None
    return error if isinstance(error, dict) and {"code", "message"} <= error.keys() else {}


def from_body(status: int, body: bytes) -> Answer:
    """Return the answer in a body that the container, or the platform in its place, sent.

    JSON lines are an array.
    """
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
    return platform_error(status, _message_in(value) or text[:500])


def from_failure(text: str) -> Answer:
    """Return the answer in the sentence that an asynchronous endpoint writes about a failure."""
    match = re.search(r'\((\d{3})\) from \S+ with message "(.*?)"(?:\. See |\s*$)', text, re.DOTALL)
    return from_body(int(match[1]), match[2].encode()) if match else from_body(0, text.encode())


def platform_error(status: int, message: str) -> Answer:
    """Return the contract's error object for a message of the platform, never as a success."""
    message = " ".join(message.split()) or f"status {status} and an empty body"
    code = _CODES.get(status, TARGET_FAILED)
    value = {"error": {"code": code, "message": message}}
    return Answer(502 if status in (0, 200) else status, json.dumps(value), value)


def classes_of(value: object) -> Sequence[tuple[str, str]]:
    """Return each label with its probability; none where another kind of model answered."""
    results = value.get("results") if isinstance(value, dict) else None
    try:
        return [(str(result["label"]), str(result["prob"])) for result in results or ()]
    except (TypeError, KeyError):
        return []


def _message_in(value: object) -> str:
    """AWS's services name it `message`, `Message` or `errorMessage`; some add a `Reason`."""
    if not isinstance(value, dict):
        return ""
    message = value.get("message") or value.get("Message") or value.get("errorMessage")
    reason = value.get("Reason")
    return " ".join(str(part) for part in (message, reason and f"({reason})") if part)

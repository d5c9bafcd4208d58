"""What a target said, the same whichever target said it. Nothing here does I/O."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Not the container's own codes: nothing of ours ran, or it ended before it could answer.
THROTTLED = "throttled"
TARGET_FAILED = "target_failed"

_SIGNATURES = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
)


@dataclass(frozen=True)
class Answer:
    """One JSON text of one line, and the HTTP status that the container gave, or the platform."""

    status: int
    text: str

    @property
    def ok(self) -> bool:
        return self.status == 200

    @property
    def value(self) -> Any:
        return json.loads(self.text)

    @property
    def error(self) -> Mapping[str, Any] | None:
        """The contract's error object, if that is what this answer is."""
        value = self.value
        error = value.get("error") if isinstance(value, dict) else None
        return error if isinstance(error, dict) and {"code", "message"} <= error.keys() else None


def media_type(data: bytes) -> str:
    """By content, as names lie; `application/x-image` leaves what is unknown to the container."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next(
        (kind for start, kind in _SIGNATURES if data.startswith(start)), "application/x-image"
    )


def from_body(status: int, body: bytes) -> Answer:
    """The answer in a body that the container sent, or the platform in its place."""
    text = body.decode(errors="replace").strip()
    try:
        value = json.loads(text)
    except ValueError:
        return platform_error(status, text[:500])
    answer = Answer(status, text if "\n" not in text else json.dumps(value))
    if status == 200 or answer.error:
        return answer
    return platform_error(status, _message_in(value) or text[:500])


def from_failure(text: str) -> Answer:
    """What an asynchronous endpoint wrote to its failure location: a sentence about a response."""
    match = re.search(r'\((\d{3})\) from \S+ with message "(.*?)"(?:\. See |\s*$)', text, re.DOTALL)
    return from_body(int(match[1]), match[2].encode()) if match else from_body(0, text.encode())


def platform_error(status: int, message: str) -> Answer:
    """The contract's error object for what the platform says; it must not look like success."""
    throttled = status == 429
    message = " ".join(message.split()) or f"status {status} and an empty body"
    code = THROTTLED if throttled else TARGET_FAILED
    text = json.dumps({"error": {"code": code, "message": message}})
    return Answer(502 if status in (0, 200) else status, text)


def _message_in(value: object) -> str:
    """AWS's services say it as `message`, `Message` or, with a `Reason`, both."""
    if not isinstance(value, dict):
        return ""
    said = value.get("message") or value.get("Message") or value.get("errorMessage")
    reason = value.get("Reason")
    return " ".join(str(part) for part in (said, reason and f"({reason})") if part)


def classes_of(value: object) -> Sequence[tuple[str, str]]:
    """Each label with its probability; none where the answer is another model's."""
    results = value.get("results") if isinstance(value, dict) else None
    try:
        return [(str(result["label"]), str(result["prob"])) for result in results or ()]
    except (TypeError, KeyError):
        return []

"""Answers kept in a file, to be the first side of a later comparison."""

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ops.aws import CannotAsk
from ops.local import Picture
from ops.parity.comparing import Heard
from ops.parity.facts import CHECKOUT, Facts

FORMAT = 1


class Recording:
    """What one target answered, and what was known of it."""

    def __init__(self, facts: Facts, salt: bytes, answers: Mapping[str, Heard]) -> None:
        self.facts, self.salt, self._answers = facts, salt, answers

    @classmethod
    def read(cls, path: Path) -> "Recording":
        """Raises CannotAsk where the file holds none, and OSError."""
        try:
            kept = json.loads(path.read_bytes())
            if kept["format"] != FORMAT:
                raise ValueError(kept["format"])
            target = kept["target"]
            facts = Facts(
                label=f"{target['label']}, {kept['recorded']}",
                name=f"{target['name']} as of {kept['recorded']}",
                # Its files may have changed since.
                digests=frozenset(target["digests"]) - {CHECKOUT},
                settings=target["settings"],
                image_id=target["image"],
                model_id=target["model"],
                recorded=kept["recorded"],
            )
            answers = {answer["request"]: _heard(answer) for answer in kept["answers"]}
            return cls(facts, bytes.fromhex(kept["salt"]), answers)
        except (ValueError, KeyError, TypeError):
            raise CannotAsk(
                f"{path} is no recording of format {FORMAT}", "make one with --record FILE"
            ) from None

    def answer(self, picture: Picture) -> Heard:
        """Raises CannotAsk where this input was not asked then."""
        try:
            return self._answers[_key(picture)]
        except KeyError:
            raise CannotAsk(
                f"the recording has no answer about {picture.name}",
                "give the --inputs that were recorded",
            ) from None


def write(path: Path, facts: Facts, salt: bytes, answers: Sequence[tuple[Picture, Heard]]) -> None:
    """Raises OSError. Requests are kept as hashes, URIs without what follows their '?'."""
    told = [
        {
            "name": picture.name,
            "request": _key(picture),
            "status": heard.status,
            "sha256": heard.sha256,
            "value": heard.value,
            "milliseconds": heard.milliseconds,
        }
        for picture, heard in answers
    ]
    kept: dict[str, Any] = {
        "format": FORMAT,
        "recorded": datetime.now(UTC).date().isoformat(),
        "salt": salt.hex(),
        "target": facts.as_json(),
        "answers": told,
    }
    path.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n")


def new_salt() -> bytes:
    return secrets.token_bytes(16)


def _heard(answer: Mapping[str, Any]) -> Heard:
    times = tuple(answer["milliseconds"])
    return Heard(answer["status"], answer["sha256"], answer["value"], times)


def _key(picture: Picture) -> str:
    return hashlib.sha256(picture.content_type.encode() + b"\n" + picture.body).hexdigest()

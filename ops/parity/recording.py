"""Record answers in a file, which is the first target of a later comparison."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path

from ops.aws import CannotAsk
from ops.inputs import Input
from ops.parity.compare import TimedAnswer
from ops.parity.facts import CHECKOUT, Facts

FORMAT = 1
_FIELDS = itemgetter("status", "sha256", "value", "milliseconds")


@dataclass(frozen=True)
class Recording:
    """Hold one target's facts, and its answers by the hash of their request."""

    facts: Facts
    salt: bytes
    answers: Mapping[str, TimedAnswer]

    @classmethod
    def read(cls, path: Path) -> "Recording":
        """Raise OSError, and CannotAsk if the file is not a recording."""
        try:
            kept = json.loads(path.read_bytes())
            if kept["format"] != FORMAT:
                raise ValueError(kept["format"])
            target, day = kept["target"], kept["recorded"]
            facts = Facts(
                label=f"{target['label']}, {day}",
                name=f"{target['name']} as of {day}",
                # The checkout's files may have changed since.
                digests=frozenset(target["digests"]) - {CHECKOUT},
                settings=target["settings"],
                image_id=target["image"],
                model_id=target["model"],
                architecture=target.get("architecture", ""),
                recorded=day,
            )
            answers = {one["request"]: TimedAnswer(*_FIELDS(one)) for one in kept["answers"]}
            return cls(facts, bytes.fromhex(kept["salt"]), answers)
        except (ValueError, KeyError, TypeError, RecursionError):
            why = f"{path} is not a recording of format {FORMAT}"
            raise CannotAsk(why, "make one with --record FILE") from None

    def answer(self, item: Input) -> TimedAnswer:
        """Return the recorded answer to an input. Raise CannotAsk without one."""
        if answer := self.answers.get(_key(item)):
            return answer
        why = f"the recording has no answer about {item.name}"
        raise CannotAsk(why, "give the --inputs that were recorded")


def write(
    path: Path, facts: Facts, salt: bytes, answers: Sequence[tuple[Input, TimedAnswer]]
) -> None:
    """Write requests as hashes, and URIs without queries. Raise OSError."""
    kept = {
        "format": FORMAT,
        "recorded": datetime.now(UTC).date().isoformat(),
        "salt": salt.hex(),
        "target": facts.as_json(),
        "answers": [{"name": i.name, "request": _key(i), **asdict(a)} for i, a in answers],
    }
    path.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _key(item: Input) -> str:
    return hashlib.sha256(item.content_type.encode() + b"\n" + item.body).hexdigest()

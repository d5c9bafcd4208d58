"""Describe a target, apart from its answers, and the settings to compare. No I/O here."""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ops.aws import CannotAsk

# The image's variables that change an answer or a limit, with their defaults.
SETTINGS = dict.fromkeys(("MODEL_NAME", "MODEL_DATA_URL", "MODEL_ID", "INFERENCE"), "")
SETTINGS |= {"MAX_BODY_BYTES": "4194304", "FETCH_TIMEOUT_SECONDS": "10"}
SETTINGS |= {"FETCH_PRIVATE_ADDRESSES": "0", "URI_ALLOWLIST": "*"}
# Variables not compared here: they set who answers, capacity and logs, or have their own check.
OTHERS = (
    *("FORWARD_ENDPOINT", "FORWARD_PERCENT", "FORWARD_SPILL"),
    *("ARTIFACTS_DIR", "IMAGE_ID", "LOG_LEVEL", "MAX_WAITING", "SAGEMAKER_BATCH"),
    *("OMP_NUM_THREADS", "STUCK_SECONDS", "WORKERS"),
)
# It stands for the digest of a process of this checkout, which has no image.
CHECKOUT = "this checkout"


@dataclass(frozen=True)
class Facts:
    """Describe a target. A field is empty where nothing is known; `refused` gives the reason.

    `digests` are all of its one image's, `stack` is where it was found, `recorded` the day of a
    recording. `memory_mb` is a function's or serverless endpoint's, `instance_type` another's.
    """

    label: str
    name: str
    digests: frozenset[str] = frozenset()
    settings: Mapping[str, str] | None = None
    architecture: str = ""
    image_id: str = ""
    model_id: str = ""
    stack: str = ""
    recorded: str = ""
    refused: CannotAsk | None = None
    memory_mb: int = 0
    instance_type: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "label": self.label,
            "name": self.name,
            "digests": sorted(self.digests),
            "image": self.image_id,
            "model": self.model_id,
            "settings": self.settings,
            **({"architecture": self.architecture} if self.architecture else {}),
            **({"recorded": self.recorded} if self.recorded else {}),
        }

    def identified(self, headers: set[str]) -> "Facts":
        """Add image and model of the identity headers. Raise CannotAsk if the headers differ."""
        identities = sorted(header for header in headers if header)
        if len(identities) > 1:
            why = f"{self.name} answers from {len(identities)} deployments: {', '.join(identities)}"
            raise CannotAsk(why, "an update is under way; try again when it is done")
        parts = dict(part.split("=", 1) for part in "".join(identities).split(";") if "=" in part)
        return replace(self, image_id=parts.get("image", ""), model_id=parts.get("model", ""))


def comparable(environment: Mapping[str, str], salt: bytes) -> dict[str, str]:
    """Return the variables that may change an answer.

    Variables unknown to the image are the user's and may be secrets: their values become hashes,
    comparable only in this run or with the recording's salt.
    """
    known = {name: environment.get(name) or default for name, default in SETTINGS.items()}
    own = {
        name: "hash " + hmac.digest(salt, value.encode(), "sha256").hex()[:12]
        for name, value in sorted(environment.items())
        if name not in (*SETTINGS, *OTHERS) and not name.startswith(("AWS_", "SAGEMAKER_"))
    }
    return {**known, **own}


def numbered(targets: Sequence[Facts]) -> list[Facts]:
    """Number labels that several targets share."""
    labels = [target.label for target in targets]
    return [
        replace(target, label=f"{label} {labels[:index].count(label)}")
        if labels.count(label) > 1
        else target
        for index, (target, label) in enumerate(zip(targets, labels), start=1)
    ]

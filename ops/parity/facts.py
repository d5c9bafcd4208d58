"""What is known of a target besides its answers, and the settings that are compared. No I/O."""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ops.aws import CannotAsk

# The image's variables that change an answer or a limit, with the meaning of an unset one.
SETTINGS = {
    "MODEL_NAME": "",
    "MODEL_DATA_URL": "",
    "MODEL_ID": "",
    "INFERENCE": "",
    "MAX_BODY_BYTES": "4194304",
    "FETCH_TIMEOUT_SECONDS": "10",
    "FETCH_PRIVATE_ADDRESSES": "0",
    "URI_ALLOWLIST": "*",
}
# The variables that are not compared: who answers, capacity and logs, or compared in another way.
OTHERS = (
    *("FORWARD_ENDPOINT", "FORWARD_PERCENT", "FORWARD_SPILL"),
    *("ARTIFACTS_DIR", "IMAGE_ID", "LOG_LEVEL", "MAX_WAITING", "SAGEMAKER_BATCH"),
    *("OMP_NUM_THREADS", "STUCK_SECONDS", "WORKERS"),
)
# Instead of a digest: a process of this checkout has no image.
CHECKOUT = "this checkout"


@dataclass(frozen=True)
class Facts:
    """A target. A field is empty where nothing is known; `refused` says why nothing could be.

    `digests` are all of its one image, `architecture` is a value of that context key, `stack` is
    the stack that it was found in, and `recorded` is the day of a recording. `memory_mb` is a
    function's, or a serverless endpoint's, and `instance_type` that of another endpoint.
    """

    label: str
    name: str
    digests: frozenset[str] = frozenset()
    settings: Mapping[str, str] | None = None
    image_id: str = ""
    model_id: str = ""
    architecture: str = ""
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
        """Add image and model of the identity headers. Raises CannotAsk if they change."""
        identities = sorted(header for header in headers if header)
        if len(identities) > 1:
            count, names = len(identities), ", ".join(identities)
            why = f"{self.name} answers from {count} deployments by turns: {names}"
            raise CannotAsk(why, "an update is under way; try again when it is done")
        parts = dict(part.split("=", 1) for part in "".join(identities).split(";") if "=" in part)
        return replace(self, image_id=parts.get("image", ""), model_id=parts.get("model", ""))


def comparable(environment: Mapping[str, str], salt: bytes) -> dict[str, str]:
    """Return the variables that may change an answer.

    A variable that the image does not know is the user's, and may be a secret: its value becomes a
    hash that only this run, or the owner of the recording, can compare.
    """
    known = {name: environment.get(name) or default for name, default in SETTINGS.items()}
    own = {
        name: "hash " + hmac.digest(salt, value.encode(), "sha256").hex()[:12]
        for name, value in sorted(environment.items())
        if name not in (*SETTINGS, *OTHERS) and not name.startswith(("AWS_", "SAGEMAKER_"))
    }
    return {**known, **own}


def numbered(targets: Sequence[Facts]) -> list[Facts]:
    """Number the labels that several targets have."""
    labels = [target.label for target in targets]
    found = []
    for index, target in enumerate(targets, start=1):
        number = f" {labels[:index].count(target.label)}" if labels.count(target.label) > 1 else ""
        found.append(replace(target, label=target.label + number))
    return found

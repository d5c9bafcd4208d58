"""What is known of a target beside its answers, and which settings make targets differ. No I/O."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ops.aws import CannotAsk

# Of the image's variables, those that change an answer or a limit, with what an unset one means.
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
# Those that change how much is answered at once, and those that are compared otherwise.
OTHERS = {
    "ARTIFACTS_DIR": "the model id says what is there",
    "IMAGE_ID": "compared as the image",
    "LOG_LEVEL": "no answer",
    "MAX_WAITING": "capacity",
    "SAGEMAKER_BATCH": "SageMaker's own, in a Batch Transform job",
    "OMP_NUM_THREADS": "capacity: the same bytes, docs/06-performance.md",
    "STUCK_SECONDS": "when a process is given up",
    "WORKERS": "capacity",
}
# In the place of a digest: what runs from the files beside this one is the same code, and no image.
CHECKOUT = "this checkout"
_PLATFORMS = ("AWS_", "SAGEMAKER_")


@dataclass(frozen=True)
class Facts:
    """A target. Empty where a thing is not known of its kind; `untold` where it was refused."""

    label: str
    name: str
    digests: frozenset[str] = frozenset()
    """All names under which its one image is known, each `sha256:...`."""
    repository: str = ""
    """Of ECR, `HOST/NAME`."""
    settings: Mapping[str, str] | None = None
    image_id: str = ""
    model_id: str = ""
    recorded: str = ""
    """The day, of one that was recorded."""
    untold: CannotAsk | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "label": self.label,
            "name": self.name,
            "digests": sorted(self.digests),
            "image": self.image_id,
            "model": self.model_id,
            "settings": self.settings,
            **({"recorded": self.recorded} if self.recorded else {}),
        }

    def identified(self, identities: set[str]) -> "Facts":
        """With image and model out of the identity headers. Raises CannotAsk where they change."""
        told = {identity for identity in identities if identity}
        if len(told) > 1:
            raise CannotAsk(
                f"{self.name} answers from {len(told)} deployments by turns: {', '.join(told)}",
                "an update is under way; try again when it is done",
            )
        parts = dict(part.split("=", 1) for part in "".join(told).split(";") if "=" in part)
        image = parts.get("image", "")
        return replace(self, image_id=image, model_id=parts.get("model", ""))


def comparable(environment: Mapping[str, str], salt: bytes) -> dict[str, str]:
    """The variables that may change an answer.

    One that the image does not know is the user's own, for a model of theirs, and may be a secret:
    its value becomes a hash that only this run, or who has the recording, can compare.
    """
    known = {name: environment.get(name) or default for name, default in SETTINGS.items()}
    own = {
        name: "hash " + hmac.digest(salt, value.encode(), "sha256").hex()[:12]
        for name, value in environment.items()
        if name not in SETTINGS and name not in OTHERS and not name.startswith(_PLATFORMS)
    }
    return {**known, **dict(sorted(own.items()))}


def unique(sides: list[Facts]) -> list[Facts]:
    """Labels of a column each."""
    labels = [side.label for side in sides]
    return [
        replace(side, label=f"{side.label} {labels[: index + 1].count(side.label)}")
        if labels.count(side.label) > 1
        else side
        for index, side in enumerate(sides)
    ]

"""Draw conclusions from the facts and the answers of several targets. No I/O here.

All targets are compared with the first. If that is a recording, another image or setting is only a
warning, because only answers have to stay the same.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ops.findings import Finding, State, failure, ok, unknown, warning
from ops.inputs import Input
from ops.manifests import PUBLISH
from ops.parity.compare import Difference, TimedAnswer
from ops.parity.facts import CHECKOUT, Facts


@dataclass(frozen=True)
class Row:
    """Hold an input, each target's answer, and the differences from the first answer."""

    item: Input
    answers: Sequence[TimedAnswer]
    differences: Sequence[Difference]

    @property
    def same(self) -> bool:
        return all(difference.same for difference in self.differences)

    @property
    def exact(self) -> bool:
        return all(difference.exact for difference in self.differences)


class Comparison(NamedTuple):
    """Hold a finding, and whether the targets are alike; None if unknown."""

    finding: Finding
    alike: bool | None


def compare_targets(
    targets: Sequence[Facts], rows: Sequence[Row], tolerance: float
) -> dict[str, Finding]:
    """Return the findings about image, model, settings and answers."""
    refusals = [target.refused for target in targets if target.refused]
    refused = Comparison(unknown(refusals[0]), None) if refusals else None
    compared = {
        "image": refused or compare_images(targets),
        "model": _compare(targets, "model", lambda target: _short(target.model_id)),
        "settings": refused or compare_settings(targets),
    }
    found = {name: comparison.finding for name, comparison in compared.items()}
    alike = {name: comparison.alike for name, comparison in compared.items()}
    answers = compare_answers(rows, alike, tolerance)
    if two_architectures(targets) and not all(row.exact for row in rows):
        says = f"{answers.says}; each architecture has kernels of its own, which round differently"
        answers = replace(answers, says=says)
    return {**found, "answers": answers}


def two_architectures(targets: Sequence[Facts]) -> bool:
    """Return whether the targets are known to have different architectures."""
    return len({target.architecture for target in targets} - {""}) > 1


def compare_images(targets: Sequence[Facts]) -> Comparison:
    """Compare by digest if all have one, else by the image of the identity header."""
    if two_architectures(targets):
        on_each = _on_each(targets, [target.architecture for target in targets])
        return Comparison(warning(f"{on_each}: an image is of one architecture"), False)
    if without := [target for target in targets if not target.digests]:
        if any(target.image_id in ("", "local") for target in targets):
            return _not_known("image", without)
        return _compare(targets, "image", lambda target: f"IMAGE_ID {_short(target.image_id)}")
    if common := frozenset.intersection(*(target.digests for target in targets)):
        return Comparison(ok(f"{_short(min(common))} on {_labels(targets)}"), True)
    if processes := [target for target in targets if CHECKOUT in target.digests]:
        return _not_known("image (this checkout has none)", processes)
    return _compare(targets, "image", lambda target: _short(min(target.digests)))


def compare_settings(targets: Sequence[Facts]) -> Comparison:
    """Name each variable whose values differ, among those that change an answer or a limit."""
    if silent := [target for target in targets if target.settings is None]:
        return _not_known("settings", silent)
    settings = [target.settings or {} for target in targets]
    names = sorted(set().union(*settings))
    different = []
    for name in names:
        values = [repr(own[name]) if name in own else "unset" for own in settings]
        if len(set(values)) > 1:
            different.append(f"{name}: {_on_each(targets, values)}")
    if different:
        return _different(targets, settings, "; ".join(different))
    says = f"{len(names)} that change an answer or a limit, the same on {_labels(targets)}"
    return Comparison(ok(says), True)


def compare_answers(
    rows: Sequence[Row], alike: Mapping[str, bool | None], tolerance: float
) -> Finding:
    """Compare all answers, and name the cause of differences beyond the tolerance."""
    total = f"{len(rows)} input{'s' if len(rows) > 1 else ''}"
    different = [row for row in rows if not row.same]
    if different:
        worst = max(different, key=lambda row: max(d.largest for d in row.differences))
        place = next(d.places[0] for d in worst.differences if d.places)
        says = f"{len(different)} of {total} differ, such as {worst.item.name}: {place}"
        return failure(f"{says}. Cause: {_cause(alike, different)}")
    if unstable := [row for row in rows if any(answer.others for answer in row.answers)]:
        says = f"{unstable[0].item.name}: one target gives several answers to the same input"
        return failure(says, "find what differs between its instances")
    if all(any(answer.forwarded for answer in row.answers) for row in rows):
        says = f"{total}: the function forwarded them, so the endpoint was compared with itself"
        return Finding(State.UNKNOWN, says, "compare at a smaller sagemaker_percent")
    exact = sum(row.exact for row in rows)
    if exact == len(rows):
        return ok(f"{total}: the same to the byte")
    largest = max(difference.largest for row in rows for difference in row.differences)
    within = f"within {tolerance:g} (at most {largest:.1e})"
    return ok(f"{total}: the same {within}, {exact} to the byte")


def compare_with_registry(targets: Sequence[Facts], image: Mapping[str, Any] | None) -> Finding:
    """Check that all targets run the image of the stack's tag in ECR."""
    if not image:
        return warning("the deployed image is no longer in ECR", f"`{PUBLISH}` pushes it again")
    tagged = image["imageId"]["imageDigest"]
    says = f"the stack's tag leads to {_short(tagged)}"
    if others := [each for each in targets if each.digests and tagged not in each.digests]:
        return failure(f"{says}, which {_labels(others)} does not run", "run `cdk deploy`")
    return ok(says)


def _cause(alike: Mapping[str, bool | None], different: Sequence[Row]) -> str:
    causes = [name for name, known in alike.items() if known is False]
    if causes == ["image"] and alike["model"]:
        return "the image, in its code or libraries: the model is the same"
    if causes:
        return f"the {' and the '.join(causes)}"
    if unknowns := " and ".join(name for name, known in alike.items() if known is None):
        return f"unknown: nothing else is seen to differ, but {unknowns} could not be compared"
    if all(difference.is_small for row in different for difference in row.differences):
        return "CPU numerics: image, model and settings are the same, and the numbers nearly"
    return "unknown: image, model and settings are the same"


def _compare(targets: Sequence[Facts], what: str, value: Callable[[Facts], str]) -> Comparison:
    values = [value(target) for target in targets]
    if "" in values:
        return _not_known(what, [t for t, known in zip(targets, values) if not known])
    if len(set(values)) == 1:
        return Comparison(ok(f"{values[0]} on {_labels(targets)}"), True)
    return _different(targets, values, _on_each(targets, values))


def _different(targets: Sequence[Facts], values: Sequence[Any], says: str) -> Comparison:
    """Return a failure, or a warning if only the recording differs."""
    now = [value for target, value in zip(targets, values) if not target.recorded]
    if all(value == now[0] for value in now):
        return Comparison(warning(says), False)
    return Comparison(failure(says, "`cdk deploy` gives all targets of a stack the same"), False)


def _not_known(what: str, silent: Sequence[Facts]) -> Comparison:
    return Comparison(warning(f"unknown {what}: {_labels(silent)}"), None)


def _on_each(targets: Sequence[Facts], values: Sequence[str]) -> str:
    return ", ".join(f"{value} on {target.label}" for target, value in zip(targets, values))


def _labels(targets: Sequence[Facts]) -> str:
    return " and ".join(target.label for target in targets)


def _short(name: str) -> str:
    """Shorten a hash; the JSON report has all of it."""
    kind, colon, value = name.rpartition(":")
    return f"{kind}{colon}{value[:12]}" if re.fullmatch("[0-9a-f]{64}", value) else name

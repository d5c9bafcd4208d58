"""What the facts and the answers of several targets mean, each as a finding. No I/O here.

The first target is what the others are held against. Where that is a recording, another image or
setting is news and no skew: only answers have to stay what they were.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ops import manifests
from ops.findings import Finding, State, unknown
from ops.local import Picture
from ops.parity.comparing import Difference, Heard
from ops.parity.facts import CHECKOUT, Facts

_MEDIA = {
    manifests.MANIFEST: "a Docker manifest",
    manifests.OCI_MANIFEST: "an OCI manifest, which SageMaker refuses",
}


@dataclass(frozen=True)
class Row:
    """One input, and each target's answer; differences are from the first."""

    picture: Picture
    heard: Sequence[Heard]
    differences: Sequence[Difference]

    @property
    def same(self) -> bool:
        return all(difference.same for difference in self.differences)


@dataclass(frozen=True)
class Check:
    """A finding, and whether the targets are alike in it; None where nobody can tell."""

    finding: Finding
    alike: bool | None


def of_image(sides: Sequence[Facts], media_type: str | None) -> Check:
    """By digest where all have one, else by what the identity header says of the image."""
    if refused := _refused(sides):
        return refused
    if all(side.digests for side in sides):
        common = frozenset.intersection(*(side.digests for side in sides))
        if common:
            kind = f", {_MEDIA.get(media_type, media_type)}" if media_type else ""
            return _alike(f"{_brief(min(common))} on {_all(sides)}{kind}")
        if files := [side for side in sides if CHECKOUT in side.digests]:
            return _untold("which image it is, but this checkout", files)
        return _unlike(sides, lambda side: _brief(min(side.digests)))
    told = [side for side in sides if side.image_id not in ("", "local")]
    if len(told) == len(sides):
        if len({side.image_id for side in sides}) == 1:
            return _alike(
                f"IMAGE_ID {_brief(told[0].image_id)} on {_all(sides)}; no digest is told"
            )
        return _unlike(sides, lambda side: f"IMAGE_ID {_brief(side.image_id)}")
    return _untold("which image it is", [s for s in sides if s not in told and not s.digests])


def of_registry(tagged: str | None, sides: Sequence[Facts]) -> Finding:
    """`tagged` is the digest that the stack's tag leads to in ECR, None where it has none."""
    if tagged is None:
        fix = f"`{manifests.PUBLISH}` pushes it again"
        return Finding(State.WARNING, "the deployed image is no longer in ECR", fix)
    strangers = [side.label for side in sides if side.digests and tagged not in side.digests]
    if not strangers:
        return Finding(State.OK, f"the stack's tag leads to {_brief(tagged)}")
    says = (
        f"the stack's tag leads to {_brief(tagged)}, which {' and '.join(strangers)} does not run"
    )
    return Finding(State.FAILS, says, "run `cdk deploy`")


def of_model(sides: Sequence[Facts]) -> Check:
    if silent := [side for side in sides if not side.model_id]:
        return _untold("which model it has", silent)
    if len({side.model_id for side in sides}) == 1:
        return _alike(f"{_brief(sides[0].model_id)} on {_all(sides)}")
    return _unlike(sides, lambda side: _brief(side.model_id))


def of_settings(sides: Sequence[Facts]) -> Check:
    """Each variable that changes an answer or a limit, and has more than one value."""
    if refused := _refused(sides):
        return refused
    if silent := [side for side in sides if side.settings is None]:
        return _untold("which settings it has", silent)
    names = sorted(set().union(*(side.settings or {} for side in sides)))

    def value(side: Facts, name: str) -> str:
        settings = side.settings or {}
        return repr(settings[name]) if name in settings else "unset"

    differing = [name for name in names if len({value(side, name) for side in sides}) > 1]
    if not differing:
        says = f"{len(names)} that change an answer or a limit, the same on {_all(sides)}"
        return _alike(says)
    told = "; ".join(
        f"{name}: " + ", ".join(f"{value(side, name)} on {side.label}" for side in sides)
        for name in differing
    )
    return _differ(sides, lambda side: str([value(side, name) for name in differing]), told)


def of_answers(rows: Sequence[Row], checks: Mapping[str, Check], *, tolerance: float) -> Check:
    """Whether all are the same within the tolerance; if not, why, as far as that can be told."""
    total = f"{len(rows)} input{'s' if len(rows) > 1 else ''}"
    restless = [row.picture.name for row in rows if any(heard.others for heard in row.heard)]
    every = [difference for row in rows for difference in row.differences]
    differing = [row for row in rows if not row.same]
    if restless and not differing:
        says = f"{restless[0]}: one target gives several answers to the same input"
        return Check(Finding(State.FAILS, says, "look for what its instances do not share"), False)
    if not differing:
        largest = max((difference.largest for difference in every), default=0.0)
        exact = sum(all(d.exact for d in row.differences) for row in rows)
        if exact == len(rows):
            return _alike(f"{total}: the same to the byte")
        says = (
            f"{total}: the same within {tolerance:g} (at most {largest:.1e}), {exact} to the byte"
        )
        return _alike(says)
    worst = max(differing, key=lambda row: max(d.largest for d in row.differences))
    place = next(d.places[0] for d in worst.differences if d.places)
    causes = [name for name in ("image", "model", "settings") if checks[name].alike is False]
    says = f"{len(differing)} of {total} differ, such as {worst.picture.name}: {place}"
    return Check(Finding(State.FAILS, f"{says}. Cause: {_cause(causes, checks, differing)}"), False)


def check(
    sides: Sequence[Facts], rows: Sequence[Row], media_type: str | None, tolerance: float
) -> dict[str, Check]:
    """Everything that can be told without asking further."""
    checks = {
        "image": of_image(sides, media_type),
        "model": of_model(sides),
        "settings": of_settings(sides),
    }
    return {**checks, "answers": of_answers(rows, checks, tolerance=tolerance)}


def _cause_is_numerics(checks: Mapping[str, Check], differing: Sequence[Row]) -> bool:
    known = all(checks[name].alike is True for name in ("image", "model", "settings"))
    return known and all(d.is_small for row in differing for d in row.differences)


def _cause(causes: list[str], checks: Mapping[str, Check], differing: Sequence[Row]) -> str:
    if causes == ["image"]:
        # The artifact is compared apart, file by file.
        alike = checks["model"].alike
        return "the image" + (", in its code or libraries: the model is the same" if alike else "")
    if causes:
        return f"the {' and the '.join(causes)}"
    if _cause_is_numerics(checks, differing):
        return "CPU numerics: image, model and settings are the same, and the numbers nearly"
    if all(checks[name].alike for name in ("image", "model", "settings")):
        return "unknown: image, model and settings are the same"
    untold = [name for name in ("image", "model", "settings") if checks[name].alike is None]
    return (
        f"unknown: nothing else is seen to differ, but {' and '.join(untold)} could not be compared"
    )


def _refused(sides: Sequence[Facts]) -> Check | None:
    untold = next((side.untold for side in sides if side.untold), None)
    return Check(unknown(untold), None) if untold else None


def _alike(says: str) -> Check:
    return Check(Finding(State.OK, says), True)


def _unlike(sides: Sequence[Facts], of: Callable[[Facts], str]) -> Check:
    return _differ(sides, of, ", ".join(f"{of(side)} on {side.label}" for side in sides))


def _differ(sides: Sequence[Facts], of: Callable[[Facts], str], told: str) -> Check:
    """News where only the recording differs."""
    if len({of(side) for side in sides if not side.recorded}) == 1:
        return Check(Finding(State.WARNING, told), False)
    fix = "`cdk deploy` gives all targets of a stack the same"
    return Check(Finding(State.FAILS, told, fix), False)


def _untold(what: str, silent: Sequence[Facts]) -> Check:
    return Check(Finding(State.WARNING, f"not told {what}: {_all(silent)}"), None)


def _brief(name: str) -> str:
    """Of a hash, what people compare; all of it is in the JSON."""
    kind, colon, value = name.rpartition(":")
    return f"{kind}{colon}{value[:12]}" if re.fullmatch("[0-9a-f]{64}", value) else name


def _all(sides: Sequence[Facts]) -> str:
    return " and ".join(side.label for side in sides)

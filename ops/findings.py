"""Checks and their findings."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

from ops.aws import AWS_ERRORS, UNREACHABLE, CannotAsk, explain


class State(Enum):
    """The state that a check found; its value is printed before the check's line."""

    OK = "✓"
    FAILS = "✗"
    WARNING = "!"
    UNKNOWN = "?"

    @property
    def style(self) -> str:
        return {"OK": "green", "FAILS": "red"}.get(self.name, "yellow")


@dataclass(frozen=True)
class Finding:
    state: State
    says: str
    fix: str = ""


@dataclass(frozen=True)
class Check:
    """`probe` raises one of AWS_ERRORS or CannotAsk; `action` is the IAM action that it needs."""

    name: str
    probe: Callable[[], Finding]
    action: str = ""

    def run(self) -> Finding:
        """Return the probe's finding, or an unknown one with the reason."""
        try:
            return self.probe()
        except CannotAsk as error:
            return unknown(error)
        except AWS_ERRORS as error:
            reason = explain(error, self.action)
            if self.name == "credentials" and not isinstance(error, UNREACHABLE):
                return Finding(State.FAILS, reason.why, reason.fix)
            return unknown(reason)
        except LookupError as error:
            fix = "use credentials and a region (--region) of AWS itself"
            return unknown(CannotAsk(f"AWS's answer lacks {error}", fix))


ok = partial(Finding, State.OK)
failure = partial(Finding, State.FAILS)
warning = partial(Finding, State.WARNING)


def unknown(error: CannotAsk) -> Finding:
    return Finding(State.UNKNOWN, f"not checked: {error.why}", error.fix)


def as_json(name: str, finding: Finding) -> dict[str, Any]:
    state = finding.state.name.lower()
    return {"check": name, "state": state, "says": finding.says, "fix": finding.fix}


def exit_status(findings: Iterable[Finding]) -> int:
    """Return 1 if a check failed, else 2 if one is unknown, else 0."""
    states = {finding.state for finding in findings}
    if State.FAILS in states:
        return 1
    return 2 if State.UNKNOWN in states else 0

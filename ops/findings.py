"""The result of a check: its state, what was found, and how to fix it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ops.aws import AWS_ERRORS, UNREACHABLE, CannotAsk, explain


class State(Enum):
    """Mark the line of a check with what it found."""

    OK = "✓"
    FAILS = "✗"
    WARNING = "!"
    UNKNOWN = "?"

    @property
    def style(self) -> str:
        return {"OK": "green", "FAILS": "red"}.get(self.name, "yellow")


@dataclass(frozen=True)
class Finding:
    """One line, and what to do where something is wrong."""

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
        """Return what the probe finds, or that it could not be checked and why."""
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
            fix = "make sure that the credentials and the region (--region) are those of AWS itself"
            return unknown(CannotAsk(f"AWS's answer lacks {error}", fix))


def ok(says: str) -> Finding:
    return Finding(State.OK, says)


def failure(says: str, fix: str = "") -> Finding:
    return Finding(State.FAILS, says, fix)


def warning(says: str, fix: str = "") -> Finding:
    return Finding(State.WARNING, says, fix)


def unknown(error: CannotAsk) -> Finding:
    return Finding(State.UNKNOWN, f"not checked: {error.why}", error.fix)


def as_json(name: str, finding: Finding) -> dict[str, Any]:
    state = finding.state.name.lower()
    return {"check": name, "state": state, "says": finding.says, "fix": finding.fix}


def exit_status(findings: Iterable[Finding]) -> int:
    """Return 1 if a check failed, else 2 if one could not be checked, else 0."""
    states = {finding.state for finding in findings}
    if State.FAILS in states:
        return 1
    return 2 if State.UNKNOWN in states else 0

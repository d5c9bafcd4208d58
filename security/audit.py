"""pip-audit over what is locked, judged by the exceptions that exceptions.toml explains."""

import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from security.locks import Pin, normalised

EXCEPTIONS = Path(__file__).with_name("exceptions.toml")


class AuditError(Exception):
    """The scanner gave no verdict; the message says why."""


@dataclass(frozen=True)
class Finding:
    """One advisory about one locked version."""

    package: str
    version: str
    ids: frozenset[str]  # the advisory's own and its aliases
    fixed: tuple[str, ...]
    summary: str

    def __str__(self) -> str:
        fix = f"fixed in {', '.join(self.fixed)}" if self.fixed else "not fixed anywhere"
        return f"{self.package} {self.version}: {' '.join(sorted(self.ids))}, {fix}: {self.summary}"


@dataclass(frozen=True)
class Accepted:
    """Why one advisory does not matter here, and until when that is believed."""

    package: str
    advisory: str
    reason: str
    since: date
    review_by: date

    def covers(self, finding: Finding) -> bool:
        return self.package == finding.package and self.advisory in finding.ids


def scan(locked: Iterable[Pin], osv_url: str) -> set[Finding]:
    """What pip-audit finds; it installs nothing. It takes each name once, so that packages of which
    several versions are locked make it run again. Raises AuditError."""
    runs: list[dict[str, str]] = []
    for name, version in sorted({(pin.name, pin.version) for pin in locked}):
        free = next((run for run in runs if name not in run), None)
        if free is None:
            runs.append(free := {})
        free[name] = version
    return {found for run in runs for found in _scan(run, osv_url)}


def _scan(versions: Mapping[str, str], osv_url: str) -> set[Finding]:
    with tempfile.TemporaryDirectory() as cache:
        requirements = Path(cache, "requirements.txt")
        requirements.write_text("".join(f"{name}=={at}\n" for name, at in versions.items()))
        command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--format=json"]
        command += ["--progress-spinner=off", f"--cache-dir={cache}"]
        command += ["--vulnerability-service=osv", f"--osv-url={osv_url}"]
        command += [f"--requirement={requirements}"]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        report = json.loads(ran.stdout)["dependencies"]
    except ValueError:
        words = ran.stderr.strip().splitlines() or [f"status {ran.returncode}"]
        raise AuditError(f"pip-audit, asking {osv_url}: {words[-1]}") from None
    if skipped := [entry["name"] for entry in report if "skip_reason" in entry]:
        raise AuditError(f"pip-audit skipped {', '.join(skipped)}")
    return {
        Finding(
            package=normalised(entry["name"]),
            version=entry["version"],
            ids=frozenset({found["id"], *found["aliases"]}),
            fixed=tuple(found["fix_versions"]),
            summary=found["description"],
        )
        for entry in report
        for found in entry["vulns"]
    }


def load_exceptions(path: Path = EXCEPTIONS) -> list[Accepted]:
    """One for each advisory. Entries of the file share a reason among several."""
    return [
        Accepted(
            package=entry["package"],
            advisory=advisory,
            reason=entry["reason"],
            since=entry["since"],
            review_by=entry["review_by"],
        )
        for entry in tomllib.loads(path.read_text())["exception"]
        for advisory in entry["advisories"]
    ]


def problems(findings: Iterable[Finding], exceptions: Sequence[Accepted], today: date) -> list[str]:
    """What has to be done: nothing, if the list is empty."""
    found = sorted(findings, key=str)
    return [
        *(
            f"{finding}. Raise the pin, or explain it in {EXCEPTIONS.name}"
            for finding in found
            if not any(exception.covers(finding) for exception in exceptions)
        ),
        *(
            f"{exception.package}: nothing is found for {exception.advisory}. Remove the exception"
            for exception in exceptions
            if not any(exception.covers(finding) for finding in found)
        ),
        *(
            f"{exception.package}: the exception for {exception.advisory} had to be reviewed by "
            f"{exception.review_by}. Does its reason still hold?"
            for exception in exceptions
            if exception.review_by < today
        ),
    ]

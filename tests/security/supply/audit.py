"""Look for known vulnerabilities in every locked package with pip-audit and osv.dev.

`audit-exceptions.toml` holds the accepted findings. The exit status is 1 for any other finding and
for an expired exception, whose `review_by` has passed. If osv.dev cannot be reached, it says so.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from support.locks import ROOT, SETS, pins

EXCEPTIONS = ROOT / "audit-exceptions.toml"
OPTIONS = ("--no-deps", "--disable-pip", "-s", "osv", "-f", "json", "--progress-spinner", "off")
UNREACHABLE = re.compile(r"ConnectionError|ConnectTimeout|ReadTimeout|ProxyError|Could not connect")


class UnreachableError(Exception):
    """The advisory service does not answer."""


def ask(packages: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return pip-audit's dependencies. Raise UnreachableError, or RuntimeError if it fails."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.writelines(f"{name}=={version}\n" for name, version in packages.items())
        file.flush()
        command = [sys.executable, "-m", "pip_audit", *OPTIONS, "-r", file.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.stdout.startswith("{"):
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
        return found
    if UNREACHABLE.search(done.stderr):
        raise UnreachableError
    raise RuntimeError(f"pip-audit failed: {done.stderr.strip()[-500:]}")


def judge(
    dependencies: Sequence[Mapping[str, Any]], exceptions: Sequence[Mapping[str, Any]], today: date
) -> list[str]:
    """Return the problems, one line each: findings without an exception, and expired exceptions."""
    accepted = {(entry["package"], one) for entry in exceptions for one in entry["advisories"]}
    problems = {
        f"{each['name']} {each['version']}: {finding['id']}, fixed in "
        f"{', '.join(finding['fix_versions']) or 'no release'}"
        for each in dependencies
        for finding in each.get("vulns", ())
        if not any((each["name"], one) in accepted for one in (finding["id"], *finding["aliases"]))
    }
    expired = (entry for entry in exceptions if today > entry["review_by"])
    problems |= {f"{one['package']}: review_by {one['review_by']} has passed" for one in expired}
    skipped = (each for each in dependencies if "skip_reason" in each)
    problems |= {f"{each['name']}: not checked, {each['skip_reason']}" for each in skipped}
    return sorted(problems)


def versions() -> list[dict[str, str]]:
    """Return every locked package, as groups in which each name has one version."""
    groups: list[dict[str, str]] = []
    for name, version in sorted({(pin.name, pin.version) for path in SETS for pin in pins(path)}):
        group = next((group for group in groups if name not in group), None)
        if group is None:
            groups.append(group := {})
        group[name] = version
    return groups


def main() -> int:
    exceptions = tomllib.loads(EXCEPTIONS.read_text()).get("exception", [])
    try:
        dependencies = [each for group in versions() for each in ask(group)]
    except UnreachableError:
        print("advisories not checked: osv.dev cannot be reached")
        dependencies = []
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    problems = judge(dependencies, exceptions, date.today())
    print(*problems, sep="\n", end="\n" * bool(problems))
    print(f"{len(dependencies)} packages checked, {len(problems)} problems")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())

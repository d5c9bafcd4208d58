"""`python -m security`: the audit, or with --refresh the snapshot taken again."""

import argparse
import sys
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from datetime import UTC, date, datetime
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import urllib3

from security import snapshot
from security.audit import AuditError, load_exceptions, problems, scan
from security.locks import SETS, names, pins

_SHARED = ("package", "review_by", "reason")
OSV_URL = "https://api.osv.dev/v1/query"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m security", description=__doc__)
    parser.add_argument("--osv-url", default=OSV_URL, help="OSV's query endpoint or a mirror")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--snapshot", action="store_true", help="ask the snapshot, not OSV")
    mode.add_argument("--refresh", action="store_true", help="take the snapshot again, from OSV")
    options = parser.parse_args(arguments)
    today = datetime.now(UTC).date()
    try:
        if options.refresh:
            return refresh(options.osv_url, today)
        return audit(None if options.snapshot else options.osv_url, today)
    except (AuditError, urllib3.exceptions.HTTPError) as error:
        print(f"error: {error}", file=sys.stderr)
        if not options.snapshot:
            print(
                "Is there a way from here to api.osv.dev? --osv-url names a mirror, and "
                "`python -m security --snapshot` asks the advisories in this repository.",
                file=sys.stderr,
            )
        return 2


def audit(osv_url: str | None, today: date) -> int:
    """Print what is found, what is accepted and why, and what is to be done."""
    known = snapshot.load()
    source = osv_url or f"the snapshot of {known['date']}"
    with snapshot.served(known) if osv_url is None else nullcontext(osv_url) as url:
        findings = scan((pin for path in SETS for pin in pins(path)), url)
    exceptions = load_exceptions()
    print(f"{len(names())} packages in {len(SETS)} locked sets, by {source}")
    for (package, until, reason), group in groupby(exceptions, attrgetter(*_SHARED)):
        advisories = " ".join(exception.advisory for exception in group)
        print(f"accepted until {until}: {package}, {advisories}: {reason}")
    wrong = problems(findings, exceptions, today)
    if osv_url is None:
        wrong += [f"{name}: not in the snapshot; make audit-refresh" for name in missing(known)]
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    return 1 if wrong else 0


def missing(known: Mapping[str, Any]) -> list[str]:
    """Locked packages of which a snapshot says nothing."""
    return sorted(names() - known["packages"].keys())


def refresh(osv_url: str, today: date, path: Path = snapshot.PATH) -> int:
    """Every advisory about any version of a locked package."""
    packages = names()
    with urllib3.PoolManager(retries=3, timeout=30) as http:
        advisories = [found for name in sorted(packages) for found in asked(http, osv_url, name)]
    snapshot.save(advisories, packages, today, path)
    print(f"{path.name}: {len(advisories)} advisories about {len(packages)} packages")
    return 0


def asked(http: urllib3.PoolManager, osv_url: str, name: str) -> Iterator[dict[str, Any]]:
    """OSV answers by pages."""
    query: dict[str, Any] = {"package": {"name": name, "ecosystem": "PyPI"}}
    while True:
        reply = http.request("POST", osv_url, json=query)
        if reply.status != 200:
            raise AuditError(f"{osv_url} answered {reply.status} about {name}")
        page = reply.json()
        yield from page.get("vulns", ())
        if not page.get("next_page_token"):
            return
        query["page_token"] = page["next_page_token"]


if __name__ == "__main__":
    sys.exit(main())

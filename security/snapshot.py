"""The advisories that this repository keeps, and the OSV endpoint that answers from them.

The real scanner asks this endpoint in CI, where OSV itself may be out of reach. README.md says what
the snapshot holds and from where.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from packaging.version import Version

from security.locks import normalised

PATH = Path(__file__).with_name("advisories.json")
Advisory = Mapping[str, Any]


def load(path: Path = PATH) -> dict[str, Any]:
    """`date` of the snapshot, `packages` with the date up to which each was searched or null, and
    `advisories` in OSV's format (https://ossf.github.io/osv-schema), with fewer fields."""
    snapshot: dict[str, Any] = json.loads(path.read_text())
    return snapshot


def save(
    advisories: Iterable[Advisory], packages: Iterable[str], today: date, path: Path = PATH
) -> None:
    """What a refresh found, with no more of each advisory than the scanner and a reader need."""
    kept = ("id", "aliases", "published", "withdrawn", "summary")
    found = {advisory["id"]: advisory for advisory in advisories}
    snapshot = {
        "date": today.isoformat(),
        "packages": {name: today.isoformat() for name in sorted(packages)},
        "advisories": [
            {key: advisory[key] for key in kept if key in advisory}
            | {"affected": [_place(item) for item in advisory["affected"] if _ours(item, packages)]}
            for _, advisory in sorted(found.items())
        ],
    }
    path.write_text(json.dumps(snapshot, indent=1, sort_keys=True) + "\n")


def answer(snapshot: Mapping[str, Any], query: Mapping[str, Any]) -> dict[str, Any]:
    """What OSV's `POST /v1/query` says: of a package at a version, or at any."""
    name, version = normalised(query["package"]["name"]), query.get("version")
    found = [
        advisory
        for advisory in snapshot["advisories"]
        if any(
            _ours(item, {name}) and (version is None or affects(item, Version(version)))
            for item in advisory["affected"]
        )
    ]
    return {"vulns": found} if found else {}


def affects(item: Mapping[str, Any], version: Version) -> bool:
    """Whether one entry of `affected` covers a version: OSV's algorithm, for PyPI's ranges."""
    if str(version) in item.get("versions", ()):
        return True
    for span in item.get("ranges", ()):
        inside = False
        if span["type"] == "ECOSYSTEM":
            events = [(Version(at), kind) for event in span["events"] for kind, at in event.items()]
            for at, kind in sorted(events):
                if kind == "introduced":
                    inside = inside or version >= at
                elif kind == "fixed":
                    inside = inside and version < at
                elif kind == "last_affected":
                    inside = inside and version <= at
        if inside:
            return True
    return False


@contextmanager
def served(snapshot: Mapping[str, Any]) -> Iterator[str]:
    """The URL of an endpoint on loopback that answers from a snapshot."""

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps(answer(snapshot, query)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/query"
        finally:
            server.shutdown()


def _ours(item: Mapping[str, Any], packages: Iterable[str]) -> bool:
    package = item.get("package", {})
    return package.get("ecosystem") == "PyPI" and normalised(package["name"]) in packages


def _place(item: Mapping[str, Any]) -> dict[str, Any]:
    """The name as the scanner compares it. PyPI's advisories list every version beside the ranges,
    which say the same."""
    package = {"ecosystem": "PyPI", "name": normalised(item["package"]["name"])}
    ranges = [span for span in item.get("ranges", ()) if span["type"] == "ECOSYSTEM"]
    if ranges:
        return {"package": package, "ranges": ranges}
    return {"package": package, "versions": item.get("versions", [])}

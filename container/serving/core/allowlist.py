"""Decide which hosts and buckets the `uri` of a request may name."""

import re
from dataclasses import dataclass

from serving.core.errors import StartError

# Names are compared in their dialled form, in which a non-ASCII name is its xn-- form. A non-ASCII
# entry is refused, because the two editions of IDNA encode some names differently.
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = rf"{_LABEL}(?:\.{_LABEL})*"
_HOST = re.compile(_NAME)
_HOST_ENTRY = re.compile(rf"((?:\*\.)?{_NAME}\.?)(?::([1-9][0-9]{{0,4}}))?")
_BUCKET = re.compile(r"s3://([A-Za-z0-9._-]{1,255})")  # the names that botocore sends

WEB_PORTS = (80, 443)


@dataclass(frozen=True)
class UriAllowlist:
    """The allowed hosts and buckets; by default none. `*` allows every host and no bucket.

    A host has a port, or None for WEB_PORTS. A host that starts with a dot is a whole domain.
    """

    any_host: bool = False
    hosts: frozenset[tuple[str, int | None]] = frozenset()
    buckets: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str) -> "UriAllowlist":
        """Parse `URI_ALLOWLIST`. Raises StartError, which names the wrong entry."""
        entries = [entry.strip() for entry in text.split(",")]
        if [entry.lower() for entry in entries] == ["none"]:
            return cls()
        hosts, buckets = set(), set()
        for entry in entries:
            if bucket := _BUCKET.fullmatch(entry):
                buckets.add(bucket[1])
            elif entry != "*":
                listed = _HOST_ENTRY.fullmatch(entry)
                name = listed[1].lower().rstrip(".") if listed else "none"
                port = int(listed[2]) if listed and listed[2] else None
                if name == "none" or (port or 0) > 65535:
                    raise StartError(
                        f"URI_ALLOWLIST={text!r} is not a list of *, HOST, *.DOMAIN, HOST:PORT, "
                        f"*.DOMAIN:PORT, s3://BUCKET with commas between them, or none alone: it "
                        f"has {entry!r}"
                    )
                hosts.add((name.removeprefix("*"), port))
        return cls("*" in entries, frozenset(hosts), frozenset(buckets))

    def allows_host(self, host: str, port: int = 443, any_port: bool = False) -> bool:
        """Return whether a fetch may dial a host, in its dialled form, on a port.

        With `any_port`, an entry without a port, and `*`, allow every port.
        """
        name = host.lower().rstrip(".")
        ports = {port, None} if any_port or port in WEB_PORTS else {port}
        if self.any_host and None in ports:
            return True
        # The whole name must be valid: a resolver may read only the address at the start of
        # `127.0.0.1\0.example.com`.
        return _HOST.fullmatch(name) is not None and any(
            name == host or (host.startswith(".") and name.endswith(host))
            for host, listed_port in self.hosts
            if listed_port in ports
        )


ANY_HOST = UriAllowlist(any_host=True)

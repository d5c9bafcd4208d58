"""Everything the image reads from its environment, read once."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from serving.errors import StartError

# A Lambda event is at most 6 MB and carries a body in base64: 4 MiB of it are 5.6 MB.
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
DEFAULT_MAX_BODY_BYTES = 4 * 1024 * 1024

# Lambda grants one vCPU per 1,769 MB of memory.
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
LAMBDA_MB_PER_VCPU = 1769


# Names are compared as they are dialled, where one that is not ASCII has become its xn-- form. As
# an entry it is refused: the two editions of IDNA make different hosts of some names.
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = rf"{_LABEL}(?:\.{_LABEL})*"
_HOST = re.compile(_NAME)
_HOST_ENTRY = re.compile(rf"((?:\*\.)?{_NAME}\.?)(?::([1-9][0-9]{{0,4}}))?")
_BUCKET = re.compile(r"s3://([A-Za-z0-9._-]{1,255})")  # the names that botocore sends

WEB_PORTS = (80, 443)


@dataclass(frozen=True)
class UriAllowlist:
    """Which hosts and buckets the `uri` of a request may name; by default none.

    Hosts and domains, each with its leading dot, have a port beside them, or None for WEB_PORTS.
    """

    any_host: bool = False
    hosts: frozenset[tuple[str, int | None]] = frozenset()
    domains: frozenset[tuple[str, int | None]] = frozenset()
    buckets: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str) -> "UriAllowlist":
        """Read `URI_ALLOWLIST`: `none`, or `*`, hosts, `*.domains` and `s3://buckets`.

        A host or domain may have one `:port`, and is then listed for that port alone. Raises
        StartError that names the entry at fault.
        """
        entries = [entry.strip() for entry in text.split(",")]
        if [entry.lower() for entry in entries] == ["none"]:
            return cls()
        hosts: set[tuple[str, int | None]] = set()
        domains: set[tuple[str, int | None]] = set()
        buckets = set()
        for entry in entries:
            if bucket := _BUCKET.fullmatch(entry):
                buckets.add(bucket[1])
            elif entry != "*":
                listed = _HOST_ENTRY.fullmatch(entry)
                name = _normalised(listed[1]) if listed else "none"
                port = int(listed[2]) if listed and listed[2] else None
                if name == "none" or (port or 0) > 65535:
                    raise StartError(
                        f"URI_ALLOWLIST={text!r} is not a list of *, HOST, *.DOMAIN, HOST:PORT, "
                        f"*.DOMAIN:PORT, s3://BUCKET with commas between them, or none alone: it "
                        f"has {entry!r}"
                    )
                if name.startswith("*"):
                    domains.add((name[1:], port))
                else:
                    hosts.add((name, port))
        return cls("*" in entries, frozenset(hosts), frozenset(domains), frozenset(buckets))

    def allows_host(self, host: str, port: int = 443, any_port: bool = False) -> bool:
        """Whether a host, named as it is dialled, may be asked over http and https on a port.

        `any_port`: an entry without a port, and `*`, list every port. What the name leads to is
        judged apart, by address.
        """
        name = _normalised(host)
        ports = {port, None} if any_port or port in WEB_PORTS else {port}
        if (self.any_host and None in ports) or any((name, p) in self.hosts for p in ports):
            return True
        # Only of a whole name is the end its domain. A resolver may take no more than the start of
        # other texts: an address before a zone or a NUL.
        domains = tuple(domain for domain, p in self.domains if p in ports)
        return name.endswith(domains) and _HOST.fullmatch(name) is not None

    def allows_bucket(self, bucket: str) -> bool:
        """Whether objects of a bucket may be read; never because of `*`."""
        return bucket in self.buckets


def _normalised(host: str) -> str:
    return host.lower().rstrip(".")


ANY_HOST = UriAllowlist(any_host=True)


@dataclass(frozen=True)
class Settings:
    """The image's settings; `from_environment` names the variable of each."""

    model_name: str = ""
    model_data_url: str = ""
    model_id: str = ""
    inference: str = ""
    image_id: str = "local"
    artifacts_dir: Path = Path("/opt/artifacts")
    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES
    max_waiting: int = 32
    workers: int = 1
    threads: int = 1
    stuck_seconds: int = 300
    fetch_timeout_seconds: float = 10.0
    fetch_private_addresses: bool = False
    uri_allowlist: UriAllowlist = ANY_HOST
    log_level: str = "INFO"
    is_transform: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read the variables; an unset or empty one has its default.

        Raises StartError that names the variable and what it may be.
        """
        text = environment.get
        is_transform = text("SAGEMAKER_BATCH", "") == "true"
        return cls(
            model_name=text("MODEL_NAME", ""),
            model_data_url=text("MODEL_DATA_URL", ""),
            model_id=text("MODEL_ID", ""),
            inference=text("INFERENCE", ""),
            image_id=_token(environment, "IMAGE_ID", cls.image_id),
            artifacts_dir=Path(text("ARTIFACTS_DIR", "") or cls.artifacts_dir),
            max_body_bytes=max(
                _number(environment, "MAX_BODY_BYTES", cls.max_body_bytes),
                _transform_bytes(environment) if is_transform else 0,
            ),
            max_waiting=_number(environment, "MAX_WAITING", cls.max_waiting),
            workers=_number(environment, "WORKERS", granted_cpus(environment)),
            threads=_number(environment, "OMP_NUM_THREADS", cls.threads),
            stuck_seconds=_number(environment, "STUCK_SECONDS", cls.stuck_seconds),
            fetch_timeout_seconds=_number(environment, "FETCH_TIMEOUT_SECONDS", 10),
            fetch_private_addresses=_flag(environment, "FETCH_PRIVATE_ADDRESSES"),
            uri_allowlist=UriAllowlist.parse(text("URI_ALLOWLIST", "") or "*"),
            log_level=_choice(
                environment, "LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")
            ),
            is_transform=is_transform,
        )


def granted_cpus(environment: Mapping[str, str], cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """How many CPUs this process may keep busy, at least 1.

    `os.cpu_count()` tells the host's, and a container's affinity ignores its quota; the quota is in
    the cgroup (v2 `cpu.max`, v1 `cpu.cfs_quota_us`). On Lambda it follows from the memory.
    """
    cpus = float(len(os.sched_getaffinity(0)))
    memory_mb = environment.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")
    if memory_mb.isdigit():
        cpus = min(cpus, int(memory_mb) / LAMBDA_MB_PER_VCPU)
    try:
        if (cgroup / "cpu.max").exists():
            quota, period = (cgroup / "cpu.max").read_text().split()
        else:
            quota = (cgroup / "cpu/cpu.cfs_quota_us").read_text()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text()
        if quota.isdigit() or quota.strip().isdigit():
            cpus = min(cpus, int(quota) / int(period))
    except OSError:
        pass  # no cgroup file system is mounted here: the affinity stands
    return max(1, round(cpus))


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) >= 1):
        raise StartError(f"{name}={text!r} is not a whole number of 1 or more")
    return int(text)


def _transform_bytes(environment: Mapping[str, str]) -> int:
    """The largest body that a Batch Transform job sends; 0 where it takes what is announced to it.

    https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-batch-code.html
    """
    text = environment.get("SAGEMAKER_MAX_PAYLOAD_IN_MB", "")
    return int(text) * 1024**2 if text.isascii() and text.isdigit() else 0


def _token(environment: Mapping[str, str], name: str, default: str) -> str:
    """A value that goes into a header beside others."""
    text = environment.get(name, "") or default
    if not (text.isascii() and text.isprintable()) or ";" in text:
        raise StartError(f"{name}={text!r} is not printable ASCII without ';'")
    return text


def _flag(environment: Mapping[str, str], name: str) -> bool:
    return _choice(environment, name, "0", ("0", "1")) == "1"


def _choice(
    environment: Mapping[str, str], name: str, default: str, choices: tuple[str, ...]
) -> str:
    text = environment.get(name, "") or default
    if text not in choices:
        raise StartError(f"{name}={text!r} is not one of {', '.join(choices)}")
    return text

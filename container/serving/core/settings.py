"""The image's settings, from environment variables."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from serving.core.allowlist import ANY_HOST, UriAllowlist
from serving.core.errors import StartError

# A Lambda event of up to 6 MB carries the body in base64, in which 4 MiB take 5.6 MB.
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
DEFAULT_MAX_BODY_BYTES = 4 * 1024 * 1024
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
LAMBDA_MB_PER_VCPU = 1769


@dataclass(frozen=True)
class Settings:
    """The image's settings. `make docs` makes a table of the docstrings.

    A field's variable is its name in upper case, except OMP_NUM_THREADS and SAGEMAKER_BATCH.
    """

    model_name: str = ""
    """The built-in model to serve; the image sets it to the model that it was built with."""
    model_data_url: str = ""
    """The artifact to serve instead of the built-in one: `s3://…/model.tar.gz` or a local file."""
    model_id: str = ""
    """The model id that the artifact must have; the server does not start with another one."""
    inference: str = ""
    """A Python file to use instead of the built-in `inference.py`."""
    image_id: str = "local"
    """The image in the identity header; the stack sets it."""
    artifacts_dir: Path = Path("/opt/artifacts")
    """The folder that holds the built-in artifacts."""
    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES
    """The largest request body, and the largest object that a `uri` may point to."""
    max_waiting: int = 32
    """The number of requests that may wait in one process; further ones get 503."""
    workers: int = 1
    """The number of processes of the HTTP server."""
    threads: int = 1
    """The number of threads of one forward pass."""
    stuck_seconds: int = 300
    """A process is replaced if no request has ended for this time and its model hangs."""
    fetch_timeout_seconds: float = 10.0
    """The time limit of a fetch with DNS and redirects. A host may be silent for half of it."""
    fetch_private_addresses: bool = False
    """1 allows a `uri` to point to private addresses and to any port."""
    uri_allowlist: UriAllowlist = ANY_HOST
    """What a `uri` may name, separated by commas: `*` (any public host, no bucket), `HOST`,
    `*.DOMAIN`, each on ports 80 and 443 or with `:PORT`, and `s3://BUCKET`; or `none`."""
    forward_endpoint: str = ""
    """The endpoint that answers a share of the function's calls; without it, none is forwarded."""
    forward_percent: int = 0
    """The percentage of calls to forward. With 100 and no spill, the function loads no model."""
    forward_spill: bool = False
    """1 lets the function answer a forwarded call if the endpoint does not."""
    log_level: str = "INFO"
    """`DEBUG`, `INFO`, `WARNING` or `ERROR`."""
    is_transform: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read the variables. Unset and empty ones have their default. Raises StartError."""
        text = environment.get
        is_transform = text("SAGEMAKER_BATCH", "") == "true"
        # A Batch Transform job may send larger bodies than MAX_BODY_BYTES.
        # https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-batch-code.html
        payload_mb = int(text("SAGEMAKER_MAX_PAYLOAD_IN_MB") or 0) if is_transform else 0
        image_id = text("IMAGE_ID", "") or cls.image_id
        if not (image_id.isascii() and image_id.isprintable()) or ";" in image_id:
            raise StartError(f"IMAGE_ID={image_id!r} is not printable ASCII without ';'")
        private = _choice(environment, "FETCH_PRIVATE_ADDRESSES", "0", "0", "1")
        levels = ("DEBUG", "INFO", "WARNING", "ERROR")
        return cls(
            model_name=text("MODEL_NAME", ""),
            model_data_url=text("MODEL_DATA_URL", ""),
            model_id=text("MODEL_ID", ""),
            inference=text("INFERENCE", ""),
            image_id=image_id,
            artifacts_dir=Path(text("ARTIFACTS_DIR", "") or cls.artifacts_dir),
            max_body_bytes=max(
                _number(environment, "MAX_BODY_BYTES", cls.max_body_bytes), payload_mb * 1024**2
            ),
            max_waiting=_number(environment, "MAX_WAITING", cls.max_waiting),
            workers=_number(environment, "WORKERS", granted_cpus(environment)),
            threads=_number(environment, "OMP_NUM_THREADS", cls.threads),
            stuck_seconds=_number(environment, "STUCK_SECONDS", cls.stuck_seconds),
            fetch_timeout_seconds=_number(environment, "FETCH_TIMEOUT_SECONDS", 10),
            fetch_private_addresses=private == "1",
            uri_allowlist=UriAllowlist.parse(text("URI_ALLOWLIST", "") or "*"),
            forward_endpoint=text("FORWARD_ENDPOINT", ""),
            forward_percent=_number(environment, "FORWARD_PERCENT", 0, 0, 100),
            forward_spill=_choice(environment, "FORWARD_SPILL", "0", "0", "1") == "1",
            log_level=_choice(environment, "LOG_LEVEL", "INFO", *levels),
            is_transform=is_transform,
        )


def granted_cpus(environment: Mapping[str, str], cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the number of CPUs that this process may keep busy, at least 1.

    A container's affinity ignores its quota, which is in the cgroup (v2 `cpu.max`, v1
    `cpu.cfs_quota_us`). On Lambda, the memory size determines the quota.
    """
    cpus = float(len(os.sched_getaffinity(0)))
    memory_mb = environment.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")
    if memory_mb.isdigit():
        cpus = min(cpus, int(memory_mb) / LAMBDA_MB_PER_VCPU)
    with suppress(OSError):  # no cgroup file system is mounted
        if (cgroup / "cpu.max").exists():
            quota, period = (cgroup / "cpu.max").read_text().split()
        else:
            quota = (cgroup / "cpu/cpu.cfs_quota_us").read_text()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text()
        if quota.strip().isdigit():
            cpus = min(cpus, int(quota) / int(period))
    return max(1, round(cpus))


def _number(
    environment: Mapping[str, str], name: str, default: int, least: int = 1, most: int = 999_999_999
) -> int:
    text = environment.get(name, "") or str(default)
    is_number = text.isascii() and text.isdigit() and len(text) < 10
    if not is_number or not least <= int(text) <= most:
        raise StartError(f"{name}={text!r} is not a whole number from {least} to {most}")
    return int(text)


def _choice(environment: Mapping[str, str], name: str, default: str, *choices: str) -> str:
    text = environment.get(name, "") or default
    if text not in choices:
        raise StartError(f"{name}={text!r} is not one of {', '.join(choices)}")
    return text

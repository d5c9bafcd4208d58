"""A CPU quota for a process and all its threads: the kernel's own, as Lambda and Docker use it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
# A fifth of the kernel's default, so that half a second holds many of them: within a period a
# process runs at full speed until its quota is used up, and then not at all.
PERIOD_MICROSECONDS = 20_000
# The shell moves itself before it becomes the command, which so has the quota from its first page.
_ENTER = 'echo $$ > "$0" && exec "$@"'


class QuotaError(Exception):
    """There can be no quota here; the message says what to do."""


@contextmanager
def quota(cpus: float, cgroups: Path = CGROUPS) -> Iterator[list[str]]:
    """What to put before a command so that it gets that many CPUs, of which 1.0 is a whole one.

    For any number of commands, one after the other; they have to have ended before this does.
    Raises QuotaError.
    """
    try:
        folder = _created(cgroups, round(cpus * PERIOD_MICROSECONDS))
    except OSError as error:
        raise QuotaError(
            f"no CPU quota can be set below {cgroups} ({error.strerror}): run this as root, or "
            "with `--cpus none` to measure without a quota"
        ) from None
    try:
        yield ["sh", "-c", _ENTER, str(folder / "cgroup.procs")]
    finally:
        folder.rmdir()


def _created(cgroups: Path, microseconds: int) -> Path:
    """A cgroup of its own, of version 2 or 1, with that quota in each period."""
    name = f"one-image-bench-{os.getpid()}-{microseconds}"
    if (cgroups / "cgroup.controllers").exists():
        (cgroups / "cgroup.subtree_control").write_text("+cpu")
        folder = cgroups / name
        values = {"cpu.max": f"{microseconds} {PERIOD_MICROSECONDS}"}
    else:
        folder = cgroups / "cpu" / name
        values = {
            "cpu.cfs_period_us": str(PERIOD_MICROSECONDS),
            "cpu.cfs_quota_us": str(microseconds),
        }
    folder.mkdir()
    try:
        for file, value in values.items():
            (folder / file).write_text(value)
    except OSError:
        folder.rmdir()
        raise
    return folder

"""Workers killed under load. Which connections were theirs is read from the kernel, not guessed."""

import os
import signal
import time
from pathlib import Path

_INODE, _REMOTE = 9, 2  # fields of /proc/net/tcp: proc(5)


def kill(worker: int) -> set[int]:
    """SIGKILL; the clients' ports of the connections that the worker had.

    It is stopped first, so that it takes none between the look and the kill.
    """
    os.kill(worker, signal.SIGSTOP)
    while _state(worker) != "T":
        time.sleep(0.001)
    ports = _ports(worker)
    os.kill(worker, signal.SIGKILL)
    return ports


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _ports(pid: int) -> set[int]:
    links = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {
        int(row[_REMOTE].partition(":")[2], 16)
        for row in rows
        if f"socket:[{row[_INODE]}]" in links
    } - {0}  # the listener's

"""What a round measures, where Linux keeps it, and which answers count."""

import os
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class WrongAnswer(Exception):
    """A benchmark that meets one has measured nothing."""


def check(status: int, body: bytes, expected: bytes) -> None:
    """The gate for answers that are known to the byte. Raises WrongAnswer."""
    if status != 200 or body != expected:
        raise WrongAnswer(
            f"wrong answer: {status} {body[:200]!r} where 200 {expected[:200]!r} is expected"
        )


@dataclass(frozen=True)
class Round:
    """One round of one side. CPU is user and system time, of the side that answers."""

    requests: int  # that were answered
    requests_per_second: float
    cpu_ms_per_request: float
    p50_ms: float
    p99_ms: float
    client_cpus: float = 0.0  # what the load generator used: 1.0 is a whole CPU
    busiest_worker: float = 1.0  # its part of the server's CPU time: 1 / workers is even
    other_cpus: float = 0.0  # what everything else on the machine used: the noise
    refused: int = 0  # 503: no answers, and in no other figure
    broken: int = 0  # connections that ended without an answer: likewise

    @classmethod
    def of(
        cls, requests_per_second: float, cpu_seconds: float, taken: Sequence[float], **more: Any
    ) -> "Round":
        """`taken`: the seconds of each answer; `cpu_seconds`: of all together; `more`: fields."""
        p50, p99 = (np.percentile(taken, (50, 99)) * 1000).tolist()
        cpu_ms = cpu_seconds / len(taken) * 1000
        return cls(len(taken), requests_per_second, cpu_ms, p50, p99, **more)


def own_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def tree(root: int) -> list[int]:
    """A process and all its descendants, as they are now, whatever session or group they are in."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        if fields := _stat(int(folder.name)):
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    found = [root]
    for pid in found:  # grows while it is walked
        found += children.get(pid, [])
    return found


def cpu_seconds(pids: Sequence[int]) -> dict[int, float]:
    """What each of the processes that still exist has used, by its id."""
    seconds = {}
    for pid in pids:
        if fields := _stat(pid):
            seconds[pid] = (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND
    return seconds


def start_ticks(pid: int) -> int | None:
    """When the process was started: with its id, that is what tells it from a later one."""
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def memory_mb(pids: Sequence[int]) -> dict[int, tuple[float, float]]:
    """Resident and proportional memory (RSS, PSS) of each process that still exists, in 10^6 B."""
    found = {}
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        sizes = {line.split()[0]: int(line.split()[1]) for line in lines[1:]}
        found[pid] = (sizes["Rss:"] * 1024 / 1e6, sizes["Pss:"] * 1024 / 1e6)
    return found


def machine_cpu_seconds() -> float:
    """What everything on this machine has used since it was started."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = (
        int(field) for field in Path("/proc/stat").read_text().split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / _TICKS_PER_SECOND


def _stat(pid: int) -> list[str]:
    """proc_pid_stat(5) from the third field on: state, parent, ..., utime [11], starttime [19]."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []  # it has ended meanwhile

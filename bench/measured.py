"""What a round measures, where Linux keeps it, and which answers count."""

import os
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class WrongAnswer(Exception):
    """A benchmark that meets one has measured nothing."""


def check(status: int, body: bytes, expected: bytes) -> None:
    """The gate that every answer passes, over HTTP or not. Raises WrongAnswer."""
    if status != 200 or body != expected:
        raise WrongAnswer(
            f"wrong answer: {status} {body[:200]!r} where 200 {expected[:200]!r} is expected"
        )


@dataclass(frozen=True)
class Round:
    """One round of one side. CPU is user and system time, of the side that answers."""

    requests: int
    requests_per_second: float
    cpu_ms_per_request: float
    p50_ms: float
    p99_ms: float
    client_cpus: float = 0.0  # what the load generator used: 1.0 is a whole CPU
    busiest_worker: float = 1.0  # its part of the server's CPU time: 1 / workers is even
    other_cpus: float = 0.0  # what everything else on the machine used: the noise

    @classmethod
    def of(
        cls, requests_per_second: float, cpu_seconds: float, taken: Sequence[float], **more: float
    ) -> "Round":
        """`taken`: the seconds of each answer; `cpu_seconds`: of all of them together."""
        p50, p99 = (np.percentile(taken, (50, 99)) * 1000).tolist()
        cpu_ms = cpu_seconds / len(taken) * 1000
        return cls(len(taken), requests_per_second, cpu_ms, p50, p99, **more)


def own_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def server_cpu_seconds(port: int) -> dict[int, float]:
    """What each process of the server has used, by its id: all have the same command line."""
    seconds = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"\0--port\0{port}\0".encode() in (folder / "cmdline").read_bytes():
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                ticks = int(fields[11]) + int(fields[12])  # utime and stime, proc_pid_stat(5)
                seconds[int(folder.name)] = ticks / _TICKS_PER_SECOND
        except OSError:
            continue  # it has ended meanwhile
    return seconds


def machine_cpu_seconds() -> float:
    """What everything on this machine has used since it was started."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = (
        int(field) for field in Path("/proc/stat").read_text().split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / _TICKS_PER_SECOND

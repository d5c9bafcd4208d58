"""Measure what a request uses, with a process or with the image under CPU quotas.

The measurement assumes that Lambda and SageMaker have CPUs like this machine's. A process of one
thread has a whole CPU: time that other processes took is subtracted, and for smaller memory sizes
the time is divided by their share of a vCPU. A container runs with Docker's `--cpus`.
"""

import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ops import local_servers
from ops.cost import CostError
from ops.cost.workload import LAMBDA_MB_PER_VCPU, MemorySize, RequestUsage, Workload, vcpu_share
from ops.inputs import Input
from ops.local_servers import Face, FaceError, HttpFace, HttpReply, process_environment

WARM_UP, REQUESTS = 5, 100
# A thread gains nothing from more than a whole vCPU.
PROCESS_SIZES_MB = (512, 768, 1024, 1280, 1536, LAMBDA_MB_PER_VCPU)
CONTAINER_SIZES_MB = (1024, LAMBDA_MB_PER_VCPU, 2654, 3538)
_ROOM = 1.5  # Lambda's runtime and larger pictures need memory, too
_SAME = 1.05  # costs within 5 % count as equal, because billed times are whole milliseconds


class Timing(NamedTuple):
    """Hold the requests' times, the time until the first answer, and the answers' mean size."""

    milliseconds: Sequence[float]
    start_ms: float
    answered_bytes: float

    def on_share(self, share: float) -> "Timing":
        """Return the times as expected with that share of the CPU."""
        slower = [each / share for each in self.milliseconds]
        return Timing(slower, self.start_ms / share, self.answered_bytes)

    def size(self, memory_mb: int) -> MemorySize:
        """Return the timing of a memory size, billed in whole milliseconds."""
        return MemorySize(
            memory_mb,
            billed_ms=statistics.fmean(math.ceil(each) for each in self.milliseconds),
            median_ms=statistics.median(self.milliseconds),
            p95_ms=statistics.quantiles(self.milliseconds, n=20)[-1],
        )


def measure(
    pictures: Sequence[Input], image: str | None, p95_ms: float | None, cold_share: float
) -> Workload:
    """Return the measured workload. Raise FaceError, and CostError if no size meets `p95_ms`."""
    timings, note = _time_containers(image, pictures) if image else _time_process(pictures)
    architecture = local_servers.architecture_of(image) if image else local_servers.machine()
    sizes = [timing.size(memory_mb) for memory_mb, timing in timings.items()]
    chosen = choose(sizes, p95_ms)
    whole = timings[min(timings, key=lambda mb: abs(mb - LAMBDA_MB_PER_VCPU))]
    sent = statistics.fmean(len(picture.body) for picture in pictures)
    usage = RequestUsage(
        lambda_memory_mb=chosen.memory_mb,
        lambda_ms=chosen.billed_ms,
        vcpu_ms=statistics.fmean(whole.milliseconds),
        cold_ms=timings[chosen.memory_mb].start_ms,
        cold_share=cold_share,
        data_bytes=sent + whole.answered_bytes,
    )
    how = f"{os.cpu_count()} CPUs of this machine, {len(pictures)} pictures, {REQUESTS} requests"
    notes = [f"Measured: {note}; {how}."]
    if cold_share:
        starts = f"{cold_share:.1%} of Lambda's calls, {usage.cold_ms:,.0f} ms each"
        notes.append(f"Assumed cold starts: {starts} (--cold-share).")
    if architecture != local_servers.machine():
        notes.append(f"{image} is for {architecture}: emulated here, and slower than on AWS.")
    return Workload(usage, notes=notes, sizes=sizes, architecture=architecture)


def choose(sizes: Sequence[MemorySize], p95_ms: float | None) -> MemorySize:
    """Return the cheapest size that is fast enough, the largest among equals. Raise CostError."""
    fit = [size for size in sizes if p95_ms is None or size.p95_ms <= p95_ms]
    if not fit:
        best = min(sizes, key=lambda size: size.p95_ms)
        fastest = f"the fastest, {best.memory_mb:,} MB, has {best.p95_ms:.1f} ms"
        raise CostError(f"no memory size has a p95 of {p95_ms:g} ms here: {fastest}")
    most = min(size.memory_mb * size.billed_ms for size in fit) * _SAME
    as_cheap = [size for size in fit if size.memory_mb * size.billed_ms <= most]
    return max(as_cheap, key=lambda size: size.memory_mb)


def _time_containers(image: str, pictures: Sequence[Input]) -> tuple[dict[int, Timing], str]:
    """Time the Lambda face at each memory size for which this machine has enough CPUs."""
    local_servers.require_image(image)
    timings = {}
    for memory_mb in CONTAINER_SIZES_MB:
        cpus = memory_mb / LAMBDA_MB_PER_VCPU
        if cpus > (os.cpu_count() or 1) + 0.01:
            continue
        options = [f"--cpus={cpus:.3f}", f"--memory={memory_mb}m"]
        options += ["--env", f"AWS_LAMBDA_FUNCTION_MEMORY_SIZE={memory_mb}"]
        with local_servers.lambda_container(image, options) as face:
            # The emulator starts the function at the first event.
            timings[memory_mb] = _time(face, pictures, time.perf_counter(), time.perf_counter)
    return timings, f"{image} under Docker's --cpus, at each memory size"


def _time_process(pictures: Sequence[Input]) -> tuple[dict[int, Timing], str]:
    """Time the HTTP face as one process, and derive the sizes with enough memory for it."""
    environment = {**process_environment(), "WORKERS": "1", "OMP_NUM_THREADS": "1"}
    port = local_servers.free_port()
    command = [str(local_servers.ENTRY), "serve", "--host", "127.0.0.1", "--port", str(port)]
    started = time.perf_counter()
    with local_servers.running(command, environment) as process:
        face = HttpFace(f"http://127.0.0.1:{port}")
        local_servers.wait_until_healthy(face, process)
        whole = _time(face, pictures, started, lambda: _usage(process.pid)[0])
        resident_mb = _usage(process.pid)[1]
    needed = math.ceil(resident_mb * _ROOM)
    sizes = [mb for mb in PROCESS_SIZES_MB if mb >= needed] or [min(needed, 10240)]
    note = f"a process with one thread on a whole CPU, {whole.size(0).billed_ms:.1f} ms a request, "
    note += f"{resident_mb:.0f} MB; other memory sizes by their share of a vCPU"
    return {mb: whole.on_share(vcpu_share(mb)) for mb in sizes}, note


def _time(
    face: Face, pictures: Sequence[Input], started: float, clock: Callable[[], float]
) -> Timing:
    """Send sequential requests that cycle through the pictures. Raise CostError and FaceError.

    `clock` returns seconds: the sum of the requests' times is scaled down to what it counts.
    """

    def ask(number: int) -> HttpReply:
        picture = pictures[number % len(pictures)]
        headers = {"Content-Type": picture.content_type}
        reply = face.send("POST", "/invocations", headers, picture.body)
        if reply.status != 200:
            said = reply.body[:200].decode(errors="replace")
            raise CostError(f"{picture.name} was answered {reply.status}: {said}")
        return reply

    ask(0)
    start_ms = (time.perf_counter() - started) * 1000
    for number in range(1, WARM_UP):
        ask(number)
    before = clock()
    replies = [ask(number) for number in range(REQUESTS)]
    share = min(1.0, (clock() - before) / sum(reply.seconds for reply in replies))
    taken = [reply.seconds * 1000 * share for reply in replies]
    return Timing(taken, start_ms, statistics.fmean(len(reply.body) for reply in replies))


def _usage(session: int) -> tuple[float, float]:
    """Return the CPU seconds of a session's processes, and the largest peak memory in MB of 2^20.

    This works on Linux only. Raise FaceError if no process runs.
    """
    cpu_seconds, resident_mb = 0.0, 0.0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            status = (folder / "status").read_text()
        except OSError:  # the process has just ended
            continue
        if int(fields[3]) == session and "VmHWM:" in status:
            cpu_seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            resident_mb = max(resident_mb, int(status.split("VmHWM:")[1].split()[0]) / 1024)
    if not resident_mb:
        raise FaceError("the server ended while it was measured")
    return cpu_seconds, resident_mb

"""What a request takes, measured here: by a process, or by the image under CPU quotas.

A process, of one thread, has a whole CPU; for a memory size with less, its time is divided by that
share, more is taken for no gain, and what others had of the CPU meanwhile is taken off. A container
is measured as it is, with Docker's `--cpus`. This machine's CPU stands for those of Lambda and
SageMaker.
"""

import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ops import faces
from ops.cost import arithmetic
from ops.cost.arithmetic import LAMBDA_MB_PER_VCPU
from ops.cost.found import FindingError, Found, Size
from ops.cost.targets import Work
from ops.faces import Face, FaceError, HttpFace
from ops.local import Picture, process_environment

WARM_UP, REQUESTS = 5, 100
PROCESS_SIZES_MB = (512, 768, 1024, 1280, 1536, LAMBDA_MB_PER_VCPU, 3008, 4096, 6144, 10240)
CONTAINER_SIZES_MB = (1024, LAMBDA_MB_PER_VCPU, 2654, 3538)
# Lambda's runtime and a larger picture need room, too.
_ROOM = 1.5
# Costs so close are the same: rounding up to whole milliseconds alone makes some per cent.
_SAME = 1.05


@dataclass(frozen=True)
class Timing:
    """`start_ms`: until the first answer. `answered_bytes`: the mean of the answers."""

    milliseconds: Sequence[float]
    start_ms: float
    answered_bytes: float

    @property
    def billed_ms(self) -> float:
        """AWS bills whole milliseconds, each begun one counted."""
        return statistics.fmean(math.ceil(each) for each in self.milliseconds)

    @property
    def p95_ms(self) -> float:
        return statistics.quantiles(self.milliseconds, n=20)[-1]

    def size(self, memory_mb: int, share: float = 1.0) -> Size:
        """What it would be with that share of the CPU."""
        waited = Timing([each / share for each in self.milliseconds], 0, 0)
        median = statistics.median(waited.milliseconds)
        return Size(memory_mb, waited.billed_ms, median, waited.p95_ms)


def measure(
    pictures: Sequence[Picture],
    image: str | None,
    *,
    p95_ms: float | None,
    serverless_memory_mb: int,
    cold_share: float,
) -> Found:
    """Raises FindingError and FaceError; FindingError where no size is as fast as `p95_ms`."""
    how = f"{os.cpu_count()} CPUs of this machine, {len(pictures)} pictures, {REQUESTS} requests"
    if image:
        timings = _containers(image, pictures)
        sizes = [timing.size(memory_mb) for memory_mb, timing in timings.items()]
        nearest = min(timings, key=lambda mb: abs(mb - LAMBDA_MB_PER_VCPU))
        whole = timings[nearest]
        start_ms = {mb: timing.start_ms for mb, timing in timings.items()}
        note = f"Measured: {image} under Docker's --cpus, by memory size; {how} a size."
    else:
        whole, resident_mb = _process(pictures)
        enough = [mb for mb in PROCESS_SIZES_MB if mb >= resident_mb * _ROOM]
        # One size above a whole vCPU at most: the model knows of no gain there.
        tried = [mb for mb in enough if mb <= max(enough[0], LAMBDA_MB_PER_VCPU)]
        share = {mb: min(1.0, mb / LAMBDA_MB_PER_VCPU) for mb in tried}
        sizes = [whole.size(mb, share[mb]) for mb in tried]
        start_ms = {mb: whole.start_ms / share[mb] for mb in tried}
        note = (
            f"Measured: a process with one thread on a whole CPU, {whole.billed_ms:.1f} ms a "
            f"request, {resident_mb:.0f} MB; {how}. "
            "Other memory sizes: that time by their share of a vCPU."
        )
    chosen = choose(sizes, p95_ms)
    vcpu_ms = statistics.fmean(whole.milliseconds)
    sent = statistics.fmean(len(picture.body) for picture in pictures)
    work = Work(
        lambda_memory_mb=chosen.memory_mb,
        lambda_ms=chosen.billed_ms,
        serverless_memory_mb=serverless_memory_mb,
        serverless_ms=arithmetic.lambda_ms(vcpu_ms, serverless_memory_mb),
        vcpu_ms=vcpu_ms,
        cold_ms=start_ms[chosen.memory_mb],
        cold_share=cold_share,
        data_bytes=sent + whole.answered_bytes,
    )
    notes = [note]
    if cold_share:
        notes.append(
            f"{cold_share:.1%} of Lambda's calls are taken for cold starts, of "
            f"{work.cold_ms:,.0f} ms (--cold-share)."
        )
    return Found(work, notes=notes, sizes=sizes)


def choose(sizes: Sequence[Size], p95_ms: float | None) -> Size:
    """The cheapest that is fast enough; of those that cost the same, the fastest.

    Raises FindingError where none is.
    """
    fit = [size for size in sizes if p95_ms is None or size.p95_ms <= p95_ms]
    if not fit:
        best = min(sizes, key=lambda size: size.p95_ms)
        raise FindingError(
            f"no memory size has a p95 of {p95_ms:g} ms here: the fastest, {best.memory_mb:,} MB, "
            f"has {best.p95_ms:.1f} ms"
        )

    def paid(size: Size) -> float:
        return size.memory_mb * size.billed_ms

    least = min(map(paid, fit))
    return max((s for s in fit if paid(s) <= least * _SAME), key=lambda size: size.memory_mb)


def _containers(image: str, pictures: Sequence[Picture]) -> dict[int, Timing]:
    """The Lambda face in each size that this machine has the CPUs for."""
    faces.require_image(image)
    timings = {}
    for memory_mb in CONTAINER_SIZES_MB:
        cpus = memory_mb / LAMBDA_MB_PER_VCPU
        if cpus > (os.cpu_count() or 1) + 0.01:
            continue
        options = [f"--cpus={cpus:.3f}", f"--memory={memory_mb}m"]
        options += ["--env", f"AWS_LAMBDA_FUNCTION_MEMORY_SIZE={memory_mb}"]
        with faces.lambda_container(image, options) as face:
            # The emulator starts the function at the first event.
            timings[memory_mb] = _time(face, pictures, time.perf_counter())
    return timings


def _process(pictures: Sequence[Picture]) -> tuple[Timing, float]:
    """The HTTP face as one process, and how much memory it had at the most, MB."""
    environment = {**process_environment(), "WORKERS": "1", "OMP_NUM_THREADS": "1"}
    port = faces.free_port()
    command = [str(faces.ENTRY), "serve", "--host", "127.0.0.1", "--port", str(port)]
    started = time.perf_counter()
    with faces.running(command, environment) as process:
        face = HttpFace(f"http://127.0.0.1:{port}")
        faces.wait_until_healthy(face, process)
        timing = _time(face, pictures, started, lambda: _cpu_seconds(process.pid))
        return timing, max(each.resident_mb for each in _processes(process.pid))


def _time(
    face: Face,
    pictures: Sequence[Picture],
    started: float,
    cpu_seconds: Callable[[], float] | None = None,
) -> Timing:
    """One request after the other, over the pictures in turn. Raises FindingError, FaceError.

    Where `cpu_seconds` tells what CPU time the face has used, its requests are taken for no longer.
    """
    taken, answered, start_ms, used = [], [], 0.0, 0.0
    for number in range(WARM_UP + REQUESTS):
        if number == WARM_UP and cpu_seconds:
            used = cpu_seconds()
        picture = pictures[number % len(pictures)]
        headers = {"Content-Type": picture.content_type}
        reply = face.send("POST", "/invocations", headers, picture.body)
        if reply.status != 200:
            said = reply.body[:200].decode(errors="replace")
            raise FindingError(f"{picture.name} was answered {reply.status}: {said}")
        start_ms = start_ms or (time.perf_counter() - started) * 1000
        taken.append(reply.seconds * 1000)
        answered.append(len(reply.body))
    taken = taken[WARM_UP:]
    if cpu_seconds:
        own = min(1.0, (cpu_seconds() - used) * 1000 / sum(taken))
        taken = [each * own for each in taken]
    return Timing(taken, start_ms, statistics.fmean(answered))


class _Process(NamedTuple):
    cpu_seconds: float
    resident_mb: float
    """At the most; MB of 2^20 bytes."""


def _processes(session: int) -> list[_Process]:
    """Those of a session that run: at least one. Linux only, as the face itself. FaceError."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            status = (folder / "status").read_text()
        except OSError:  # it has just ended
            continue
        if int(fields[3]) == session and "VmHWM:" in status:
            ticks = int(fields[11]) + int(fields[12])
            resident_kb = int(status.split("VmHWM:")[1].split()[0])
            found.append(_Process(ticks / os.sysconf("SC_CLK_TCK"), resident_kb / 1024))
    if not found:
        raise FaceError("the server ended while it was measured")
    return found


def _cpu_seconds(session: int) -> float:
    return sum(process.cpu_seconds for process in _processes(session))

"""Which engine serves the default model the cheapest: what a million Lambda requests would cost.

ONNX Runtime, which the image has, and others from PyPI, each in an environment of its own. One
process is one round: a cold start as the Lambda face has it, then warm requests, under a CPU quota
of the kernel's, which root sets. The decode, resize and softmax are ours; only the forward is the
engine's.

Ends with status 1 at an answer that is not ONNX Runtime's, or where there can be no quota.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "container")]

from bench import forward_limit, verdict  # noqa: E402 - found by the line above
from bench.contenders import BASELINE, ENGINES_BY_NAME, Contender, ready  # noqa: E402
from bench.engine_rounds import Case, EngineRound, environment_of, measure  # noqa: E402
from bench.environments import PeerError, installed_mb  # noqa: E402
from bench.measured import WrongAnswer  # noqa: E402
from bench.ours import photograph  # noqa: E402
from bench.quota import PERIOD_MICROSECONDS, QuotaError, quota  # noqa: E402
from bench.report import NOISE, write  # noqa: E402
from infra import prices  # noqa: E402
from serving.artifact import resolve  # noqa: E402
from serving.classifier import Classifier  # noqa: E402
from serving.errors import StartError  # noqa: E402
from serving.settings import Settings, granted_cpus  # noqa: E402

FAULTS = (WrongAnswer, StartError, PeerError, QuotaError, OSError)
GRANTS = (0.5, 1.0, 2.0, 4.0)
WHOLE_CPU = 1.0  # with one thread: where engines are compared with the limit, and ties are broken

Rounds = dict[float, dict[str, list[EngineRound]]]


def main(arguments: Sequence[str]) -> int:
    console = Console(highlight=False)
    try:
        options = _options(arguments)
        found = _measured(options, console)
    except FAULTS as error:
        console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return 1
    verdict.show(found, console)
    if "forward" in found:
        verdict.show_forward(found, console)
    if options.out:
        write(options.out, found, console)
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    """Raises QuotaError where a grant is more than there is."""
    parser = argparse.ArgumentParser(prog="bench/engines.py", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    here = granted_cpus(os.environ)
    possible = [cpus for cpus in GRANTS if cpus <= here]
    parser.add_argument(
        "--cpus", nargs="+", default=possible, metavar="N", help=f"vCPU, or none ({possible})"
    )
    parser.add_argument("--rounds", type=int, default=10, help="of each engine (%(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=0.6, help="of warm requests in a round (%(default)s)"
    )
    parser.add_argument("--quick", action="store_true", help="3 rounds of 0.2 s")
    parser.add_argument("--out", type=Path, help="write what was measured to this file")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds = 3, 0.2
    options.limited = options.cpus != ["none"]
    try:
        options.cpus = [float(text) for text in options.cpus] if options.limited else [WHOLE_CPU]
    except ValueError:
        parser.error("--cpus: numbers, or none alone")
    if any(not 0.1 <= cpus <= here for cpus in options.cpus):
        raise QuotaError(f"--cpus {max(options.cpus):g}: at least 0.1, at most the {here} of here")
    return options


def _measured(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    artifact = resolve(Settings.from_environment(environment_of(1))).folder
    photo = photograph()
    case = Case(photo, Classifier.load(artifact, 1).probabilities(photo))
    threads = sorted({verdict.threads_of(cpus) for cpus in options.cpus})
    with ExitStack() as stack:
        # No quota, no installation: that takes minutes and would be for nothing.
        prefixes = {
            cpus: stack.enter_context(quota(cpus)) if options.limited else []
            for cpus in options.cpus
        }
        contenders = {}
        for name, engine in ENGINES_BY_NAME.items():
            console.print(f"making {name} ready, unless it is", soft_wrap=True)
            contenders[name] = ready(name, engine, artifact, threads)
        forward = WHOLE_CPU in prefixes and forward_limit.freed_graph(artifact)
        peaks = [forward_limit.peak(prefixes[WHOLE_CPU])] if forward else []
        rounds = _rounds(contenders, case, prefixes, options, console)
        found = _summary(contenders, rounds)
        found["quota_period_ms"] = PERIOD_MICROSECONDS / 1000 if options.limited else None
        if forward:
            operations, freed = forward
            peaks.append(forward_limit.peak(prefixes[WHOLE_CPU]))
            whole_cpu = found["grants"][f"{WHOLE_CPU:g}"]
            found["forward"] = forward_limit.summary(operations, peaks, whole_cpu)
            found["batches"] = forward_limit.batches(freed, options.rounds + 2, prefixes[WHOLE_CPU])
    return found


def _rounds(
    contenders: Mapping[str, Contender],
    case: Case,
    prefixes: Mapping[float, Sequence[str]],
    options: argparse.Namespace,
    console: Console,
) -> Rounds:
    """Each engine's at each grant, by turns. Raises WrongAnswer or PeerError."""
    rounds: Rounds = {cpus: {name: [] for name in contenders} for cpus in prefixes}
    names = list(contenders)
    for number in range(options.rounds + 1):
        order = names[number % len(names) :] + names[: number % len(names)]
        for cpus, prefix in prefixes.items():
            for name in order:
                threads = verdict.threads_of(cpus)
                try:
                    one = measure(contenders[name], case, threads, prefix, options.seconds)
                except (WrongAnswer, PeerError) as error:
                    raise type(error)(f"[{name}] {error}") from None
                if number:  # the first of each read its files from the disk, and compiled them
                    rounds[cpus][name].append(one)
        if number:
            console.print(f"round {number} of {options.rounds}", soft_wrap=True)
    return rounds


def _summary(contenders: Mapping[str, Contender], rounds: Rounds) -> dict[str, Any]:
    titles = {name: one.engine.title for name, one in contenders.items()}
    grants = {f"{cpus:g}": verdict.grant(cpus, of, titles) for cpus, of in rounds.items()}
    whole_cpu = grants.get(f"{WHOLE_CPU:g}")
    rates = verdict.per_second(whole_cpu) if whole_cpu else {}
    for grant in grants.values():
        grant["cheapest"] = verdict.cheapest(grant, rates)
    every = {name: [one for of in rounds.values() for one in of[name]] for name in contenders}
    noisy = NOISE * (os.cpu_count() or 1)
    return {
        "baseline": BASELINE,
        "prices": {
            "region": prices.REGION,
            "date": prices.DATE,
            "usd_per_gb_second": prices.LAMBDA_GB_SECOND,
            "usd_per_request": prices.LAMBDA_REQUEST,
        },
        "engines": {
            name: {
                "title": titles[name],
                "versions": one.versions,
                "installed_mb": installed_mb(one.python, one.engine.packages),
                "largest_difference_of_a_probability": max(a.difference for a in every[name]),
                "disturbed_rounds": sum(a.other_cpus > noisy for a in every[name]),
            }
            for name, one in contenders.items()
        },
        "requests_per_second": rates,
        "grants": grants,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

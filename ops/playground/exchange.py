"""Send a request to the targets, and describe their answers for the page."""

import json
import shlex
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from queue import Empty, Queue
from statistics import median
from typing import Any

from ops.answers import from_body
from ops.aws import AWS_ERRORS, CannotAsk, explain
from ops.cost import CostError, prices
from ops.findings import as_json
from ops.inputs import Input
from ops.local_servers import EmulatedLambda, FaceError, HttpFace, HttpReply
from ops.parity.checks import Row, compare_targets
from ops.parity.compare import TOLERANCE, TimedAnswer, compare
from ops.parity.facts import Facts, numbered
from ops.parity.targets import OpenTarget
from ops.playground.shown import about, answered_by, bars_of, cost_of
from ops.playground.snippets import snippets
from ops.targets import IDENTITY, SERVED_BY

# Call the second target when the first has answered, so that they do not compete for the CPU, but
# wait at most this long.
HEAD_START_SECONDS = 2
LAST_CALLS = 50  # the cost uses their median latency
_MAX_PLACES = 20
_MAX_CHARACTERS = 20_000


@dataclass
class Side:
    """One target of the page. Its first call opens it, and so does a call after a failure."""

    name: str
    open: Callable[[], OpenTarget]
    opened: OpenTarget | None = None
    identity: str = ""  # the last one in a reply; SageMaker's errors have none
    described: str = ""  # the identity of the deployment in `opened`
    refused: CannotAsk | None = None  # why a newer deployment could not be described
    milliseconds: deque[float] = field(default_factory=lambda: deque(maxlen=LAST_CALLS))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def target(self) -> OpenTarget:
        """Return the open target. Raise CannotAsk."""
        with self.lock:
            if self.opened is None:
                self.opened = self._open()
            return self.opened

    def _open(self) -> OpenTarget:
        try:
            return self.open()
        except FaceError as error:
            raise CannotAsk(str(error), "start the playground again") from None
        except AWS_ERRORS as error:
            raise explain(error, "sts:GetCallerIdentity") from error

    @property
    def facts(self) -> Facts:
        facts = self.opened.facts if self.opened else Facts(self.name, self.name)
        if self.refused:
            facts = replace(facts, digests=frozenset(), refused=self.refused)
        return facts.identified({self.identity})

    def post(self, item: Input) -> HttpReply:
        """Call the target. Raise CannotAsk."""
        target = self.target()
        # The emulator serves one request at a time.
        with self.lock if isinstance(target.client, EmulatedLambda) else nullcontext():
            reply = target.post(item)
        self.identity = reply.headers.get(IDENTITY) or self.identity
        self.described = self.described or self.identity
        self.refused = None
        if self.identity != self.described:  # after a new deployment, read its image again
            try:
                self.opened, self.described = self._open(), self.identity
            except CannotAsk as error:  # during a rollout
                self.refused = error
        return reply


@dataclass(frozen=True)
class Outcome:
    """One target's reply, or why it could not be called."""

    index: int
    facts: Facts
    reply: HttpReply | CannotAsk


class Playground:
    """One or two targets. Local ones get the prices of `region`."""

    def __init__(self, sides: Sequence[Side], region: str) -> None:
        self._sides, self._region = sides, region

    @property
    def targets(self) -> list[Facts]:
        return numbered([side.facts for side in self._sides])

    @property
    def parity(self) -> str:
        """Return the command that compares the targets with the exported history."""
        names = zip(("--left", "--right"), [side.name for side in self._sides])
        options = " ".join(f"{option} {shlex.quote(name)}" for option, name in names)
        return f"python -m ops parity {options} --inputs inputs.jsonl"

    def ask(self, item: Input) -> Iterator[dict[str, Any]]:
        """Yield each target's reply as it arrives, then the comparison of two targets."""
        queue: Queue[Outcome] = Queue()
        outcomes: list[Outcome] = []
        for index in range(len(self._sides)):
            threading.Thread(target=self._call, args=(index, item, queue), daemon=True).start()
            try:
                outcomes.append(queue.get(timeout=HEAD_START_SECONDS))
            except Empty:
                continue
            yield self._as_json(outcomes[-1], item)
        while len(outcomes) < len(self._sides):
            outcomes.append(queue.get())
            yield self._as_json(outcomes[-1], item)
        if len(outcomes) == 2:
            yield {"comparison": _comparison(item, sorted(outcomes, key=lambda o: o.index))}

    def _call(self, index: int, item: Input, queue: Queue[Outcome]) -> None:
        side = self._sides[index]
        reply: HttpReply | CannotAsk = CannotAsk("the playground failed", "see its terminal")
        try:
            reply = side.post(item)
            if reply.status == 200 and _is_own(reply):
                side.milliseconds.append(reply.seconds * 1000)
        except CannotAsk as error:
            reply = error
        finally:
            queue.put(Outcome(index, self.targets[index], reply))

    def _as_json(self, outcome: Outcome, item: Input) -> dict[str, Any]:
        side, reply = self._sides[outcome.index], outcome.reply
        told: dict[str, Any] = {"side": outcome.index, "target": about(outcome.facts)}
        if side.opened:
            told["snippets"] = snippets(side.opened.client, item)
        if isinstance(reply, CannotAsk):
            return {**told, "problem": {"why": reply.why, "fix": reply.fix}}
        answer = from_body(reply.status, reply.body)
        text = json.dumps(answer.value, indent=2, ensure_ascii=False)
        return {
            **told,
            "status": answer.status,
            "error": {} if answer.ok else {name: str(t) for name, t in answer.error.items()},
            "bars": bars_of(answer.value),
            "text": text[:_MAX_CHARACTERS],
            "milliseconds": round(reply.seconds * 1000, 1),
            "bytes": len(reply.body),
            "answered_by": answered_by(reply),
            "cost": self._cost(side, len(item.body) + len(reply.body)) if _is_own(reply) else "",
        }

    def _cost(self, side: Side, data_bytes: int) -> str:
        """Return the cost of a million calls a month at the median latency of the last calls."""
        if not side.milliseconds or not side.opened:
            return ""
        client = side.opened.client
        region = self._region if isinstance(client, HttpFace | EmulatedLambda) else client.region
        try:
            known = prices.load(prices.SHIPPED, region)
            return cost_of(side.opened, median(side.milliseconds), data_bytes, known)
        except CostError as error:
            return str(error)


def _is_own(reply: HttpReply) -> bool:
    """Check whether the target itself answered, instead of an endpoint behind a function."""
    return reply.headers.get(SERVED_BY, "lambda") == "lambda"


def _comparison(item: Input, outcomes: Sequence[Outcome]) -> Mapping[str, Any]:
    replies = [o.reply for o in outcomes if isinstance(o.reply, HttpReply)]
    if len(replies) < len(outcomes):
        silent = [o.facts.label for o in outcomes if isinstance(o.reply, CannotAsk)]
        return {"missing": f"no answer of {' and '.join(silent)}"}
    answers = [TimedAnswer.of([reply]) for reply in replies]
    difference = compare(answers[0], answers[1])
    facts = [outcome.facts for outcome in outcomes]
    checks = compare_targets(facts, [Row(item, answers, [difference])], TOLERANCE)
    return {
        "exact": difference.exact,
        "same": difference.same,
        "largest": difference.largest if difference.same else None,  # JSON has no NaN
        "places": difference.places[:_MAX_PLACES],
        "checks": [as_json(name, finding) for name, finding in checks.items()],
    }

"""One estimate: what the targets cost, where the cheapest changes, and what to do about it."""

import math
from collections.abc import Sequence
from functools import cached_property

from ops.cost.arithmetic import SECONDS_PER_MONTH
from ops.cost.break_evens import HIGHEST, BreakEven, break_evens, cheapest
from ops.cost.candidates import candidates
from ops.cost.found import Choices, Found
from ops.cost.prices import Prices
from ops.cost.targets import Target
from ops.cost.traffic import Traffic
from ops.cost.words import usd

KINDS = {
    "lambda": "Lambda",
    "serverless": "SageMaker serverless",
    "realtime": "SageMaker's real-time endpoint",
}
LEFT_OUT = (
    "data transfer out of AWS",
    "logs, metrics and alarms",
    "the image's storage in ECR",
    "Savings Plans, and Lambda's tiers above the first",
    "instances that scaling starts too late or stops too late",
)


class Estimate:
    """`rivals` are compared; `missing` says what is not, and why."""

    def __init__(self, found: Found, prices: Prices, choices: Choices) -> None:
        self.found, self.prices, self.choices = found, prices, choices
        chosen = candidates(found, prices, choices)
        self.rivals, self.missing = chosen.rivals, chosen.missing

    @property
    def traffic(self) -> Traffic | None:
        return self.found.traffic

    @property
    def targets(self) -> Sequence[Target]:
        """The cheapest first, or as they come where the traffic is not known."""
        if (traffic := self.traffic) is None:
            return self.rivals
        return sorted(self.rivals, key=lambda target: target.usd_per_month(traffic))

    @cached_property
    def break_evens(self) -> Sequence[BreakEven]:
        return break_evens(self.rivals, self.traffic or Traffic(1.0)) if self.rivals else []

    @property
    def best(self) -> Target | None:
        """The cheapest for the traffic that there is, if one can take it."""
        if not self.traffic or not self.rivals:
            return None
        found = cheapest(self.rivals, self.traffic)
        return None if math.isinf(found.usd_per_month(self.traffic)) else found

    @property
    def turning_point(self) -> str:
        """From which traffic on which target is the cheapest, in a sentence."""
        if not self.rivals:
            return "There is nothing to compare."
        if not self.break_evens:
            only = KINDS[cheapest(self.rivals, Traffic(1.0)).kind]
            most = HIGHEST / SECONDS_PER_MONTH
            return f"{only} is the cheapest at any traffic up to {most:,.0f} requests/s."
        first, last = self.break_evens[0], self.break_evens[-1]
        if first is last or last.is_a_limit:
            return first.sentence
        return f"{first.sentence} From {last.rate} on it stays {last.after.name}."

    @property
    def advice(self) -> str:
        """For the traffic that there is; without one, where it turns."""
        traffic, best = self.traffic, self.best
        if traffic is None:
            return self.turning_point
        if best is None:
            return "No target takes that much traffic within the limits of the stack's keys."
        costs = best.usd_per_month(traffic)
        said = f"At {traffic.mean_per_second:,.3g} requests/s on average, {best.name} is the "
        said += f"cheapest: {usd(costs)} a month"
        if best.name == self.found.current:
            return f"{said}, and the stack is there."
        now = [target for target in self.targets if target.name == self.found.current]
        others = now or [target for target in self.rivals if target.kind != best.kind]
        if not others:
            return f"{said}."
        other = cheapest(others, traffic)
        saved = usd(other.usd_per_month(traffic) - costs)
        where = ", where the stack is now" if now else ""
        return f"{said}, {saved} less than {other.name}{where}."

    @property
    def command(self) -> str | None:
        """What acts on the advice; None where there is nothing to do."""
        best = self.best
        if best is None or self.traffic is None or best.name == self.found.current:
            return None
        return best.command(self.traffic)

    @property
    def left_out(self) -> Sequence[str]:
        """What the bill has and the estimate has not."""
        said = [] if self.choices.free_tier else ["Lambda's free tier (--free-tier)"]
        if not self.prices.data:
            said.append(f"data in and out of SageMaker (no price in {self.prices.region})")
        elif self.found.work.data_bytes is None:
            said.append("data in and out of SageMaker")
        return [*said, *LEFT_OUT]

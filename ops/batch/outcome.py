"""What became of a transform job. Nothing here does I/O."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ops.batch.job import LOG_GROUP
from ops.batch.objects import Records
from ops.batch.request import Plan


@dataclass
class Outcome:
    """What became of a job, by input object."""

    plan: Plan
    status: str
    reason: str = ""
    into: dict[str, Records] = field(default_factory=dict)
    out: dict[str, Records] = field(default_factory=dict)
    without: list[str] = field(default_factory=list)
    """Objects that have no output."""
    log: Sequence[str] = ()
    """What SageMaker said of the data."""

    @property
    def uneven(self) -> list[str]:
        """Objects of other numbers of records and answers.

        Whether a blank line is a record is not documented: either is even.
        """
        counts = {key: (r.lines, r.lines - r.blank) for key, r in self.into.items()}
        return [key for key, r in self.out.items() if key in counts and r.lines not in counts[key]]

    @property
    def errors(self) -> Mapping[str, int]:
        return sum((Counter(records.errors) for records in self.out.values()), Counter())

    @property
    def ok(self) -> bool:
        return self.status == "Completed" and not self.without and not self.uneven

    def as_json(self) -> Mapping[str, Any]:
        return {
            "job": self.plan.name,
            "status": self.status,
            "reason": self.reason,
            "log": [*self.log],
            "output": f"{self.plan.output}/",
            "records": self._total(self.into),
            "answers": self._total(self.out),
            "errors": dict(self.errors),
            "without_output": self.without,
            "uneven": self.uneven,
        }

    def lines(self) -> Iterator[str]:
        """For people: what happened, what is missing, and where the answers are."""
        name = self.plan.name
        yield f"{name}: {self.status}" + (f": {self.reason}" if self.reason else "")
        yield from (f"  {line}" for line in self.log)
        if self.status != "Completed":
            yield f"  its log: aws logs tail {LOG_GROUP} --log-stream-name-prefix {name}/"
        yield from (f"  no output of {key}" for key in self.without)
        for key in self.uneven:
            yield f"  {key}: {self.into[key].lines:,} records, {self.out[key].lines:,} answers"
        if self.into:
            records, answers = self._total(self.into), self._total(self.out)
            found = ", ".join(f"{code} {count:,}" for code, count in sorted(self.errors.items()))
            said = f"{sum(self.errors.values()):,} of them errors" + (f": {found}" if found else "")
            yield f"{records:,} records, {answers:,} answers, {said}"
        yield f"answers: {self.plan.output}/"

    @staticmethod
    def _total(counted: Mapping[str, Records]) -> int:
        return sum(records.lines for records in counted.values())

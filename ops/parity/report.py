"""Present a comparison as Markdown, to paste into a pull request, and as JSON. No I/O here."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len, set_cell_size

from ops.answers import classes_of
from ops.findings import Finding, State, as_json, exit_status
from ops.parity.checks import Row
from ops.parity.compare import Difference, TimedAnswer
from ops.parity.facts import Facts

_CELL = 60  # characters
_LINE = 300


@dataclass(frozen=True)
class Report:
    targets: Sequence[Facts]
    rows: Sequence[Row]
    checks: Mapping[str, Finding]
    tolerance: float
    day: str

    @property
    def status(self) -> int:
        """Return 0 for the same, 1 for a skew, 2 if it is inconclusive."""
        return exit_status(self.checks.values())

    @property
    def title(self) -> str:
        return f"Parity of {' and '.join(target.name for target in self.targets)}"

    @property
    def verdict(self) -> str:
        if self.status == 1:
            return f"Skew: {', '.join(self._in(State.FAILS))}."
        if self.status == 2:
            return f"Inconclusive: {', '.join(self._in(State.UNKNOWN))}."
        inputs = f"{len(self.rows)} input{'' if len(self.rows) == 1 else 's'}"
        return f"The same: {inputs}, {' and '.join(target.label for target in self.targets)}."

    def as_json(self) -> dict[str, Any]:
        return {
            "same": {0: True, 1: False, 2: None}[self.status],
            "skews": self._in(State.FAILS),
            "tolerance": self.tolerance,
            "targets": [target.as_json() for target in self.targets],
            "checks": [as_json(name, finding) for name, finding in self.checks.items()],
            "inputs": [self._row_as_json(row) for row in self.rows],
        }

    def _in(self, state: State) -> list[str]:
        return [name for name, finding in self.checks.items() if finding.state is state]

    def _row_as_json(self, row: Row) -> dict[str, Any]:
        labels = [target.label for target in self.targets]
        answers = [
            {
                "target": label,
                "status": answer.status,
                "sha256": answer.sha256,
                "answer": answer.value,
                "milliseconds": answer.milliseconds,
                "median_milliseconds": answer.median_ms,
            }
            for label, answer in zip(labels, row.answers)
        ]
        differences = [
            {
                "target": label,
                "identical": found.exact,
                "same": found.same,
                "largest_difference": found.largest if math.isfinite(found.largest) else None,
                "places": found.places,
            }
            for label, found in zip(labels[1:], row.differences)
        ]
        return {"input": row.item.name, "answers": answers, "differences": differences}


def list_item(finding: Finding, name: str) -> str:
    """Return an item of a Markdown list, with its fix on the next line."""
    item = f"- {finding.state.value} {name}: {_escape(finding.says)}"
    return item + (f"\n  fix: {finding.fix}" if finding.fix else "")


def answer_list(report: Report) -> Iterator[str]:
    """Yield a Markdown list of all answers: classes with probabilities, or JSON."""
    for row in report.rows:
        answers = [summary(answer, whole=True) for answer in row.answers]
        if row.exact:
            yield f"- {_escape(row.item.name)}: {answers[0]}"
            continue
        yield f"- {_escape(row.item.name)}"
        for target, answer in zip(report.targets, answers):
            yield f"  - {_escape(target.label)}: {answer}"


def table(report: Report) -> str:
    """Return the inputs as a Markdown table, aligned for terminals."""
    labels = [_escape(target.label) for target in report.targets]
    head = ["input", *labels, *(f"{label} time" for label in labels)]
    rows = [head, *(_cells(row) for row in report.rows)]
    widths = [max(map(cell_len, column)) for column in zip(*rows)]
    times = 1 + len(labels)  # the first right-aligned column
    rows.insert(1, ["-" * (w - 1) + ("-" if i < times else ":") for i, w in enumerate(widths)])
    lines = []
    for row in rows:
        cells = [set_cell_size(cell, width) for cell, width in zip(row[:times], widths)]
        cells += [cell.rjust(width) for cell, width in zip(row[times:], widths[times:])]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def summary(answer: TimedAnswer, *, whole: bool = False) -> str:
    """Return an answer as Markdown: classes, an error, or JSON; shortened unless `whole`."""
    text = f"{answer.status}"
    if answer.error:
        text += f" {answer.error.get('code')}"
        text += f": {answer.error.get('message')}" if whole else ""
    elif isinstance(answer.value, list) and not whole:
        text += f", {len(answer.value)} answers"
    elif classes := classes_of(answer.value)[: None if whole else 1]:
        text = "" if whole else f"{text} "
        text += ", ".join(f"{label} {prob[:6]}" for label, prob in classes)
    else:
        value = json.dumps(answer.value, ensure_ascii=False)
        text = value if whole else f"{text} {value}"
    return _cut(text, _LINE if whole else _CELL)


def _cells(row: Row) -> list[str]:
    """Return the first answer, the relation of each other answer to it, and the times."""
    others = [_related(answer, d) for answer, d in zip(row.answers[1:], row.differences)]
    times = [f"{answer.median_ms:.1f} ms" for answer in row.answers]
    return [_cut(row.item.name, _CELL), summary(row.answers[0]), *others, *times]


def _related(answer: TimedAnswer, difference: Difference) -> str:
    if difference.exact:
        return "the same bytes"
    text = summary(answer)
    if difference.same:
        by = f"within {difference.largest:.1e}" if difference.largest else "in other words"
        return f"{text}, {by}"
    more = len(difference.places) - 1
    place = _escape(difference.places[0])
    return f"NO: {text}: {place}" + (f", {more} more" if more else "")


def _cut(text: str, longest: int) -> str:
    return _escape(text if len(text) <= longest else f"{text[: longest - 1]}…")


def _escape(text: str) -> str:
    """Escape what would end a cell, or become HTML where the table is pasted."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return plain.replace("|", "\\|").replace("<", "&lt;")

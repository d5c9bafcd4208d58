"""A finished comparison as text to paste into a pull request, and as JSON. No I/O here."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len

from ops.answers import classes_of
from ops.findings import Finding, State, exit_status
from ops.parity.comparing import Difference, Heard
from ops.parity.conclusions import Row
from ops.parity.facts import Facts

_MOST = 60  # characters of a cell


@dataclass(frozen=True)
class Report:
    sides: Sequence[Facts]
    rows: Sequence[Row]
    checks: Mapping[str, Finding]
    tolerance: float
    on: str
    """The day."""

    @property
    def status(self) -> int:
        """Of `ops.findings`: 0 the same, 1 a skew, 2 it cannot be told."""
        return exit_status(self.checks.values())

    @property
    def skews(self) -> list[str]:
        """The checks that found one."""
        return [name for name, found in self.checks.items() if found.state is State.FAILS]

    @property
    def title(self) -> str:
        return f"Parity of {' and '.join(side.name for side in self.sides)}"

    @property
    def verdict(self) -> str:
        inputs = f"{len(self.rows)} input{'' if len(self.rows) == 1 else 's'}"
        if self.status == 1:
            return f"Skew: {', '.join(self.skews)}."
        if self.status == 2:
            untold = [n for n, found in self.checks.items() if found.state is State.UNKNOWN]
            return f"Could not tell: {', '.join(untold)}."
        return f"The same: {inputs}, {' and '.join(side.label for side in self.sides)}."

    def as_json(self) -> dict[str, Any]:
        return {
            "same": {0: True, 1: False, 2: None}[self.status],
            "skews": self.skews,
            "tolerance": self.tolerance,
            "targets": [side.as_json() for side in self.sides],
            "checks": [
                {"check": name, "state": f.state.name.lower(), "says": f.says, "fix": f.fix}
                for name, f in self.checks.items()
            ],
            "inputs": [self._row_as_json(row) for row in self.rows],
        }

    def _row_as_json(self, row: Row) -> dict[str, Any]:
        answers = [
            {
                "target": side.label,
                "status": heard.status,
                "sha256": heard.sha256,
                "answer": heard.value,
                "milliseconds": heard.milliseconds,
                "median_milliseconds": heard.median_ms,
            }
            for side, heard in zip(self.sides, row.heard)
        ]
        compared = [
            {
                "target": side.label,
                "identical": difference.exact,
                "same": difference.same,
                "largest_difference": _finite(difference.largest),
                "places": difference.places,
            }
            for side, difference in zip(self.sides[1:], row.differences)
        ]
        return {"input": row.picture.name, "answers": answers, "differences": compared}


def lines_of(finding: Finding, name: str) -> str:
    """One item of a Markdown list, and its fix on a line below."""
    item = f"- {finding.state.value} {name}: {_escaped(finding.says)}"
    return item + (f"\n  fix: {finding.fix}" if finding.fix else "")


def table(report: Report) -> str:
    """The inputs as a Markdown table, aligned so that a terminal shows it as well."""
    labels = [_escaped(side.label) for side in report.sides]
    head = ["input", *labels, *(f"{label} time" for label in labels)]
    rows = [head, *(_cells(row) for row in report.rows)]
    widths = [max(cell_len(row[column]) for row in rows) for column in range(len(head))]
    numbers = len(head) - len(labels)  # the first column that is set to the right
    rule = ["-" * (w - 1) + (":" if i >= numbers else "-") for i, w in enumerate(widths)]
    lines = []
    for row in [head, rule, *rows[1:]]:
        cells = []
        for index, (cell, width) in enumerate(zip(row, widths)):
            space = " " * (width - cell_len(cell))
            cells.append(space + cell if index >= numbers else cell + space)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def summary(heard: Heard) -> str:
    """An answer in a few words: the best class, an error's code, or its beginning."""
    value = heard.value
    if heard.error:
        return f"{heard.status} {heard.error.get('code')}"
    if isinstance(value, list):
        return f"{heard.status}, {len(value)} answers"
    best = classes_of(value)[:1]
    return f"{heard.status} {best[0][0]} {best[0][1][:6]}" if best else f"{heard.status} {value}"


def _cells(row: Row) -> list[str]:
    """The first target's answer in words, and how each other's is related to it."""
    others = [_related(heard, d) for heard, d in zip(row.heard[1:], row.differences)]
    answers = [_cell(row.picture.name), _cell(summary(row.heard[0])), *others]
    return [*answers, *(f"{heard.median_ms:.1f} ms" for heard in row.heard)]


def _related(heard: Heard, difference: Difference) -> str:
    if difference.exact:
        return "the same bytes"
    answer = _cell(summary(heard))
    if difference.same:
        by = f"within {difference.largest:.1e}" if difference.largest else "in other words"
        return f"{answer}, {by}"
    more = len(difference.places) - 1
    place = _escaped(difference.places[0])
    return f"NO: {answer}: {place}" + (f", {more} more" if more else "")


def _cell(text: str) -> str:
    return _escaped(text if len(text) <= _MOST else f"{text[: _MOST - 1]}…")


def _escaped(text: str) -> str:
    """What an answer says must neither end a cell nor become HTML on the page it is pasted into."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return plain.replace("|", "\\|").replace("<", "&lt;")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

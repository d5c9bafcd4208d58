"""Render a comparison as one self-contained HTML file.

Text from targets, files and URIs is escaped, and the page's Content-Security-Policy allows neither
scripts nor addresses, so that a hostile label does nothing in a reviewer's browser.
"""

import base64
import json
from collections.abc import Iterator
from html import escape
from itertools import zip_longest
from pathlib import Path
from string import Template
from typing import Any

from ops.answers import classes_of, error_of
from ops.findings import Finding
from ops.inputs import picture_of
from ops.parity.checks import Row
from ops.parity.report import Report

TEMPLATE = Path(__file__).with_name("page.html")
MAX_IMAGES_BYTES = 16 * 1024 * 1024  # for all thumbnails, so that the page can be emailed
# The targets' colours in the plot, which colour-blind readers can tell apart (Okabe and Ito).
COLOURS = ("#0072b2", "#d55e00", "#009e73")
_MAX_CHARACTERS = 2000  # the longest answer shown as JSON
_MAX_RECORDS = 10  # the most records shown of a batch


def render(report: Report) -> str:
    left, rows = MAX_IMAGES_BYTES, []
    for row in report.rows:
        image = picture_of(row.item)
        if image and len(image[1]) > left:
            image = None
        left -= len(image[1]) if image else 0
        rows.append(_row(report, row, image))
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(report.title),
        status=report.status,
        verdict=escape(report.verdict),
        day=escape(report.day),
        tolerance=f"{report.tolerance:g}",
        checks="".join(_check(name, finding) for name, finding in report.checks.items()),
        plot="".join(_plot(report)),
        rows="".join(rows),
    )


def _check(name: str, finding: Finding) -> str:
    fix = f'<br><span class="quiet">{escape(finding.fix)}</span>' if finding.fix else ""
    return (
        f'<tr class="{finding.state.name.lower()}"><td class="mark">{finding.state.value}</td>'
        f"<th>{escape(name)}</th><td>{escape(finding.says)}{fix}</td></tr>"
    )


def _plot(report: Report) -> Iterator[str]:
    """Yield table rows: a legend, and for each input its calls as dots and medians as bars."""
    longest = max(max(answer.milliseconds) for row in report.rows for answer in row.answers)
    names = "".join(
        f'<span style="color:{COLOURS[index % 3]}">&#9679; {escape(target.label)}</span>'
        for index, target in enumerate(report.targets)
    )
    yield f'<tr><th></th><td>{names}<span class="end">0 to {longest:g} ms</span></td></tr>'
    for row in report.rows:
        marks = []
        for index, answer in enumerate(row.answers):
            y, fill = 8 + 10 * index, f'fill="{COLOURS[index % 3]}"'
            dot = f'cy="{y}" r="2.4" {fill} fill-opacity="0.45"/>'
            marks += [f'<circle cx="{_percent(ms, longest)}" {dot}' for ms in answer.milliseconds]
            x = _percent(answer.median_ms, longest)
            marks.append(f'<rect x="{x}" y="{y - 4}" width="3" height="9" {fill}/>')
        svg = f'<svg height="{6 + 10 * len(row.answers)}">{"".join(marks)}</svg>'
        yield f"<tr><th>{escape(row.item.name)}</th><td>{svg}</td></tr>"


def _row(report: Report, row: Row, image: tuple[str, bytes] | None) -> str:
    thumbnail = '<div class="thumbnail none">no picture</div>'
    if image:
        source = f"data:{image[0]};base64,{base64.b64encode(image[1]).decode()}"
        thumbnail = f'<img class="thumbnail" alt="" src="{source}">'
    state = "identical" if row.exact else ("within tolerance" if row.same else "differs")
    answers = "".join(
        f"<div><h4>{escape(target.label)} <span class='quiet'>{answer.status}, "
        f"{answer.median_ms:.1f} ms</span></h4>"
        f"{_answer(answer.value, row.answers[0].value)}</div>"
        for target, answer in zip(report.targets, row.answers)
    )
    places = "".join(f"<li>{escape(place)}</li>" for d in row.differences for place in d.places)
    kind = f"{escape(row.item.content_type)}, {len(row.item.body):,} bytes"
    return (
        f'<article class="{"ok" if row.same else "fails"}">{thumbnail}<div class="told">'
        f"<h3>{escape(row.item.name)} <span class='badge'>{state}</span></h3>"
        f'<p class="quiet">{kind}</p><div class="answers">{answers}</div>'
        + (f"<ul>{places}</ul>" if places else "")
        + "</div></article>"
    )


def _answer(value: Any, first: Any) -> str:
    """Render classes with bars, an error, a batch of these, or other JSON."""
    if isinstance(value, list):
        others = first if isinstance(first, list) else []
        pairs = list(zip_longest(value, others[: len(value)]))[:_MAX_RECORDS]
        return f"<ol>{''.join(f'<li>{_answer(one, other)}</li>' for one, other in pairs)}</ol>"
    if error := error_of(value):
        code, message = escape(str(error.get("code", ""))), escape(str(error.get("message", "")))
        return f"<p class='status'><b>{code}</b><br>{message}</p>"
    if not (classes := classes_of(value)):
        text = json.dumps(value, indent=1, ensure_ascii=False)
        return f"<pre>{escape(text[:_MAX_CHARACTERS])}</pre>"
    rows = []
    for (label, prob), other in zip_longest(classes, classes_of(first)[: len(classes)]):
        changed = "" if (label, prob) == other else ' class="changed"'
        rows.append(
            f"<tr{changed}><td>{escape(label)}</td><td class='number'>{escape(prob)}</td>"
            f"<td><div class='bar' style='width:{_percent(prob)}'></div></td></tr>"
        )
    return f"<table class='classes'>{''.join(rows)}</table>"


def _percent(value: str | float, whole: float = 1.0) -> str:
    try:
        share = float(value) / (whole or 1)
    except ValueError:
        share = 0.0
    return f"{100 * share if 0 <= share <= 1 else 0:.1f}%"

"""A finished comparison as one page that needs nothing beside it. No I/O here.

What targets, files and URIs say is escaped, and the page's own policy lets no script and no
address load, so that a hostile label can do nothing in a reviewer's browser.
"""

import base64
import json
from html import escape
from itertools import zip_longest
from string import Template
from typing import Any

from ops.answers import classes_of
from ops.findings import Finding
from ops.parity import inputs, plot
from ops.parity.conclusions import Row
from ops.parity.report import Report
from ops.parity.style import STYLE

# Larger ones have no thumbnail: a page that nobody can mail is of no use.
_IMAGES_BYTES = 16 * 1024 * 1024
_LONGEST = 2000  # characters of an answer that is shown as it is
_MOST_RECORDS = 10  # of a batch
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_PAGE = Template("""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="$policy">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$style</style>
<header>
<h1>$title</h1>
<p class="verdict s$status">$verdict</p>
<p class="quiet">$on &middot; tolerance of a probability: $tolerance</p>
</header>
<section><h2>Checks</h2><table class="checks">$checks</table></section>
<section><h2>Latency</h2>
<p class="quiet">Every call as a dot, medians as bars; as seen from where the comparison ran.</p>
$plot</section>
<section><h2>Answers</h2>$rows</section>
</html>
""")


def of(report: Report) -> str:
    left = _IMAGES_BYTES
    rows = []
    for row in report.rows:
        image = inputs.shown(row.picture)
        if image and len(image[1]) <= left:
            left -= len(image[1])
        else:
            image = None
        rows.append(_row(report, row, image))
    return _PAGE.substitute(
        policy=_POLICY,
        style=STYLE,
        title=escape(report.title),
        status=report.status,
        verdict=escape(report.verdict),
        on=escape(report.on),
        tolerance=f"{report.tolerance:g}",
        checks="".join(_check(name, finding) for name, finding in report.checks.items()),
        plot=plot.latencies(report),
        rows="".join(rows),
    )


def _check(name: str, finding: Finding) -> str:
    fix = f'<br><span class="quiet">{escape(finding.fix)}</span>' if finding.fix else ""
    return (
        f'<tr class="{finding.state.name.lower()}"><td class="mark">{finding.state.value}</td>'
        f"<th>{escape(name)}</th><td>{escape(finding.says)}{fix}</td></tr>"
    )


def _row(report: Report, row: Row, image: tuple[str, bytes] | None) -> str:
    thumbnail = '<div class="thumbnail none">no picture</div>'
    if image:
        source = f"data:{image[0]};base64,{base64.b64encode(image[1]).decode()}"
        thumbnail = f'<img class="thumbnail" alt="" src="{source}">'
    exact = all(difference.exact for difference in row.differences)
    state = "identical" if exact else ("within tolerance" if row.same else "differs")
    answers = "".join(
        f"<div><h4>{escape(side.label)} <span class='quiet'>{heard.status}, "
        f"{heard.median_ms:.1f} ms</span></h4>"
        f"{_answer(heard.value, row.heard[0].value)}</div>"
        for side, heard in zip(report.sides, row.heard)
    )
    places = "".join(f"<li>{escape(place)}</li>" for d in row.differences for place in d.places)
    kind = f"{escape(row.picture.content_type)}, {len(row.picture.body):,} bytes"
    return (
        f'<article class="{"ok" if row.same else "fails"}">{thumbnail}<div class="told">'
        f"<h3>{escape(row.picture.name)} <span class='badge'>{state}</span></h3>"
        f'<p class="quiet">{kind}</p><div class="answers">{answers}</div>'
        + (f"<ul>{places}</ul>" if places else "")
        + "</div></article>"
    )


def _answer(value: Any, first: Any) -> str:
    """The classes with a bar each, an error, a batch of these, or other JSON as it is."""
    if isinstance(value, list):
        others = first if isinstance(first, list) else []
        pairs = list(zip_longest(value, others[: len(value)]))[:_MOST_RECORDS]
        return f"<ol>{''.join(f'<li>{_answer(one, other)}</li>' for one, other in pairs)}</ol>"
    error = value.get("error") if isinstance(value, dict) else None
    if isinstance(error, dict):
        code, message = error.get("code", ""), error.get("message", "")
        return f"<p class='status'><b>{escape(str(code))}</b><br>{escape(str(message))}</p>"
    if not (found := classes_of(value)):
        text = json.dumps(value, indent=1, ensure_ascii=False)
        return f"<pre>{escape(text[:_LONGEST])}</pre>"
    rows = []
    for (label, prob), other in zip_longest(found, classes_of(first)[: len(found)]):
        changed = "" if (label, prob) == other else ' class="changed"'
        rows.append(
            f"<tr{changed}><td>{escape(label)}</td><td class='number'>{escape(prob)}</td>"
            f"<td><div class='bar' style='width:{_share(prob):.1f}%'></div></td></tr>"
        )
    return f"<table class='classes'>{''.join(rows)}</table>"


def _share(prob: str) -> float:
    """Per cent; of what is no probability, none."""
    try:
        value = float(prob)
    except ValueError:
        return 0.0
    return 100 * value if 0 <= value <= 1 else 0.0

"""The table at a run's end."""

from rich.console import Console
from rich.table import Table

from soak.overload import Run
from soak.tally import percentiles


def table(run: Run) -> str:
    tally = run.tally
    served, refused = percentiles(tally.served_seconds), percentiles(tally.refused_seconds)
    second, last = tally.quarters()
    rows = [
        (
            "offered",
            f"{run.per_second * run.setting.times:,.0f} a second, "
            f"{run.setting.times:g} times {run.per_second:.0f}, for {run.setting.seconds:g} s",
        ),
        ("asked", f"{tally.asked:,} ({tally.unsent:,} more found no free client)"),
        ("served, right to the byte", f"{tally.served.total():,}"),
        ("refused: 503 with Retry-After", f"{tally.refused.total():,}"),
        ("fetches that our upstream answered too late", f"{tally.late.total():,}"),
        ("no connection in time", f"{tally.unopened.total():,}"),
        ("wrong", f"{tally.wrongs:,}"),
        ("p50, p99 of what was served", f"{served[0]:.2f} s, {served[1]:.2f} s"),
        ("p50, p99 of a refusal", f"{refused[0]:.2f} s, {refused[1]:.2f} s"),
        ("pings, the slowest", f"{len(tally.pings):,}, {tally.worst_ping:.3f} s"),
        ("memory, second and last quarter", f"{second.pss_mb:.0f} MB, {last.pss_mb:.0f} MB"),
        (
            "descriptors, idle before and after",
            f"{run.before.descriptors}, {run.after.descriptors}",
        ),
        ("threads, idle before and after", f"{run.before.threads}, {run.after.threads}"),
    ]
    rows += [(f"slow: {name}", f"{number:,}") for name, number in sorted(tally.slow.items())]
    found = Table(show_header=False)
    for row in rows:
        found.add_row(*row)
    kinds = Table("kind", "served", "refused")
    for name in sorted({*tally.served, *tally.refused}):
        kinds.add_row(name, f"{tally.served[name]:,}", f"{tally.refused[name]:,}")
    console = Console(width=120)
    with console.capture() as captured:
        console.print(kinds)
        console.print(found)
    return captured.get()

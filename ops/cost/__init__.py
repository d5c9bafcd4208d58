"""`python -m ops cost`: find the target that serves this traffic for the least money.

In reading order: `prices`, `traffic` and `workload` hold what is known, `targets` price it,
`estimate` compares and advises, `report` and `plot` show. `measure` and `observe` find out what a
request uses.
"""


class CostError(Exception):
    """End the command with one line that says what is wrong and what to do."""

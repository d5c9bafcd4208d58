"""`python -m ops cost`: find the cheapest target for this traffic.

`workload` and `prices` describe the inputs, `targets` and `one_url` price them, `estimate` compares
and advises, `report` presents. `measure` and `observe` find out what a request uses.
"""


class CostError(Exception):
    """End the command with this message, one line that says what to do."""

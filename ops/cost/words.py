"""Figures as a reader wants them."""

import math


def usd(amount: float) -> str:
    """Money, with the cents while they matter; a dash for what cannot be had."""
    if math.isinf(amount):
        return "-"
    return f"${amount:,.0f}" if amount >= 10_000 else f"${amount:,.2f}"


def count(requests: float) -> str:
    """Requests: 850 thousand, 2.5 million, 1.3 billion."""
    for size, unit in ((1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if requests >= size:
            return f"{requests / size:,.3g} {unit}"
    return f"{requests:,.0f}"


def rounded(number: float) -> str:
    """Two digits, or all before the point."""
    return f"{number:,.0f}" if number >= 9.95 else f"{number:#.2g}"

"""`python -m ops cost`: which target serves this traffic for the least money.

`arithmetic` is pure; `targets` gives each target its curve over traffic, and `break_evens` finds
where they cross. `explicit`, `observed` and `measured` find out what a request takes.
"""

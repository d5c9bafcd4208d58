"""Operator tools: `python -m ops COMMAND`."""

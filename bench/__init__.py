"""Benchmarks: what the server costs, and how it stands against its peers."""

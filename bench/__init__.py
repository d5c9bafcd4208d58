"""Benchmarks of the server alone and of the server against its peers."""

"""Requests that nobody wrote: garbage, mutations, and what the described contract allows."""

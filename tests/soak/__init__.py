"""Load far beyond the server's capacity, faults, and a search for leaks."""

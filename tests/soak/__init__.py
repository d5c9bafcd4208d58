"""Load far beyond what the server can take, faults, and whether anything is left behind."""

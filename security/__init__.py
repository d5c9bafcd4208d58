"""Known vulnerabilities of what is locked: `python -m security`, which is `make audit`."""

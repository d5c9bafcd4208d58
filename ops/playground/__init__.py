"""A page on this machine that asks both targets the same question and compares their answers."""

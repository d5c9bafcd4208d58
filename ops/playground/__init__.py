"""A local page that sends a request to two targets and compares their answers."""

"""Test the HTTP server as a process, over real sockets."""

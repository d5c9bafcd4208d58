"""The HTTP server as processes, asked over real sockets."""

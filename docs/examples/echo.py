"""A server of one's own: every line comes back in upper case, each client in a thread."""

import contextlib

from framework import StreamRequestHandler, ThreadingTCPServer


class Upper(StreamRequestHandler):
    """One conversation, in straight-line Python."""

    def handle(self) -> None:
        """Answer each line until the client has no more."""
        for line in self.rfile:
            self.wfile.write(line.upper())


class UpperServer(ThreadingTCPServer):
    """Where the requests come from, and what runs them."""

    allow_reuse_address = True
    daemon_threads = True


with UpperServer(("127.0.0.1", 0), Upper) as server, contextlib.suppress(KeyboardInterrupt):
    print(f"try: nc 127.0.0.1 {server.server_address[1]}", flush=True)
    server.serve_forever()

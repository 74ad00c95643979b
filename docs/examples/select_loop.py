"""Two servers of different kinds in a loop of one's own: a server is a file that select() can watch."""

import contextlib
import select
import time

from framework import DatagramRequestHandler, StreamRequestHandler, TCPServer, UDPServer


class Greeting(StreamRequestHandler):
    """Says hello over TCP."""

    def handle(self) -> None:
        """Greet whoever tells a name."""
        name = self.rfile.readline(64).strip()
        self.wfile.write(b"hello, " + name + b"\n")


class Clock(DatagramRequestHandler):
    """Tells the time over UDP."""

    def handle(self) -> None:
        """Answer any datagram with the seconds since 1970."""
        self.wfile.write(b"%d" % time.time())


greeting, clock = TCPServer(("127.0.0.1", 0), Greeting), UDPServer(("127.0.0.1", 0), Clock)
with greeting, clock, contextlib.suppress(KeyboardInterrupt):
    print(f"try: nc 127.0.0.1 {greeting.server_address[1]}", flush=True)
    print(f"try: nc -u 127.0.0.1 {clock.server_address[1]}", flush=True)
    while True:
        for server in select.select([greeting, clock], [], [])[0]:
            server.handle_request()

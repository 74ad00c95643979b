"""Prints the datagrams that come in by UDP, or at a Unix path if one is given."""

import socketserver
import sys

import framework

assert framework.UDPServer in socketserver.UnixDatagramServer.__mro__


class Sink(socketserver.DatagramRequestHandler):
    """Prints one datagram."""

    def handle(self) -> None:
        """Print it."""
        print(self.rfile.read(), flush=True)

    def finish(self) -> None:
        """Send nothing back: nobody listens."""


if __name__ == "__main__":
    server: socketserver.UDPServer
    if sys.argv[1:]:
        server = socketserver.ThreadingUnixDatagramServer(sys.argv[1], Sink)
        print("127.0.0.1:0", flush=True)
    else:
        server = socketserver.ThreadingUDPServer(("127.0.0.1", 0), Sink)
        print(f"127.0.0.1:{server.server_address[1]}", flush=True)
    with server:
        for _ in range(3):
            server.handle_request()
    print("ended")

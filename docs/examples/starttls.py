"""A line protocol with STARTTLS: it begins in plain, and gives away its secret over TLS only."""

import sys

from framework import StreamRequestHandler, TCPServer, ThreadingMixIn, TLSConnection, TLSMixIn, at, serve


class Secret(StreamRequestHandler["SecretServer"]):
    """One conversation."""

    def handle(self) -> None:
        """Answer commands until the client has no more."""
        assert isinstance(self.request, TLSConnection)
        for line in self.rfile:
            match line.strip().upper():
                case b"STARTTLS" if self.request.version() is None:
                    self.wfile.write(b"220 go ahead\r\n")
                    self.request.start_tls(self.server.ssl_context)
                case b"TELL" if self.request.version():
                    self.wfile.write(b"250 xyzzy\r\n")
                case _:
                    self.wfile.write(b"530 say STARTTLS, then TELL\r\n")


class SecretServer(TLSMixIn, ThreadingMixIn, TCPServer):
    """Leaves the handshake to the handler."""

    certfile = sys.argv[1]  # SIGHUP reads it anew
    implicit_tls = False


server = SecretServer(at("tcp://127.0.0.1:0"), Secret)
print("listening on port", server.server_address[1], flush=True)
raise SystemExit(serve(server))

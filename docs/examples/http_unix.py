"""HTTP on a Unix socket, for one user's processes; try: curl --unix-socket status.sock http://status/."""

import os
from http.server import BaseHTTPRequestHandler
from typing import Any

from framework import PeerCredentials, ServiceMixIn, ThreadingMixIn, UnixStreamServer, at, serve


class Status(BaseHTTPRequestHandler):
    """Answers every GET."""

    def do_GET(self) -> None:
        """Say who asks."""
        body = f"hello, process {PeerCredentials.of(self.connection).pid}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        """Return the client as it is logged: it has no host."""
        return repr(self.client_address)


class StatusServer(ServiceMixIn, ThreadingMixIn, UnixStreamServer):
    """Lets in the user who runs it, and nobody else."""

    def verify_request(self, request: Any, client_address: object) -> bool:
        """Look at the user, by the word of the kernel."""
        return PeerCredentials.of(request).uid == os.getuid()


handler: Any = Status  # of typeshed's socketserver, to a checker
raise SystemExit(serve(StatusServer(at("unix:./status.sock"), handler)))

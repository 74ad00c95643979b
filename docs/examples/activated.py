"""A service whose socket systemd opens: the first client starts it, and a restart refuses nobody."""

from framework import StreamRequestHandler, ThreadingTCPService, at, serve


class Echo(StreamRequestHandler):
    """Sends every line back."""

    def handle(self) -> None:
        """Answer each line until the client has no more."""
        for line in self.rfile:
            self.wfile.write(line)


raise SystemExit(serve(ThreadingTCPService(at("systemd:echo"), Echo)))

"""A threading server in a program patched by gevent, `before` or `after` the import of the framework."""

import sys
from typing import TYPE_CHECKING

from gevent import monkey

if TYPE_CHECKING or sys.argv[1] == "after":
    import framework

    monkey.patch_all()
else:
    monkey.patch_all()
    import framework

import socket
import threading

import gevent

CLIENTS = 20


class Handler(framework.StreamRequestHandler):
    """Sends lines back, once all clients are connected."""

    everybody = threading.Barrier(CLIENTS)

    def handle(self) -> None:
        """Serve one client side by side with all others."""
        self.everybody.wait()
        for line in self.rfile:
            self.wfile.write(line)


def talk(address: tuple[str, int]) -> bytes:
    """Exchange a line."""
    with socket.create_connection(address) as client:
        client.sendall(b"a line\n")
        return client.recv(100)


def main() -> None:
    """Serve, be talked to, and shut down, all of it in greenlets of one thread."""
    for _ in range(2):
        with framework.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
            server.request_queue_size = CLIENTS
            server.server_activate()
            serving = threading.Thread(target=server.serve_forever)
            serving.start()
            clients = [gevent.spawn(talk, server.server_address) for _ in range(CLIENTS)]
            gevent.joinall(clients, raise_error=True)
            assert {client.value for client in clients} == {b"a line\n"}
            server.shutdown()
            serving.join()
    print("ended")


if __name__ == "__main__":
    main()

"""The servers, each in a process of its own: `python -m benchmarks.peers PEER TASK FOLDER`.

The process prints its server's address, and for each line on its stdin the CPU seconds used so far. It ends when stdin
does.
"""

import importlib
import json
import resource
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

Address: TypeAlias = tuple[str, int] | str

ANYWHERE = ("127.0.0.1", 0)

# Both have the same classes: the original is what every other row is compared to.
LETTER = ("socketserver", "framework")

# task -> server class and handler class, by the names of the letter
CLASSES = {
    "tcp-threads": ("ThreadingTCPServer", "line"),
    "unix-inline": ("UnixStreamServer", "line"),
    "kept-threads": ("ThreadingTCPServer", "lines"),
    "udp-inline": ("UDPServer", "packet"),
    "unix-datagrams": ("UnixDatagramServer", "sink"),
    "tcp-forks": ("ForkingTCPServer", "line"),
}


def handlers(module: Any) -> dict[str, Any]:
    """Define the handlers on top of the module's."""

    class Line(module.StreamRequestHandler):  # type: ignore[misc]
        """Sends one line back."""

        def handle(self) -> None:
            self.wfile.write(self.rfile.readline())

    class Lines(module.StreamRequestHandler):  # type: ignore[misc]
        """Sends each line back."""

        def handle(self) -> None:
            for line in self.rfile:
                self.wfile.write(line)

    class Packet(module.DatagramRequestHandler):  # type: ignore[misc]
        """Sends a datagram back."""

        def handle(self) -> None:
            self.wfile.write(self.packet)

    class Sink(module.BaseRequestHandler):  # type: ignore[misc]
        """Takes a datagram, and answers only the one that asks whether all have come."""

        def handle(self) -> None:
            data, socket = self.request
            if data == b"all?\n":
                socket.sendto(data, self.client_address)

    return {"line": Line, "lines": Lines, "packet": Packet, "sink": Sink}


def serve_letter(module: str, task: str, folder: str, announce: Callable[[Address], None]) -> None:
    """Serve a task by the classes of either module."""
    classes: Any = importlib.import_module(module)
    server_class, handler = CLASSES[task]
    address: Address = str(Path(folder) / "server") if "Unix" in server_class else ANYWHERE
    with getattr(classes, server_class)(address, handlers(classes)[handler]) as server:
        # Closing must not wait for the clients.
        server.block_on_close = False
        announce(server.server_address)
        server.serve_forever()


def cpu() -> float:
    """Return the CPU seconds of this process and of its children that have ended."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def main() -> None:
    """Serve in a thread that ends with the process, and answer on stdin."""
    peer, task, folder = sys.argv[1:]

    def announce(address: Address) -> None:
        print(json.dumps(address), flush=True)

    threading.Thread(target=serve_letter, args=(peer, task, folder, announce), daemon=True).start()
    for _ in sys.stdin:
        print(cpu(), flush=True)


if __name__ == "__main__":
    main()

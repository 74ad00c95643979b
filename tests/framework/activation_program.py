"""The program that the tests of ``serve()`` start, stop and restart: four servers of different kinds, and what ``TEST_MORE`` names.

Usage: ``activation_program.py FOLDER``. It reads from FOLDER what it is to do wrong, if anything, and says on its
standard output what has become of its connections.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from framework import (
    DatagramRequestHandler,
    PreforkMixIn,
    StreamRequestHandler,
    TCPServer,
    ThreadingMixIn,
    ThreadPoolMixIn,
    UDPServer,
    UnixDatagramServer,
    UnixStreamServer,
    activation,
    requests,
    service,
)
from framework.activation import serve
from framework.addresses import at
from framework.events import ConnectionOpened
from framework.observers import Observer
from framework.processes import ForkingMixIn
from framework.service import ServiceMixIn
from framework.tls import TLSMixIn

FOLDER = Path(sys.argv[1])


class Counts(Observer):
    """Counts what was accepted, and what was answered."""

    opened = 0
    answered = 0
    guard = threading.Lock()

    def connection_opened(self, event: ConnectionOpened) -> None:
        """Count."""
        with Counts.guard:
            Counts.opened += 1


class Answer(StreamRequestHandler):
    """Answers each line by the process that serves it, and the line."""

    def handle(self) -> None:
        """Answer; ``hang`` waits in the middle of it, until somebody writes to the named pipe."""
        for line in self.rfile:
            told = line
            if line == b"hang\n":
                self.wfile.write(b"hanging\n")
                told = (FOLDER / "pipe").read_bytes()
            elif line == b"signals\n":
                told = f"{signal.getsignal(signal.SIGTERM)!r} {signal.set_wakeup_fd(-1)}\n".encode()
            self.wfile.write(b"%d %s" % (os.getpid(), told))
            with Counts.guard:
                Counts.answered += 1


class DatagramAnswer(DatagramRequestHandler):
    """Answers each datagram by the process that serves it, and the datagram."""

    def handle(self) -> None:
        """Answer."""
        self.wfile.write(b"%d %s" % (os.getpid(), self.packet))


class Fatal(BaseException):
    """What no server survives."""


class Service(ServiceMixIn[Any, Any]):
    """What the four have in common."""

    observers = (*ServiceMixIn.observers, Counts)

    def reload(self) -> None:
        """Say so."""
        print("reload", type(self).__name__, flush=True)
        if (FOLDER / "bad-reload").exists() and isinstance(self, Lines):
            raise ValueError("bad settings")

    def service_actions(self) -> None:
        """End the loop if asked to, by what is no mere failure of an action."""
        super().service_actions()
        if (FOLDER / "fail").exists() and isinstance(self, Lines):
            raise Fatal("asked to")


class Lines(Service, ThreadingMixIn, TCPServer[Any, Any]):
    """Connections over TCP, in threads."""


class Local(Service, UnixStreamServer):
    """Connections over a Unix socket, one after the other."""


class Datagrams(Service, UDPServer[Any]):
    """Datagrams over UDP."""


class LocalDatagrams(Service, UnixDatagramServer):
    """Datagrams over a Unix socket."""


class Forking(Service, ForkingMixIn, UnixStreamServer):
    """Connections in processes."""


class Prefork(PreforkMixIn, Service, ThreadingMixIn, TCPServer[Any, Any]):
    """Connections in threads of two worker processes, which share the socket."""

    workers = 2


class PreforkDatagrams(PreforkMixIn, Service, UDPServer[Any]):
    """Datagrams in three worker processes, each with a socket of its own."""

    workers = 3


class Pool(ThreadPoolMixIn, Service, TCPServer[Any, Any]):
    """Connections in a pool of threads."""


def greenlets() -> type[ServiceMixIn[Any, Any]]:
    """Return a server of connections in greenlets, for which there is a package more to import."""
    from framework.greenlets import GreenletMixIn

    class Greenlets(GreenletMixIn, Service, TCPServer[Any, Any]):
        pass

    return Greenlets


class Secure(TLSMixIn, Service, ThreadingMixIn, TCPServer[Any, Any]):
    """Connections over TLS, in threads."""

    certfile = FOLDER / "certificate.pem"


MORE: dict[str, tuple[Callable[[], type[ServiceMixIn[Any, Any]]], str]] = {
    "Forking": (lambda: Forking, f"unix://{FOLDER}/forking.sock"),
    "Prefork": (lambda: Prefork, "tcp://127.0.0.1:0"),
    "PreforkDatagrams": (lambda: PreforkDatagrams, "udp://127.0.0.1:0"),
    "Pool": (lambda: Pool, "tcp://127.0.0.2:0"),
    "Greenlets": (greenlets, "tcp://127.0.0.3:0"),
    "Secure": (lambda: Secure, "tcp://127.0.0.4:0"),
}


def main() -> int:
    """Serve."""
    logging.basicConfig(level=logging.INFO, format="%(process)d %(levelname)s %(message)s")
    if (FOLDER / "die").exists():
        return 3
    servers: list[ServiceMixIn[Any, Any]] = [
        Lines(at(os.environ.get("TEST_LINES", "tcp://127.0.0.1:0")), Answer),
        Local(at(f"unix://{FOLDER}/stream.sock"), Answer),
        Datagrams(at("udp://127.0.0.1:0"), DatagramAnswer),
        LocalDatagrams(at(f"unixgram://{FOLDER}/datagram.sock"), DatagramAnswer),
    ]
    for name in os.environ.get("TEST_MORE", "").split():
        find, where = MORE[name]
        kind = find()
        servers.append(kind(at(where), DatagramAnswer if issubclass(kind, UDPServer) else Answer))
    targets = [(server.server_address, server.socket.type) for server in servers]
    (FOLDER / "addresses").write_text(json.dumps(targets))
    if (FOLDER / "die-late").exists():
        return 4
    if (FOLDER / "no-start").exists():
        servers[-1].server_close()  # its loop will refuse to begin, while the others' run already
    if (FOLDER / "never").exists():
        threading.Event().wait()
    if (FOLDER / "impatient").exists():
        activation._START_SECONDS = 0.3
    if (FOLDER / "patient").exists():
        # On a busy machine a client's first request may come long after it has connected.
        for module in (requests, service):
            vars(module)["FRESH"] = 20.0
    status = serve(*servers)
    print(json.dumps({"opened": Counts.opened, "answered": Counts.answered}), flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())

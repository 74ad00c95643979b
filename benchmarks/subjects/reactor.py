"""Twisted's reactor."""

import importlib
from typing import Any

from benchmarks.subjects.job import Job, announce


def stream(job: Job) -> Any:
    """Return the protocol of a connection."""
    protocols: Any = importlib.import_module("twisted.internet.protocol")

    class Lines(protocols.Protocol):  # type: ignore[misc]
        rest = b""

        def connectionMade(self) -> None:  # noqa: N802
            if job.no_delay:
                self.transport.setTcpNoDelay(True)

        def dataReceived(self, data: bytes) -> None:  # noqa: N802
            if self.rest:
                data = self.rest + data
            *lines, self.rest = data.split(b"\n")
            self.transport.write(b"".join([line + b"\n" for line in lines]))

    class Line(Lines):
        def dataReceived(self, data: bytes) -> None:  # noqa: N802
            data = self.rest + data
            line, end, _ = data.partition(b"\n")
            if end:
                self.transport.write(line + end)
                self.transport.loseConnection()
            else:
                self.rest = data

    return Line if job.kind == "line" else Lines


def datagram(job: Job) -> Any:
    """Return the protocol of datagrams."""
    protocols: Any = importlib.import_module("twisted.internet.protocol")

    class Packet(protocols.DatagramProtocol):  # type: ignore[misc]
        def datagramReceived(self, data: bytes, address: Any) -> None:  # noqa: N802
            self.transport.write(data, address)

    class Sink(protocols.DatagramProtocol):  # type: ignore[misc]
        def datagramReceived(self, data: bytes, address: Any) -> None:  # noqa: N802
            pass

    return Packet() if job.kind == "packet" else Sink()


def serve(_name: str, job: Job) -> None:
    """Serve for ever."""
    reactor: Any = importlib.import_module("twisted.internet.reactor")
    protocols: Any = importlib.import_module("twisted.internet.protocol")
    if job.kind == "sink":
        # Of sockets made elsewhere it adopts UDP ones only.
        reactor.listenUNIXDatagram(job.path, datagram(job))
        announce(job.path)
    else:
        with job.socket() as served:
            if job.datagrams:
                reactor.adoptDatagramPort(served.fileno(), served.family, datagram(job))
            else:
                factory = protocols.Factory.forProtocol(stream(job))
                reactor.adoptStreamPort(served.fileno(), served.family, factory)
    reactor.run()

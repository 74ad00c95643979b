"""One batch of datagrams, one connection: read, parse, pass on."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from framework import BaseRequestHandler
from framework.connection import Connection
from servers.syslog.framing import Frames
from servers.syslog.protocol import parse
from servers.syslog.receiver import Datagram
from servers.syslog.record import NOBODY, Peer, Record

if TYPE_CHECKING:
    from servers.syslog.server import DatagramSinkServer, StreamSinkServer

__all__ = ["BatchHandler", "StreamHandler", "records_of"]

# Octets taken in by one read: some hundred messages.
_READ = 65536
# Reads of what came before the end was told, when the server ends; a sender that goes on is not followed for ever.
_LAST_READS = 64


# Any: the server classes say datagram and socket, for which these servers give something better.
class BatchHandler(BaseRequestHandler["DatagramSinkServer", Any, None]):
    """Serves the datagrams that came together."""

    request: list[Datagram]

    def handle(self) -> None:
        """Parse them and pass them on."""
        sink = self.server.sink
        records = records_of(self.request, sink.now())
        sink.take(records, len(self.request) - len(records), self.server.begin)
        self.server.written(self.request)


class StreamHandler(BaseRequestHandler["StreamSinkServer", Any, Any]):
    """Serves a connection, which says something now and then, for months maybe."""

    request: Connection

    def setup(self) -> None:
        """Learn who is there, and ask the system to find out who is gone."""
        self.frames = Frames(self.server.max_packet_size)
        self.peer = _peer(self.request, self.client_address)
        # A host that says nothing may have nothing to say: only the system can tell whether it is still there.
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def handle(self) -> None:
        """Read until the end."""
        while octets := self.request.recv(_READ):
            self._take(self.frames.feed(octets))
        # What came before the server was told to end still counts.
        for _ in range(_LAST_READS):
            try:
                octets = self.request.raw_recv(_READ, socket.MSG_DONTWAIT)
            except OSError:
                break
            if not octets:
                break
            self._take(self.frames.feed(octets))

    def finish(self) -> None:
        """Pass on what has no end."""
        self._take(self.frames.end())

    def _take(self, frames: list[tuple[bytes, bool]]) -> None:
        if not frames:
            return
        sink = self.server.sink
        records = records_of((Datagram(octets, self.peer, cut) for octets, cut in frames), sink.now())
        sink.take(records, len(frames) - len(records))


def records_of(datagrams: Iterable[Datagram], now: datetime) -> list[Record]:
    """Return what datagrams, or frames of a stream, say; those that are empty say nothing."""
    return [parse(octets, peer, now, truncated=cut) for octets, peer, cut in datagrams if octets]


def _peer(connection: Connection, address: Any) -> Peer:
    if connection.family == socket.AF_UNIX:
        who = address.credentials
        return Peer(who.pid, who.uid, who.gid)
    return Peer(address=address[0]) if address else NOBODY

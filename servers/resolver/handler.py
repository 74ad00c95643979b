"""The conversations: datagrams, which have none, in batches; and connections, with many questions at a time."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from framework import InetAddress, Outbox, StreamRequestHandler
from framework.batches import DatagramBatchHandler

if TYPE_CHECKING:
    from servers.resolver.server import DatagramServer, StreamServer

__all__ = ["DatagramHandler", "StreamHandler"]

_NOW = int(socket.MSG_DONTWAIT)
# Questions of one connection that may wait for an answer; a client that has more waits with the next one. BIND has 100
# (its "max-clients-per-query"), Unbound 1024 in all.
_MOST_PENDING = 100
# Unsent octets at which a client that does not read loses its connection: the largest message four times over.
_UNSENT = 4 * 65537
# Seconds for what is still to be answered, or to be read by the client, when it has said its last.
_FAREWELL = 5.0


class DatagramHandler(DatagramBatchHandler["DatagramServer", Any]):
    """Serves datagrams."""

    def handle(self) -> None:
        """Answer them all, those first that take a look only."""
        service = self.server.service
        service.datagrams += len(self.datagrams)
        resolver = service.resolver
        quickly, sendto = resolver.quickly, self.socket.sendto
        now = resolver.clock()
        for data, address in self.datagrams:
            if not address[1]:
                continue  # nobody listens on port 0, and no packet can be sent to it
            reply = quickly(data, address[0], now)
            if reply is None:
                resolver.receive(data, address[0], partial(self._reply, address))
            elif reply:
                try:
                    sendto(reply, _NOW, address)
                except OSError:
                    self.server.service.unsent += 1

    def _reply(self, address: Any, reply: bytes | None) -> None:
        if reply:
            try:
                self.socket.sendto(reply, _NOW, address)
            except OSError:
                # It cannot be sent there, or not now: to a client it is lost, as datagrams are.
                self.server.service.unsent += 1


class StreamHandler(StreamRequestHandler["StreamServer", InetAddress]):
    """Serves a connection: questions come one behind the other, and are answered as soon as each can be.

    RFC 7766: section 6.2.1.1 has the pipelining, 6.2.3 the timeouts, 7 that answers may overtake each other.
    """

    disable_nagle_algorithm = True

    def setup(self) -> None:
        """Prepare for answers that come from anywhere."""
        super().setup()
        self._outbox = Outbox(self.request, self.server.flusher, limit=_UNSENT)
        self._pending = 0
        self._changed = threading.Condition()

    def handle(self) -> None:
        """Take questions until there are no more."""
        while len(head := self.rfile.read(2)) == 2:  # noqa: PLR2004 -- RFC 1035, section 4.2.2
            size = int.from_bytes(head, "big")
            data = self.rfile.read(size)
            if len(data) < size or self._outbox.overflowed:
                break
            zone = self.server.service.resolver.transfer(data, self.client_address[0])
            if zone is not None:
                self._transfer(zone)
                continue
            with self._changed:
                if not self._changed.wait_for(lambda: self._pending < _MOST_PENDING, _FAREWELL):
                    break
                self._pending += 1
            self.server.service.resolver.receive(data, self.client_address[0], self._reply, stream=True)

    def finish(self) -> None:
        """Give whatever is on its way the time to arrive: a client may have closed its side only."""
        self._settle()
        self._outbox.close(_FAREWELL)
        super().finish()

    def _reply(self, reply: bytes | None) -> None:
        if reply:
            self._outbox.put(len(reply).to_bytes(2, "big") + reply)
            self._outbox.flush()
        with self._changed:
            self._pending -= 1
            self._changed.notify_all()

    def _settle(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._pending, _FAREWELL)

    def _transfer(self, messages: Iterable[bytes]) -> None:
        """Send a zone: more than any outbox holds, so that it waits for the client, and this thread with it."""
        self._settle()
        if not self._outbox.close(_FAREWELL):
            return
        for message in messages:
            self.connection.sendall(len(message).to_bytes(2, "big") + message)
        self._outbox = Outbox(self.request, self.server.flusher, limit=_UNSENT)

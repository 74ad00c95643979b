"""``DatagramReceiver``: takes datagrams off a socket, cuts those that are too long, drops those that come too fast."""

from __future__ import annotations

import errno
import socket as _socket
import time
from collections.abc import Callable
from typing import Any

from framework.events import DatagramTruncated, Rejected, RejectReason
from framework.peers import Rates, group_of

__all__ = ["DatagramReceiver"]

_AT_ONCE = int(_socket.MSG_DONTWAIT)


class DatagramReceiver:
    """Receives for one service.

    Args:
        rate: datagrams per second that one peer may send; ``None``: as many as it likes.
        happened: called with the class of an event, and what one is made of.
    """

    def __init__(self, rate: float | None, happened: Callable[..., None]) -> None:
        self._rates = None if rate is None else Rates(rate)
        self._happened = happened
        self._dropping: object = None
        self.dropped = 0
        """Datagrams that came too fast."""

    def receive(self, sock: _socket.socket, size: int, attempts: int) -> tuple[bytes, Any]:
        """Receive one datagram.

        Args:
            sock: where from.
            size: octets that it may have; the rest of a longer one is lost.
            attempts: how many to look at, at most, for one that may be served.

        Raises:
            OSError: there is none.
        """
        for _ in range(attempts):
            # One octet more than is wanted: if it comes, there was more.
            data, address = sock.recvfrom(size + 1, _AT_ONCE)
            if self._rates is None or self._may_send(self._rates, sock, address):
                return self._cut(data, address, size) if len(data) > size else data, address
        raise BlockingIOError(errno.EAGAIN, "what has come so far came too fast")

    def receive_more(
        self, sock: _socket.socket, size: int, attempts: int, datagrams: list[tuple[bytes, Any]], most: int
    ) -> None:
        """Receive what else is there, until ``datagrams`` has ``most``.

        Raises:
            OSError: there is no more.
        """
        if self._rates is not None:
            while len(datagrams) < most:
                datagrams.append(self.receive(sock, size, attempts))
            return
        # As above, without the calls: this is what a datagram costs, beside the system's part.
        receive, flags = sock.recvfrom, _AT_ONCE
        for _ in range(most - len(datagrams)):
            data, address = receive(size + 1, flags)
            if len(data) > size:
                data = self._cut(data, address, size)
            datagrams.append((data, address))

    def _cut(self, data: bytes, address: Any, size: int) -> bytes:
        self._happened(DatagramTruncated, address, size)
        return data[:size]

    def _may_send(self, rates: Rates, sock: _socket.socket, address: Any) -> bool:
        credentials = getattr(address, "credentials", None)
        peer = group_of(sock.family, address) if credentials is None else credentials.pid
        peer = address if peer is None else peer
        if rates.take(peer, time.monotonic()):
            if self._dropping == peer:
                self._dropping = None
            return True
        self.dropped += 1
        if self._dropping != peer:  # the edge, once
            self._dropping = peer
            self._happened(Rejected, address, RejectReason.PEER_RATE)
        return False

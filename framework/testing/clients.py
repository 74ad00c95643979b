"""Clients, well-behaved and not."""

from __future__ import annotations

import contextlib
import socket as _socket
import struct
import threading
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from framework.testing.waiting import PATIENCE

if TYPE_CHECKING:
    from framework.server import BaseServer

__all__ = ["client_of", "dribbling", "reset"]


@contextlib.contextmanager
def client_of(server: BaseServer[Any, Any], timeout: float = PATIENCE) -> Generator[_socket.socket]:
    """Connect to ``server``; close at the end.

    Args:
        server: one with a ``socket``, bound.
        timeout: seconds for each call on the client.
    """
    with _socket.socket(server.socket.family, server.socket.type) as client:
        client.settimeout(timeout)
        if server.socket.family == _socket.AF_UNIX and server.socket.type == _socket.SOCK_DGRAM:
            client.bind("")  # to an abstract name that the system picks (unix(7)), or no reply could come
        client.connect(server.server_address)
        yield client
        # A forked child of this very process may hold a copy: only shutdown(2) reaches through.
        with contextlib.suppress(OSError):
            client.shutdown(_socket.SHUT_RDWR)


def reset(client: _socket.socket) -> None:
    """Close ``client`` so that its TCP peer meets a reset: SO_LINGER of no time at all (socket(7))."""
    client.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@contextlib.contextmanager
def dribbling(client: _socket.socket, data: bytes, interval: float) -> Generator[threading.Event]:
    """Send ``data`` octet by octet, ``interval`` seconds apart, over and over while the block runs.

    Yields:
        An event that is set when the peer takes no more.
    """
    ended, stop = threading.Event(), threading.Event()

    def dribble() -> None:
        try:
            while True:
                for octet in data:
                    client.send(bytes([octet]))
                    if stop.wait(interval):
                        return
        except OSError:
            ended.set()

    thread = threading.Thread(target=dribble, name="dribbling", daemon=True)
    thread.start()
    try:
        yield ended
    finally:
        stop.set()
        thread.join(PATIENCE)

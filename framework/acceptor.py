"""``Acceptor``: takes connections off one listener, at the least cost that the kind of listener allows."""

from __future__ import annotations

import socket as _socket
from typing import Any

from framework.connection import Connection
from framework.listeners import Listener

__all__ = ["Acceptor"]

_PLAIN = frozenset({_socket.socket.accept, Listener.accept})


class Acceptor:
    """What is to be known of a listener, found out once and not for each connection.

    Args:
        listener: what connections are accepted from.
        connection_class: what to make of them.
    """

    def __init__(self, listener: _socket.socket, connection_class: type[Connection]) -> None:
        self.listener = listener
        self.plain = type(listener).accept in _PLAIN
        """Whether ``accept()`` may go around that of the listener, which is more where it is, say, a TLS one."""
        self._make = connection_class
        # int: an enum's member, which the properties make anew, costs a microsecond.
        self._family, self._kind = int(listener.family), int(listener.type)
        self._peer = listener.peer if isinstance(listener, Listener) else None

    def accept(self) -> tuple[Connection, Any]:
        """Accept one connection; return it and its peer's address.

        Raises:
            OSError: there is none, or what accept(2) says.
        """
        # accept() would make a socket out of the descriptor, only for ours to be made out of that one's.
        listener: Any = self.listener
        descriptor, address = listener._accept()  # noqa: SLF001
        connection = self._make(self._family, self._kind, 0, descriptor)
        if self._peer is not None:
            address = self._peer(connection, address)
        return connection, address

    def adopt(self, accepted: _socket.socket) -> Connection:
        """Make a connection out of a socket that was accepted otherwise."""
        return self._make(accepted.family, accepted.type, 0, accepted.detach())

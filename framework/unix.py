"""``UnixStreamServer`` and ``UnixDatagramServer``: the same two servers on Unix domain sockets (unix(7))."""

from __future__ import annotations

import socket as _socket
from typing import TYPE_CHECKING, Self

from framework._types import UnixAddress, UnixAddressT
from framework.inet import TCPServer, UDPServer

if TYPE_CHECKING:
    from framework._types import DatagramRequest, HandlerFactory

__all__ = ["UnixDatagramServer", "UnixStreamServer"]


class UnixStreamServer(TCPServer[_socket.socket, UnixAddressT]):
    """A stream server at a path of the file system, which stays there when the server closes.

    A client's address is ``''`` unless the client bound a path of its own. ``UnixStreamServer[UnixPeer]`` is, to a type
    checker, one that asks for ``peer_credentials``.
    """

    address_family: int = _socket.AF_UNIX
    # Its own address, whatever those of its clients are.
    server_address: UnixAddress  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleVariableOverride]

    if TYPE_CHECKING:

        def __init__(
            self,
            server_address: UnixAddress,
            RequestHandlerClass: HandlerFactory[_socket.socket, UnixAddressT, Self],
            bind_and_activate: bool = True,
        ) -> None: ...


class UnixDatagramServer(UDPServer[UnixAddress | None]):
    """A datagram server at a path of the file system, which stays there when the server closes.

    A client's address is ``None`` unless the client bound a path of its own: there is nowhere to reply to.
    """

    address_family: int = _socket.AF_UNIX
    # A server, unlike its clients, always has an address.
    server_address: UnixAddress  # pyright: ignore[reportIncompatibleVariableOverride]

    if TYPE_CHECKING:

        def __init__(
            self,
            server_address: UnixAddress,
            RequestHandlerClass: HandlerFactory[DatagramRequest, UnixAddress | None, Self],
            bind_and_activate: bool = True,
        ) -> None: ...

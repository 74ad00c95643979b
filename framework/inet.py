"""``TCPServer`` and ``UDPServer``: the socket that listens, and how a request comes out of it."""

from __future__ import annotations

import socket as _socket
from typing import TYPE_CHECKING, Any, Self

from framework._types import DatagramRequest, InetAddressT, StreamRequestT
from framework.server import BaseServer

if TYPE_CHECKING:
    from framework._types import HandlerFactory, Inet6Address, InetAddress

__all__ = ["TCPServer", "UDPServer"]


class TCPServer(BaseServer[StreamRequestT, InetAddressT]):
    """A server over stream sockets; each accepted connection is a request.

    The class attributes are read when they are used, so a subclass, an instance (before ``__init__``) or
    the class itself at run time may set them.

    Args:
        server_address: ``(host, port)``; host ``''`` is every interface, port 0 is any free port.
        RequestHandlerClass: called with ``(connection, client_address, server)`` for each connection.
        bind_and_activate: bind and listen at once. If False, call ``server_bind()`` and
            ``server_activate()`` yourself.

    Raises:
        OSError: the address cannot be bound; no descriptor is left open.
    """

    address_family: int = _socket.AF_INET
    """The family of ``socket`` and of ``server_address``."""
    socket_type: int = _socket.SOCK_STREAM
    """The type of ``socket``."""
    request_queue_size: int = 5
    """The backlog of listen(2): connections that wait to be accepted."""
    allow_reuse_address: bool = False
    """Set ``SO_REUSEADDR``: bind although connections of an earlier server linger in TIME_WAIT."""
    allow_reuse_port: bool = False
    """Set ``SO_REUSEPORT``: several servers share one port, and the kernel spreads the requests."""

    socket: _socket.socket
    """The one reference to the listening socket: it may be wrapped or replaced at any time."""
    server_address: InetAddressT
    """Where the server listens: as given, then as bound."""

    def __init__(
        self,
        server_address: InetAddress | Inet6Address,
        # Any: with the address here, a checker would solve it by the handler's instead of taking the default.
        RequestHandlerClass: HandlerFactory[_socket.socket, Any, Self],
        bind_and_activate: bool = True,
    ) -> None:
        # The signatures say which address and handler go with which class; the base takes any.
        BaseServer.__init__(self, server_address, RequestHandlerClass)  # pyright: ignore[reportArgumentType]
        self.socket = _socket.socket(self.address_family, self.socket_type)
        if bind_and_activate:
            try:
                self.server_bind()
                self.server_activate()
            except BaseException:
                self.server_close()
                raise

    def server_bind(self) -> None:
        """Bind the socket to ``server_address``, and learn what that came to (port 0, host names)."""
        if self.allow_reuse_address and hasattr(_socket, "SO_REUSEADDR"):
            self.socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        # Newer kernels refuse the option on Unix sockets, where it never meant anything (socket(7)).
        internet = self.address_family in {_socket.AF_INET, _socket.AF_INET6}
        if self.allow_reuse_port and internet and hasattr(_socket, "SO_REUSEPORT"):
            self.socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEPORT, 1)
        self.socket.bind(self.server_address)  # type: ignore[arg-type] # bind(2) knows, and says
        self.server_address = self.socket.getsockname()

    def server_activate(self) -> None:
        """Listen, with a backlog of ``request_queue_size``."""
        self.socket.listen(self.request_queue_size)

    def server_close(self) -> None:
        """Close the listening socket; requests that run go on."""
        self.socket.close()

    def fileno(self) -> int:
        """Return the socket's descriptor, by which a selector of any program can watch the server."""
        return self.socket.fileno()

    def get_request(self) -> tuple[StreamRequestT, InetAddressT]:
        """Accept one connection; it blocks, whatever timeout the listening socket has."""
        # What accept() gives is what the class attributes asked for; the stubs cannot know.
        return self.socket.accept()  # type: ignore[return-value]

    def shutdown_request(self, request: StreamRequestT) -> None:
        """Say that nothing more will be sent, then close.

        ``close()`` alone would not say so where a forked child holds a copy of the descriptor.
        """
        try:  # noqa: SIM105 -- per request, and the other costs half a microsecond
            request.shutdown(_socket.SHUT_WR)  # type: ignore[attr-defined]
        except OSError:
            pass  # the peer was faster, or the handler closed or detached the connection
        self.close_request(request)

    def close_request(self, request: StreamRequestT) -> None:
        """Close the connection in this process."""
        request.close()  # type: ignore[attr-defined]


class UDPServer(TCPServer[DatagramRequest, InetAddressT]):
    """A server over datagram sockets; each datagram is a request.

    A request is ``(data, socket)``: the bytes of the datagram, at most ``max_packet_size`` of them, and the
    server's own socket.
    """

    socket_type: int = _socket.SOCK_DGRAM
    allow_reuse_address: bool = False
    allow_reuse_port: bool = False
    max_packet_size: int = 8192
    """Octets received of one datagram; the system drops the rest."""

    if TYPE_CHECKING:

        def __init__(
            self,
            server_address: InetAddress | Inet6Address,
            RequestHandlerClass: HandlerFactory[DatagramRequest, Any, Self],
            bind_and_activate: bool = True,
        ) -> None: ...

    def server_activate(self) -> None:
        """Do nothing: a bound datagram socket receives."""

    def get_request(self) -> tuple[DatagramRequest, InetAddressT]:
        """Receive one datagram."""
        data, client_address = self.socket.recvfrom(self.max_packet_size)
        return (data, self.socket), client_address

    def shutdown_request(self, request: DatagramRequest) -> None:
        """Close the request: there is no connection whose end could be told."""
        self.close_request(request)

    def close_request(self, request: DatagramRequest) -> None:
        """Do nothing: the socket is the server's."""

"""The handlers: what a protocol is written on top of.

A handler is made for one request and serves it inside its own construction: ``setup()``, ``handle()``,
``finish()``. Nothing here looks for attributes on a handler beyond those it documents: handlers out there
answer unknown names in ways of their own.
"""

from __future__ import annotations

import io
import socket as _socket
from types import GenericAlias
from typing import TYPE_CHECKING, Any

from framework._types import AddressT, DatagramRequest, Generic, RequestT, ServerT

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["BaseRequestHandler", "DatagramRequestHandler", "ExchangeHandler", "StreamRequestHandler"]


class BaseRequestHandler(Generic[ServerT, RequestT, AddressT]):
    """Serves one request.

    ``class ChatHandler(StreamRequestHandler["ChatServer"])`` types ``self.server``, and makes it an error to
    give the handler to any other server.

    Args:
        request: what ``get_request()`` of the server returned.
        client_address: where it came from.
        server: the server that took it.
    """

    request: RequestT
    client_address: AddressT
    server: ServerT

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(GenericAlias)

    def __init__(self, request: RequestT, client_address: AddressT, server: ServerT) -> None:
        self.request = request
        self.client_address = client_address
        self.server = server
        self.setup()
        try:
            self.handle()
        finally:
            self.finish()

    def setup(self) -> None:
        """Prepare; if it raises, neither ``handle()`` nor ``finish()`` runs."""

    def handle(self) -> None:
        """Serve the request."""

    def finish(self) -> None:
        """Clean up after ``handle()``, also when that raised."""


class StreamRequestHandler(BaseRequestHandler[ServerT, _socket.socket, AddressT]):
    """Serves a connection through two files: ``rfile`` to read from, ``wfile`` to write to."""

    rbufsize: int = -1
    """Buffer of ``rfile`` in octets; -1: the default size, 0: unbuffered."""
    wbufsize: int = 0
    """Buffer of ``wfile`` in octets; 0: each ``write()`` sends all of it before it returns."""
    timeout: float | None = None
    """Seconds that one read or write on the connection may take; ``None``: for ever."""
    disable_nagle_algorithm: bool = False
    """Set ``TCP_NODELAY``: small writes leave at once (RFC 896, tcp(7))."""

    connection: _socket.socket
    rfile: io.BufferedIOBase
    wfile: io.BufferedIOBase

    def setup(self) -> None:
        """Set the connection's options and open both files."""
        self.connection = self.request
        if self.timeout is not None:
            self.connection.settimeout(self.timeout)
        if self.disable_nagle_algorithm:
            self.connection.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        # makefile() gives raw files for a buffer of 0; both read alike, and the stubs tell them apart.
        self.rfile = self.connection.makefile("rb", self.rbufsize)  # type: ignore[assignment]
        if self.wbufsize == 0:
            self.wfile = SocketWriter(self.connection)
        else:
            self.wfile = self.connection.makefile("wb", self.wbufsize)  # type: ignore[assignment]

    def finish(self) -> None:
        """Send what ``wfile`` still holds and close both files; the connection stays open."""
        if not self.wfile.closed:
            try:  # noqa: SIM105 -- per request, and the other costs half a microsecond
                self.wfile.flush()
            except OSError:
                pass  # the peer has gone, and nobody is left to be told
        self.wfile.close()
        self.rfile.close()


class ExchangeHandler(StreamRequestHandler[ServerT, AddressT]):
    """Serves a connection exchange by exchange: a request and its answer at a time.

    Override ``handle_exchange()``. A server that can park connections needs no thread between two exchanges, and
    ``setup()`` and ``finish()`` still run once each; in any other, ``handle()`` is the loop around it. What is
    to be remembered from one exchange to the next goes into attributes.

    ``rfile`` must have a buffer, of whatever size. ``timeout`` is for reads within an exchange; for how long the next one may be waited for, the server says.
    """

    # Or what reads alike: peek() is needed.
    rfile: io.BufferedReader  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.rbufsize == 0:
            raise TypeError(
                f"{cls.__name__}.rbufsize is 0, and exchanges need a buffer to look into; leave it out"
            )

    def __init__(self, request: _socket.socket, client_address: AddressT, server: ServerT) -> None:
        adopt = getattr(request, "adopt", None)
        if adopt is None:
            super().__init__(request, client_address, server)
            return
        self.request = request
        self.client_address = client_address
        self.server = server
        self.setup()
        adopt(self)

    def handle_exchange(self) -> bool:
        """Read one request, of which at least an octet is there, and answer it.

        Returns:
            Whether the connection stays open for another one.
        """
        return False

    def is_complete(self, data: bytes) -> bool:
        """Tell whether ``data``, what has come and has not been read, holds a whole request.

        Asked where a connection can be parked, so that no thread waits for a request that dribbles in: a handler of
        lines looks for a line feed. Here an octet is enough, and ``handle_exchange()`` waits for the others.
        """
        return True

    def handle(self) -> None:
        """Serve exchanges until one of them is the last, or the input ends."""
        while self.serve_exchange():
            pass

    def serve_exchange(self) -> bool:
        """Wait for one exchange and serve it; tell whether another may follow."""
        if not self.rfile.peek(1):
            return False
        more = self.handle_exchange()
        if self.wbufsize:
            self.wfile.flush()
        return more


class DatagramRequestHandler(BaseRequestHandler[ServerT, DatagramRequest, AddressT]):
    """Serves a datagram through two files; what ``wfile`` holds in the end is the reply.

    An empty one is sent too, as ever, except by a service. A peer without an address (an unbound Unix socket)
    gets none.
    """

    packet: bytes
    socket: _socket.socket
    rfile: io.BytesIO
    wfile: io.BytesIO

    def setup(self) -> None:
        """Unpack the request and open both files, in memory."""
        self.packet, self.socket = self.request
        self.rfile = io.BytesIO(self.packet)
        self.wfile = io.BytesIO()

    def finish(self) -> None:
        """Send the reply as one datagram."""
        # recvfrom() gives None for a sender that bound no address, or '' on some systems (unix(7)).
        if self.client_address is None or self.client_address == "":
            return
        reply = self.wfile.getvalue()
        if reply or getattr(self.server, "_sends_empty_replies", True):
            self.socket.sendto(reply, self.client_address)  # type: ignore[call-overload]


class SocketWriter(io.BufferedIOBase):
    """The unbuffered ``wfile``: a ``write()`` returns when the system has taken every octet."""

    def __init__(self, connection: _socket.socket) -> None:
        self._sock = connection  # programs look for it here

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        """Send all of ``data``, any buffer, and return its size in octets."""
        self._sock.sendall(data)
        if type(data) is bytes:
            return len(data)
        with memoryview(data) as view:
            return view.nbytes

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._sock.fileno()

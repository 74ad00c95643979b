"""``Listener``: the socket of a service, which knows how to be bound, and may have been bound by somebody else.

A listener *is* the server's ``socket``, so the server class binds, listens, accepts and closes as it always did.
What it adds:

1. One that was handed over is bound already, so ``bind()`` leaves it as it is.
2. One that listens on ``::`` for IPv4 as well gives, and takes, addresses of IPv4 in the form of IPv4.
3. One that another process listens on, too, leaves alone what the two have in common.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Self

from framework.addresses import AddressError, Endpoint, InetEndpoint

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["InetListener", "Listener", "locate"]

_MAPPED = "::ffff:"  # RFC 4291, section 2.5.5.2


class Listener(socket.socket):
    """The socket of a service."""

    # There are few of them, and dup() makes them without telling: attributes of the class serve as defaults.
    endpoint: Endpoint | None = None
    """What it was asked to listen on."""
    bound: bool = False
    """Whether somebody else has bound it."""
    passed_on: bool = False
    """Whether a successor listens on it, too."""

    @classmethod
    def of(cls, sock: socket.socket, endpoint: Endpoint) -> Self:
        """Make ``sock`` a listener; the object that is given is empty afterwards."""
        timeout = sock.gettimeout()
        self = cls(sock.family, sock.type, sock.proto, sock.detach())
        if timeout is not None:  # else it is as it was made, which must not be touched: see settimeout()
            self.settimeout(timeout)
        self.endpoint = endpoint
        return self

    def bind(self, address: Any, /) -> None:
        """Bind to ``address``, unless that was done by somebody else."""
        if not self.bound:
            super().bind(address)

    def settimeout(self, value: float | None, /) -> None:
        """Set the timeout, except that a socket of two processes is never made to block again.

        Whether it does is a property of what they share (``O_NONBLOCK``, fcntl(2)): while one of them leaves, the
        other's loop would be caught in accept(2).
        """
        if value is not None or not (self.bound or self.passed_on):
            super().settimeout(value)

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept, as ``socket.accept()``."""
        connection, address = super().accept()
        return connection, self.peer(connection, address)

    def peer(self, connection: socket.socket, address: Any) -> Any:
        """Return the address of whoever was accepted, of which accept(2) said ``address``."""
        return address

    def pass_on(self) -> None:
        """Leave what both share to the successor."""
        self.passed_on = True


class InetListener(Listener):
    """A listener on a host and a port."""

    def bind(self, address: Any, /) -> None:
        """Bind, for IPv6 with or without IPv4 as the endpoint says, whatever the system's default is."""
        endpoint = self.endpoint
        if self.family == socket.AF_INET6 and isinstance(endpoint, InetEndpoint) and not self.bound:
            self.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, endpoint.v6only)
        super().bind(address)

    def peer(self, connection: socket.socket, address: Any) -> Any:
        """Return the address of whoever was accepted; of IPv4 in its own form."""
        return _plain(address)

    def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Any]:
        """Receive, as ``socket.recvfrom()``."""
        data, address = super().recvfrom(bufsize, flags)
        return data, _plain(address)

    def recvfrom_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        """Receive, as ``socket.recvfrom_into()``."""
        length, address = super().recvfrom_into(buffer, nbytes, flags)
        return length, _plain(address)

    def recvmsg(self, *arguments: Any) -> tuple[bytes, list[tuple[int, int, bytes]], int, Any]:
        """Receive, as ``socket.recvmsg()``."""
        data, ancillary, flags, address = super().recvmsg(*arguments)
        return data, ancillary, flags, _plain(address)

    def recvmsg_into(self, *arguments: Any) -> tuple[int, list[tuple[int, int, bytes]], int, Any]:
        """Receive, as ``socket.recvmsg_into()``."""
        length, ancillary, flags, address = super().recvmsg_into(*arguments)
        return length, ancillary, flags, _plain(address)

    def sendto(self, data: ReadableBuffer, *rest: Any) -> int:
        """Send, as ``socket.sendto()``."""
        if len(rest) == 1:
            return super().sendto(data, self._own(rest[0]))
        flags, address = rest
        return super().sendto(data, flags, self._own(address))

    def sendmsg(self, buffers: Any, ancdata: Any = (), flags: int = 0, address: Any = None, /) -> int:
        """Send, as ``socket.sendmsg()``."""
        return super().sendmsg(buffers, ancdata, flags, self._own(address))

    def _own(self, address: Any) -> Any:
        """Return an address of IPv4 as a socket of IPv6 needs it."""
        if self.family == socket.AF_INET6 and address is not None and ":" not in address[0]:
            return (_MAPPED + address[0], *address[1:])
        return address


def _plain(address: Any) -> Any:
    """Return an address of IPv4 that came in the form of IPv6 in its own form, any other as it is."""
    if address is not None and len(address) > 2 and address[0].startswith(_MAPPED):  # noqa: PLR2004 -- IPv6 has four
        host: str = address[0][len(_MAPPED) :]
        if "." in host:
            return host, address[1]
    return address


def locate(endpoint: InetEndpoint, kind: int) -> tuple[int, tuple[Any, ...]]:
    """Return the family of an endpoint and its address, having looked its name up if it has one.

    Raises:
        AddressError: there is no such name.
    """
    try:
        found = socket.getaddrinfo(endpoint.host, endpoint.port, type=kind, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise AddressError("host", f"{endpoint.host} has no address here ({error.strerror})") from error
    family, _, _, _, address = found[0]
    return family, address

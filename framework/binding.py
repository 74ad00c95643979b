"""``Binding``: how a service gets its socket: from a URL, from systemd, from an earlier life of the program."""

from __future__ import annotations

import os
import socket as _socket
from types import GenericAlias
from typing import TYPE_CHECKING, Any

from framework._types import AddressT, MixIn, RequestT
from framework.addresses import AddressError, Endpoint, InetEndpoint, UnixEndpoint
from framework.destinations import DestinationListener
from framework.handover import adopt, endpoint_of
from framework.inet import UDPServer
from framework.listeners import Listener, locate
from framework.unix_service import UnixListener

__all__ = ["Binding"]

_EVERY_ADDRESS = {"0.0.0.0", "::"}
_SCHEMES = {"datagrams": "udp or unixgram", "connections": "tcp or unix"}


class Binding(MixIn[RequestT, AddressT]):
    """The part of a service that binds; everything is set before ``server_bind()``, on a class or by a subclass."""

    # A restart finds connections of its predecessor in TIME_WAIT; without this it could not bind (socket(7)).
    allow_reuse_address: bool = True

    peer_credentials: bool = False
    """Make ``client_address``, on a Unix socket, a ``UnixPeer`` with ``credentials``. Off: it costs each request."""

    reply_from_destination: bool = False
    """Answer a datagram from the address that it was sent to, where the socket is bound to every address. Off: it costs
    each datagram a microsecond or two."""

    _endpoint: Endpoint | None = None

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(GenericAlias)

    def _locate(self, server_address: Any) -> Any:
        """Take note of an endpoint, and return it in the form of its family; any other address as it is.

        Raises:
            AddressError: the server is not for an endpoint of that kind.
        """
        datagrams = isinstance(self, UDPServer)
        owner = next((each for each in type(self).__mro__ if "allow_reuse_address" in vars(each)), None)
        if datagrams and owner is Binding:
            # Datagram sockets know no TIME_WAIT; there it would let a second server take the port (socket(7)).
            self.allow_reuse_address = False
        if not isinstance(server_address, Endpoint):
            return server_address
        self._endpoint = endpoint = server_address
        if not isinstance(endpoint, InetEndpoint | UnixEndpoint):
            return None
        if endpoint.datagrams != datagrams:
            served = "datagrams" if datagrams else "connections"
            problem = f"{type(self).__name__} serves {served}, for which {endpoint} is no address"
            raise AddressError("scheme", f"{problem}; write {_SCHEMES[served]}")
        if isinstance(endpoint, InetEndpoint):
            kind = _socket.SOCK_DGRAM if datagrams else _socket.SOCK_STREAM
            self.address_family, address = locate(endpoint, kind)
            return address
        self.address_family = _socket.AF_UNIX
        return os.fsencode(endpoint.path) if endpoint.abstract else endpoint.path

    def server_bind(self) -> None:
        """Bind the socket, or take the one that systemd or an earlier life of the program has bound."""
        # Exactly: what is more than a socket was put in its place by a program that knows what it does.
        if type(self.socket) is _socket.socket:
            endpoint = self._endpoint or endpoint_of(self.socket, self.server_address)
            if endpoint is not None:
                listener = adopt(self.socket, endpoint)
                if self.peer_credentials and isinstance(listener, UnixListener):
                    listener.tell_credentials()
                self.socket = listener
                self.address_family = listener.family
        super().server_bind()  # type: ignore[misc] # of TCPServer, or whoever else calls this
        wanted = self.reply_from_destination and isinstance(self, UDPServer)
        if wanted and isinstance(self.socket, Listener) and self.socket.getsockname()[0] in _EVERY_ADDRESS:
            self.socket = DestinationListener.instead_of(self.socket)

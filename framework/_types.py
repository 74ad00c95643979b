"""Names for the type checker: addresses, type variables with defaults, and what may stand as a handler.

Two rules live here.

1. The classes of the letter keep the bare bases of the stdlib's ``socketserver``: no ``typing.Generic``
   in any MRO, so that they mix with whatever a program already has. A type checker sees ``Generic``;
   at run time the base vanishes (``__mro_entries__``, PEP 560) and ``__class_getitem__`` does the rest.
2. Defaults of type variables (PEP 696) reach 3.11 through ``typing_extensions``, whose stubs come
   with every type checker: the package itself depends on nothing.
"""

from __future__ import annotations

import socket as _socket
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from typing import Generic

    from typing_extensions import TypeVar

    from framework.server import BaseServer

    MixIn = BaseServer
else:
    import typing

    def TypeVar(name: str, *, default: object = None, **options: bool) -> typing.TypeVar:  # noqa: ARG001, N802
        """Make a type variable without its default, which ``typing`` knows only from 3.13 on."""
        return typing.TypeVar(name, **options)

    class Generic:
        """A base that is subscripted like ``typing.Generic`` and leaves no trace in the MRO."""

        def __class_getitem__(cls, parameters: object) -> Generic:
            return cls()

        def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[()]:
            return ()

    MixIn = Generic

__all__ = [
    "AddressT",
    "DatagramRequest",
    "Generic",
    "HandlerFactory",
    "Inet6Address",
    "InetAddress",
    "InetAddressT",
    "MixIn",
    "RequestT",
    "ServerT",
    "StreamRequestT",
    "UnixAddress",
    "UnixAddressT",
]

InetAddress: TypeAlias = tuple[str, int]
"""``(host, port)`` of an ``AF_INET`` socket."""

Inet6Address: TypeAlias = tuple[str, int, int, int]
"""``(host, port, flowinfo, scope_id)`` of an ``AF_INET6`` socket."""

UnixAddress: TypeAlias = str | bytes
"""A path, ``''`` when unnamed, or ``bytes`` with a leading NUL in Linux' abstract namespace (unix(7))."""

DatagramRequest: TypeAlias = tuple[bytes, _socket.socket]
"""One datagram and the server's own socket, by which a reply leaves."""

# ``Any`` as a default: the stdlib lets a request and an address be anything, and programs rely on it
# (TLS connections, pairs of files, ``(address, socket)`` as an address).
RequestT = TypeVar("RequestT", default=Any)
AddressT = TypeVar("AddressT", default=Any)
StreamRequestT = TypeVar("StreamRequestT", default=_socket.socket)
InetAddressT = TypeVar("InetAddressT", default=InetAddress)
UnixAddressT = TypeVar("UnixAddressT", default=UnixAddress)
ServerT = TypeVar("ServerT", default="BaseServer[Any, Any]")

_RequestT_contra = TypeVar("_RequestT_contra", contravariant=True)
_AddressT_contra = TypeVar("_AddressT_contra", contravariant=True)
_ServerT_contra = TypeVar("_ServerT_contra", contravariant=True)


class HandlerFactory(Protocol[_RequestT_contra, _AddressT_contra, _ServerT_contra]):
    """What a server calls for each request: a handler class, a partial of one, or any such callable."""

    def __call__(
        self, request: _RequestT_contra, client_address: _AddressT_contra, server: _ServerT_contra, /
    ) -> object:
        """Serve one request to its end; what comes back is ignored."""

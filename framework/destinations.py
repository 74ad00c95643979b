"""``DestinationListener``: datagrams on every address, each answered from the one that it was sent to.

A socket that is bound to all addresses of a machine sends from whichever the system would choose; a client that asked
another one takes no answer from it. IP_PKTINFO (ip(7)) and IPV6_RECVPKTINFO (ipv6(7)) tell where a datagram was sent to,
and let the answer say where it is from.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any, Self

from framework.listeners import InetListener, Listener, plain

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["DestinationListener", "Sender"]

# <linux/in.h>; the module has the name from Python 3.14 on only.
_IP_PKTINFO = 8
# Index of the interface, our address, the address in the packet's header (ip(7)).
_IPV4 = struct.Struct("=i4s4s")
# Room for one message of either kind.
_SPACE = socket.CMSG_SPACE(64)


class Sender(tuple[Any, ...]):  # noqa: SLOT001 -- a tuple can have none that hold anything
    """A sender's address, which knows to which of ours it wrote."""

    ancillary: list[tuple[int, int, bytes]]


class DestinationListener(InetListener):
    """A datagram socket that is bound to every address."""

    @classmethod
    def instead_of(cls, listener: Listener) -> Self:
        """Return one in the place of a listener, which is empty afterwards."""
        bound, passed_on = listener.bound, listener.passed_on
        endpoint = listener.endpoint
        self = cls(listener.family, listener.type, listener.proto, listener.detach())
        self.endpoint, self.bound, self.passed_on = endpoint, bound, passed_on
        if self.family == socket.AF_INET6:
            self.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            self.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        return self

    def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Any]:
        """Receive, as ``socket.recvfrom()``; the address is a ``Sender``."""
        data, ancillary, _, address = socket.socket.recvmsg(self, bufsize, _SPACE, flags)
        sender = Sender(plain(address))
        sender.ancillary = [(level, kind, _ours(level, value)) for level, kind, value in ancillary]
        return data, sender

    def sendto(self, data: ReadableBuffer, *rest: Any) -> int:
        """Send, as ``socket.sendto()``; to a ``Sender``, from the address that it wrote to."""
        address = rest[-1]
        if not isinstance(address, Sender):
            return super().sendto(data, *rest)
        return self.sendmsg([data], address.ancillary, rest[0] if len(rest) > 1 else 0, tuple(address))


def _ours(level: int, value: bytes) -> bytes:
    """Return what to send with an answer, of what came with a datagram."""
    if level != socket.IPPROTO_IP:
        return (
            value  # in6_pktinfo has our address, and the interface, which a link-local one needs (RFC 3542)
        )
    _, own, _ = _IPV4.unpack(value)
    return _IPV4.pack(0, own, bytes(4))  # by whatever interface leads there

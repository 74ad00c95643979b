"""``Receiver``: what a datagram socket holds, many datagrams by one system call, each with who sent it.

recvmmsg(2) halves the cost of a message against recvmsg(2), and Python has no other way to it than ctypes.
"""

from __future__ import annotations

import ctypes
import ipaddress
import mmap
import os
import socket
import struct
from typing import NamedTuple

from servers.syslog.record import NOBODY, Peer

__all__ = ["Datagram", "Receiver"]

# struct mmsghdr of recvmmsg(2), with the struct msghdr of recvmsg(2) that it begins with, laid out as C does.
_HEADER = struct.Struct("@PIPNPNi0PI0P")
_IOVEC = struct.Struct("@PN")
_UCRED = struct.Struct("@iII")
# Exactly what credentials take, which come first: were there more, a peer could leave open descriptors in this process.
_CONTROL = socket.CMSG_SPACE(_UCRED.size)
_CREDENTIALS = socket.CMSG_LEN(0)
# struct sockaddr_in6, which is the longest here: ip(7), ipv6(7).
_NAME = 28
_FAMILY = struct.Struct("@H")
# Peers that are remembered, as nearly all messages come from a few.
_PEERS = 4096

_recvmmsg = ctypes.CDLL(None, use_errno=True).recvmmsg
_recvmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p]


class Datagram(NamedTuple):
    """What came, and from whom."""

    octets: bytes
    peer: Peer
    truncated: bool
    """Whether it was longer than there was room for."""


class Receiver:
    """Receives from a datagram socket, of which ``SO_PASSCRED`` is set if it is of Unix.

    Args:
        size: octets kept of a datagram.
        count: datagrams received at a time.
        unix: whether the socket is one of Unix.
    """

    def __init__(self, size: int, count: int, *, unix: bool) -> None:
        self._size, self._count, self._unix = size, count, unix
        # Anonymous memory, of which only what datagrams have reached is really there.
        self._data = mmap.mmap(-1, size * count)
        self._names = bytearray(_NAME * count)
        self._control = bytearray(_CONTROL * count)
        vectors = bytearray(_IOVEC.size * count)
        self._headers = bytearray(_HEADER.size * count)
        buffers = (self._data, self._names, self._control, vectors, self._headers)
        data, names, control, vector, self._address = [_address(buffer) for buffer in buffers]
        for n in range(count):
            _IOVEC.pack_into(vectors, _IOVEC.size * n, data + size * n, size)
            _HEADER.pack_into(
                self._headers, _HEADER.size * n,
                names + _NAME * n, _NAME, vector + _IOVEC.size * n, 1, control + _CONTROL * n, _CONTROL, 0, 0,
            )  # fmt: skip
        self._fresh = bytes(self._headers)
        self._kept = vectors  # which only the kernel looks at
        self._peers: dict[bytes, Peer] = {}

    def receive(self, sock: socket.socket, most: int | None = None, flags: int = 0) -> list[Datagram]:
        """Return what has come, in the order in which it came, without waiting.

        Args:
            sock: to receive from.
            most: datagrams to receive, if less than ``count``.
            flags: more of recvmsg(2)'s, such as ``MSG_PEEK``.

        Raises:
            BlockingIOError: nothing has.
            OSError: the socket cannot be received from.
        """
        # The kernel has written into them what came of the last call.
        self._headers[:] = self._fresh
        count = self._count if most is None else min(most, self._count)
        found = _recvmmsg(sock.fileno(), self._address, count, flags | socket.MSG_DONTWAIT, None)
        if found < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        datagrams: list[Datagram] = []
        unix = self._unix
        names, space = (self._control, _CONTROL) if unix else (self._names, _NAME)
        headers = _HEADER.iter_unpack(memoryview(self._headers)[: found * _HEADER.size])
        for n, (_, named, _, _, _, controlled, came, length) in enumerate(headers):
            key = bytes(names[n * space : n * space + (controlled if unix else named)])
            peer = self._peers.get(key) or self._learn(key)
            start = n * self._size
            octets = self._data[start : start + length]
            datagrams.append(Datagram(octets, peer, bool(came & socket.MSG_TRUNC)))
        return datagrams

    def _learn(self, key: bytes) -> Peer:
        if len(self._peers) >= _PEERS:
            self._peers.clear()
        peer = self._peers[key] = _by_credentials(key) if self._unix else _by_name(key)
        return peer


def _by_credentials(control: bytes) -> Peer:
    """Read credentials as unix(7) has them."""
    if len(control) < _CREDENTIALS + _UCRED.size:
        return NOBODY
    return Peer(*_UCRED.unpack_from(control, _CREDENTIALS))


def _by_name(name: bytes) -> Peer:
    """Read an address as ip(7) and ipv6(7) have it."""
    (family,) = _FAMILY.unpack_from(name)
    if family == socket.AF_INET:
        return Peer(address=str(ipaddress.IPv4Address(name[4:8])))
    if family == socket.AF_INET6:
        host = ipaddress.IPv6Address(name[8:24])
        return Peer(address=str(host.ipv4_mapped or host))
    return NOBODY


def _address(buffer: bytearray | mmap.mmap) -> int:
    # What from_buffer() makes keeps a bytearray from being resized, so the address stays good for as long as it is kept.
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))

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
from collections.abc import Callable
from typing import Any, NamedTuple, cast

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
_NAME = 32
_FAMILY = struct.Struct("@H")
# As numbers: with a member of an Enum, each "&" is a call of Python.
_TRUNCATED, _AT_ONCE = int(socket.MSG_TRUNC), int(socket.MSG_DONTWAIT)
# The length of what has not been received.
_NONE = 0xFFFFFFFF
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


# What Datagram() comes to, without a call of Python for each.
_new: Callable[[type[Datagram], tuple[object, ...]], Datagram] = cast("Any", tuple).__new__


class Receiver:
    """Receives from a datagram socket, of which ``SO_PASSCRED`` is set if it is of Unix.

    Args:
        memory: of ``Receiver.room()`` octets, into which the kernel writes; only what datagrams have reached is really
            there.
        size: octets kept of a datagram.
        count: datagrams received at a time.
        unix: whether the socket is one of Unix.
    """

    def __init__(self, memory: mmap.mmap, size: int, count: int, *, unix: bool) -> None:
        self._memory, self._size, self._count, self._unix = memory, size, count, unix
        # The headers, and then for each of them a name, control data, a vector and octets.
        self._names = count * _HEADER.size
        self._control = self._names + count * _NAME
        vectors = self._control + count * _CONTROL
        self._octets = vectors + count * _IOVEC.size
        # The address stays good for as long as this is kept.
        self._pinned = ctypes.c_char.from_buffer(memory)
        self._address = start = ctypes.addressof(self._pinned)
        fresh = bytearray()
        for n in range(count):
            vector = vectors + n * _IOVEC.size
            _IOVEC.pack_into(memory, vector, start + self._octets + n * size, size)
            fresh += _HEADER.pack(
                start + self._names + n * _NAME, _NAME, start + vector, 1,
                start + self._control + n * _CONTROL, _CONTROL, 0, _NONE,
            )  # fmt: skip
        self._fresh = bytes(fresh)
        self._peers: dict[bytes, Peer] = {}

    @classmethod
    def alone(cls, size: int, count: int, *, unix: bool) -> Receiver:
        """Return one with memory of its own."""
        return cls(mmap.mmap(-1, cls.room(size, count)), size, count, unix=unix)

    @staticmethod
    def room(size: int, count: int) -> int:
        """Return how many octets of memory that takes."""
        return count * (_HEADER.size + _NAME + _CONTROL + _IOVEC.size + size)

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
        self.forget()
        count = self._count if most is None else min(most, self._count)
        found = _recvmmsg(sock.fileno(), self._address, count, flags | _AT_ONCE, None)
        if found < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return self._received(found)

    def received(self) -> list[Datagram]:
        """Return what is in the memory: what came last, unless it was forgotten."""
        headers = _HEADER.iter_unpack(self._memory[: self._names])
        return self._received(
            next((n for n, header in enumerate(headers) if header[-1] == _NONE), self._count)
        )

    def forget(self) -> None:
        """Forget what came last."""
        self._memory[: self._names] = self._fresh

    def _received(self, count: int) -> list[Datagram]:
        datagrams: list[Datagram] = []
        new, memory, unix = _new, self._memory, self._unix
        names, space = (self._control, _CONTROL) if unix else (self._names, _NAME)
        headers = _HEADER.iter_unpack(memory[: count * _HEADER.size])
        for n, (_, named, _, _, _, controlled, came, length) in enumerate(headers):
            name = names + n * space
            key = memory[name : name + (controlled if unix else named)]
            peer = self._peers.get(key) or self._learn(key)
            start = self._octets + n * self._size
            octets = memory[start : start + length]
            datagrams.append(new(Datagram, (octets, peer, came & _TRUNCATED != 0)))
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

"""DNS cookies: a client proves that it is where it says (RFC 7873), in the form that all servers share (RFC 9018)."""

from __future__ import annotations

import ipaddress
import struct
import time
from collections.abc import Callable

from servers.resolver.protocol import COOKIE

__all__ = ["CLIENT_COOKIE", "Cookies", "siphash"]

_VERSION = b"\1\0\0\0"
CLIENT_COOKIE = 8
"""Octets of a cookie that are the client's; what follows is the server's."""
_OPTION = struct.Struct("!HH")
# RFC 9018, section 4.3: an hour old at most, five minutes ahead, and renewed after half an hour.
_OLDEST, _AHEAD, _RENEWED = 3600, 300, 1800
_MASK = 0xFFFFFFFFFFFFFFFF
# Cookies remembered as good, so that a client that asks a lot costs no hash each time.
_REMEMBERED = 16384


class Cookies:
    """Makes and checks cookies.

    Args:
        secret: 16 octets that servers of one address share.
        clock: tells the time in seconds since the epoch.
    """

    size = 4 + 8 + 16
    """Octets that the option in an answer has."""

    def __init__(self, secret: bytes, clock: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._clock = clock
        self._good: dict[tuple[str, bytes], int] = {}

    def check(self, client: str, cookie: bytes) -> tuple[bytes, bool]:
        """Return the option for the answer, and whether the client is where it says.

        Args:
            client: the address it came from.
            cookie: what it sent.
        """
        now = int(self._clock())
        stamp = self._good.get((client, cookie))
        if stamp is None:
            stamp = self._stamp(client, cookie)
            if stamp is not None:
                if len(self._good) >= _REMEMBERED:
                    self._good = {}
                self._good[client, cookie] = stamp
        good = stamp is not None and -_AHEAD <= now - stamp <= _OLDEST
        if stamp is None or not 0 <= now - stamp <= _RENEWED:
            cookie = self._make(client, cookie[:CLIENT_COOKIE], now)
        return _OPTION.pack(COOKIE, len(cookie)) + cookie, good

    def _stamp(self, client: str, cookie: bytes) -> int | None:
        """Return when this server made the cookie, or ``None`` if it did not."""
        stamp = int.from_bytes(cookie[12:16], "big")
        return stamp if cookie == self._make(client, cookie[:CLIENT_COOKIE], stamp) else None

    def _make(self, client: str, part: bytes, stamp: int) -> bytes:
        data = part + _VERSION + struct.pack("!I", stamp & 0xFFFFFFFF)
        address = ipaddress.ip_address(client.partition("%")[0]).packed
        return data + siphash(self._secret, data + address).to_bytes(8, "little")


def siphash(key: bytes, data: bytes) -> int:
    """Return SipHash-2-4 of the data (RFC 9018, section 4.4)."""
    k0, k1 = (int.from_bytes(half, "little") for half in (key[:8], key[8:]))
    state = (
        k0 ^ 0x736F6D6570736575,
        k1 ^ 0x646F72616E646F6D,
        k0 ^ 0x6C7967656E657261,
        k1 ^ 0x7465646279746573,
    )
    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 0xFF])
    for start in range(0, len(padded), 8):
        word = int.from_bytes(padded[start : start + 8], "little")
        a, b, c, d = state
        a, b, c, d = _round(*_round(a, b, c, d ^ word))
        state = (a ^ word, b, c, d)
    a, b, c, d = state
    c ^= 0xFF
    for _ in range(4):
        a, b, c, d = _round(a, b, c, d)
    return a ^ b ^ c ^ d


def _round(a: int, b: int, c: int, d: int) -> tuple[int, int, int, int]:
    a = (a + b) & _MASK
    b = (b << 13 & _MASK | b >> 51) ^ a
    a = a << 32 & _MASK | a >> 32
    c = (c + d) & _MASK
    d = (d << 16 & _MASK | d >> 48) ^ c
    a = (a + d) & _MASK
    d = (d << 21 & _MASK | d >> 43) ^ a
    c = (c + b) & _MASK
    b = (b << 17 & _MASK | b >> 47) ^ c
    c = c << 32 & _MASK | c >> 32
    return a, b, c, d

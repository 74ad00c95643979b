"""Admission: who may connect, and how often a password may be tried. No I/O, no clock, and safe by the chat's lock alone."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from typing import TYPE_CHECKING

from servers.chat.flood import Buckets

if TYPE_CHECKING:
    from servers.chat.settings import Settings

__all__ = ["Admission"]

# Wrong passwords from one address, and accounts made there: so many at once, then one in ten seconds. Ergo has 3 tries
# a minute for a connection, and 30 accounts in ten minutes.
_TRIES, _ACCOUNTS = 10, 30
_PER_SECOND = 0.1

_PER_ADDRESS = 100


class Admission:
    """Counts clients and passwords, by address."""

    def __init__(self) -> None:
        self.clients = 0
        """How many there are, registered or not."""
        self._clients: defaultdict[str, int] = defaultdict(int)
        self._tries = Buckets(_PER_SECOND, _TRIES)
        self._accounts = Buckets(_PER_SECOND, _ACCOUNTS)

    def refusal(self, address: str, settings: Settings) -> str:
        """Return why nobody else may connect from there, or an empty text."""
        if self.clients >= settings.max_clients:
            return "Too many clients, try again later"
        most = settings.max_clients_per_address
        if not most and not ipaddress.ip_address(address.partition("%")[0]).is_loopback:
            most = _PER_ADDRESS
        return (
            "Too many connections from your address" if most and self._clients.get(address, 0) >= most else ""
        )

    def enter(self, address: str) -> None:
        """Count a client in."""
        self.clients += 1
        self._clients[address] += 1

    def leave(self, address: str) -> None:
        """Count a client out."""
        self.clients -= 1
        self._clients[address] -= 1
        if not self._clients[address]:
            del self._clients[address]

    def may_try(self, address: str, now: float) -> bool:
        """Tell whether another password may be tried from an address: each costs CPU, and may be a guess."""
        return self._tries.take(address, now)

    def was_right(self, address: str) -> None:
        """Forget the last of these tries, which was no guess: many users may share an address, and all come at once."""
        self._tries.give_back(address)

    def may_register(self, address: str, now: float) -> bool:
        """Tell whether another account may be made from an address."""
        return self._accounts.take(address, now)

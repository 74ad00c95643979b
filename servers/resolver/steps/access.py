"""What follows is only for those on the list."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from servers.resolver.protocol import Query
from servers.resolver.records import IN, Answer, Error, Rcode, Type
from servers.resolver.steps import Next, Outcome

__all__ = ["Access", "AccessList", "Network"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Whole zones are here or not; they are not fetched for somebody.
_TRANSFERS = {int(Type.AXFR), int(Type.IXFR)}
# Clients whose place is remembered, so that few packets need arithmetic: the homes of a town.
_REMEMBERED = 16384


class AccessList(dict[str, bool]):
    """A list of networks, which tells of each address whether it is on it, and remembers.

    Args:
        networks: whose addresses are on it.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        super().__init__()
        self._networks = networks

    def __missing__(self, client: str) -> bool:
        if len(self) >= _REMEMBERED:
            self.clear()
        address = ipaddress.ip_address(client.partition("%")[0])
        found = self[client] = any(address in network for network in self._networks)
        return found


class Access:
    """Refuses whoever is not on the list, and who does not want to be told what others know (RFC 1034, 4.3.1)."""

    def __call__(self, query: Query, rest: Next) -> Outcome:
        """Let known clients pass that ask for recursion."""
        if query.known and query.recursion_desired and query.rclass == IN and query.type not in _TRANSFERS:
            return rest(query)
        # Small: the address may be forged. And what is in the cache is no business of others.
        error = Error.NOT_AUTHORITATIVE if query.known else Error.PROHIBITED
        return Answer(Rcode.REFUSED, error=(error, ""), kind=b"refused", lasting=True)

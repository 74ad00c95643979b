"""Names that no server out there knows, and none shall be bothered with, nor learn about (RFC 6761, RFC 6303)."""

from __future__ import annotations

from servers.resolver.names import ancestors, from_text, is_under
from servers.resolver.protocol import Query
from servers.resolver.records import Answer, Rcode, RRset, Type
from servers.resolver.steps import Next, Outcome

__all__ = ["Special"]

_TTL = 3600
_LOCALHOST = from_text("localhost.")
_ADDRESSES = {int(Type.A): bytes([127, 0, 0, 1]), int(Type.AAAA): bytes(15) + b"\1"}

# RFC 6761, 7686 (onion), 9476 (alt), 8375 (home.arpa); and the reverse zones of addresses that are nobody's or
# everybody's (RFC 6303, section 4). Not "test": who asks about that is testing, and upstream servers may be part of it.
_NOBODYS = (
    *("invalid", "onion", "alt", "home.arpa"),
    *("10.in-addr.arpa", "168.192.in-addr.arpa", *(f"{number}.172.in-addr.arpa" for number in range(16, 32))),
    *("0.in-addr.arpa", "127.in-addr.arpa", "254.169.in-addr.arpa", "2.0.192.in-addr.arpa"),
    *("100.51.198.in-addr.arpa", "113.0.203.in-addr.arpa", "255.255.255.255.in-addr.arpa"),
    *("0." * 32 + "ip6.arpa", "1." + "0." * 31 + "ip6.arpa", "d.f.ip6.arpa", "8.b.d.0.1.0.0.2.ip6.arpa"),
    *(f"{digit}.e.f.ip6.arpa" for digit in "89ab"),
)


class Special:
    """Answers for names that are special, unless somebody has said who knows about them.

    Args:
        routed: domains with servers of their own.
    """

    def __init__(self, routed: frozenset[bytes]) -> None:
        self._routed = routed
        self._nobodys = {from_text(text + ".") for text in _NOBODYS}

    def __call__(self, query: Query, rest: Next) -> Outcome:
        """Answer for what is special."""
        key = query.key
        if is_under(key, _LOCALHOST) and not self._is_routed(key, _LOCALHOST):
            address = _ADDRESSES.get(query.type)
            sets = () if address is None else (RRset(query.name, query.type, _TTL, (address,)),)
            return Answer(answer=sets, authority=() if sets else _soa(_LOCALHOST), lasting=True)
        found = next((each for each in ancestors(key) if each in self._nobodys), None)
        if found is None or self._is_routed(key, found):
            return rest(query)
        rcode = Rcode.NOERROR if key == found else Rcode.NXDOMAIN
        return Answer(rcode, authority=_soa(found), lasting=True)

    def _is_routed(self, key: bytes, special: bytes) -> bool:
        return any(each in self._routed and is_under(each, special) for each in ancestors(key))


def _soa(origin: bytes) -> tuple[RRset, ...]:
    """Return the SOA of a zone that is empty, as RFC 6303, section 3, has it."""
    numbers = b"".join(each.to_bytes(4, "big") for each in (1, 604800, 86400, 2419200, _TTL))
    return (RRset(origin, Type.SOA, _TTL, (origin + from_text("nobody.invalid.") + numbers,)),)

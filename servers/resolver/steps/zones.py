"""What is known authoritatively."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from servers.resolver.names import ancestors
from servers.resolver.protocol import Query
from servers.resolver.records import ANY, IN, Answer, Rcode, Type
from servers.resolver.steps import Next, Outcome, then
from servers.resolver.zone import Zone

__all__ = ["Zones"]


class Zones:
    """Answers what is in one of the zones; what they delegate, clients who do not ask further get from who can.

    Args:
        zones: by their origins.
    """

    def __init__(self, zones: Mapping[bytes, Zone]) -> None:
        self._zones = zones

    def __call__(self, query: Query, rest: Next) -> Outcome:
        """Answer from the zone that is nearest to the name."""
        zone = self.find(query.key, query.type) if query.rclass in {IN, ANY} else None
        if zone is None:
            return rest(query)
        if query.type == Type.AXFR:
            return Answer(Rcode.NOTIMP, kind=b"transfer")  # there is none by UDP (RFC 5936, section 4.2)
        if query.type == Type.IXFR:
            # No more than that there is something, or nothing, to come by a connection for (RFC 1995, section 2).
            return Answer(answer=(zone.soa,), authoritative=True, lasting=True, kind=zone.origin)
        answer = zone.answer(query.name, query.type)
        if not answer.is_referral or not (query.known and query.recursion_desired):
            return answer
        if answer.answer:
            return replace(answer, authority=(), additional=(), glue=0)  # an alias that leads out of the zone
        return then(rest(query), lambda other: answer if _is_refused(other) else other)

    def find(self, key: bytes, kind: int) -> Zone | None:
        """Return the zone that has a name, or ``None``; that of the parent, for what the parent knows (RFC 3658)."""
        found: Zone | None = None
        for each in ancestors(key):
            zone = self._zones.get(each)
            if zone is None:
                continue
            if each != key or kind != Type.DS:
                return zone
            found = zone
        return found


def _is_refused(answer: Answer | None) -> bool:
    """Tell whether nobody knows better."""
    return answer is None or answer.rcode == Rcode.REFUSED

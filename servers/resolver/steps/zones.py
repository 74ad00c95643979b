"""What is known authoritatively."""

from __future__ import annotations

from collections.abc import Mapping

from servers.resolver.names import ancestors
from servers.resolver.protocol import Query
from servers.resolver.records import IN, Type
from servers.resolver.steps import Next, Outcome
from servers.resolver.zone import Zone

__all__ = ["Zones"]


class Zones:
    """Answers what is in one of the zones.

    Args:
        zones: by their origins.
    """

    def __init__(self, zones: Mapping[bytes, Zone]) -> None:
        self._zones = zones

    def __call__(self, query: Query, rest: Next) -> Outcome:
        """Answer from the zone that is nearest to the name."""
        zone = self.find(query.key, query.type) if query.rclass == IN else None
        return rest(query) if zone is None else zone.answer(query.name, query.type)

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

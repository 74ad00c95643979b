"""``version.bind`` and its like, in class CH: which server this is, for those who look after it (RFC 4892)."""

from __future__ import annotations

from servers.resolver.names import from_text
from servers.resolver.protocol import Query
from servers.resolver.records import CH, Answer, Rcode, RRset, Type
from servers.resolver.steps import Next, Outcome

__all__ = ["Chaos"]

_VERSION = {from_text("version.bind."), from_text("version.server.")}
_IDENTITY = {from_text("hostname.bind."), from_text("id.server.")}


class Chaos:
    """Answers in class CH.

    Args:
        version: what to say of the program; empty: nothing.
        identity: what to say of the server; empty: nothing.
    """

    def __init__(self, version: str, identity: str) -> None:
        self._texts = dict.fromkeys(_VERSION, version) | dict.fromkeys(_IDENTITY, identity)

    def __call__(self, query: Query, rest: Next) -> Outcome:
        """Answer in class CH."""
        if query.rclass != CH:
            return rest(query)
        text = self._texts.get(query.key, "").encode()[:255]
        if not text or query.type not in {Type.TXT, Type.ANY}:
            return Answer(Rcode.REFUSED, kind=b"refused", lasting=True)
        rrset = RRset(query.name, Type.TXT, 0, (bytes([len(text)]) + text,), CH)
        return Answer(answer=(rrset,), authoritative=True, kind=b"chaos", lasting=True)

"""Hosts files and block lists: what those who run the server say, whatever the world says."""

from __future__ import annotations

from typing import Literal

from servers.resolver.lists import BlockList, Hosts
from servers.resolver.protocol import Query
from servers.resolver.records import IN, Answer, Error, Rcode, RRset, Type
from servers.resolver.steps import Next, Outcome

__all__ = ["BlockAnswer", "Local"]

BlockAnswer = Literal["zero", "nxdomain", "refused"]

_ADDRESSES = {int(Type.A): bytes(4), int(Type.AAAA): bytes(16)}
_TTL = 60
_NOTHING = Answer(authoritative=True, kind=b"local", lasting=True)


class Local:
    """Answers known clients from hosts files, and keeps from them what is blocked.

    Args:
        hosts: names and addresses.
        blocked: names that are to lead nowhere.
        block_answer: what is said of those: an address that nobody has, that there is no such name, or nothing.
    """

    def __init__(self, hosts: Hosts, blocked: BlockList, block_answer: BlockAnswer) -> None:
        self._hosts = hosts
        self._blocked = blocked
        self._block_answer = block_answer

    def __call__(self, query: Query, rest: Next) -> Outcome:
        """Answer what the files are about."""
        if not query.known or query.rclass != IN:
            return rest(query)
        key = query.key
        if self._hosts.has(key):
            rrset = self._hosts.find(key, query.type)
            if rrset is not None:
                return Answer(answer=(rrset,), authoritative=True, kind=b"local", lasting=True)
            # A name that has one kind of address here has not the other kind elsewhere.
            return _NOTHING if query.type in _ADDRESSES else rest(query)
        if self._blocked.has(key):
            return self._block(query)
        return rest(query)

    def _block(self, query: Query) -> Answer:
        error = (int(Error.BLOCKED), "")
        if self._block_answer == "refused":
            return Answer(Rcode.REFUSED, error=error, lasting=True)
        if self._block_answer == "nxdomain":
            return Answer(Rcode.NXDOMAIN, error=error, lasting=True)
        address = _ADDRESSES.get(query.type)
        sets = () if address is None else (RRset(query.name, query.type, _TTL, (address,)),)
        return Answer(answer=sets, error=error, lasting=True)

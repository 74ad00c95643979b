"""A zone: what is authoritatively known below a name, and how a question is answered from it (RFC 1034, section 4.3.2).

A zone never changes: a reload makes another.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from servers.resolver.masterfile import MasterFileError, Record, read
from servers.resolver.names import NAME_LIMIT, ancestors, is_under, parent, to_text
from servers.resolver.records import Answer, Rcode, RRset, Type, negative_ttl

__all__ = ["Zone", "ZoneError"]

# RFC 1034, section 3.6.2: nothing else is where a CNAME is, but what DNSSEC puts there (RFC 4035, section 2.5).
_BESIDE_CNAME = {int(Type.CNAME), int(Type.RRSIG), int(Type.NSEC), 25}
# Who asks for these wants the alias, not what it leads to.
_ALIASES = {int(Type.CNAME), int(Type.ANY)}
_SINGLE = {int(Type.SOA), int(Type.CNAME), int(Type.DNAME)}
# Where in the data of a type the name is, whose addresses are worth adding (RFC 1035, section 3.3.9; RFC 2782).
_TARGETS = {int(Type.NS): 0, int(Type.MX): 2, int(Type.SRV): 6}
_ADDRESSES = (int(Type.A), int(Type.AAAA))

# CNAMEs followed for one answer; a chain that long is a mistake. Unbound follows 11.
_MOST_ALIASES = 16

_Node = dict[int, RRset]


class ZoneError(ValueError):
    """Records that make no zone."""


class Zone:
    """A zone.

    Args:
        origin: its name.
        records: all of it.

    Raises:
        ZoneError: they make no zone; the message says where.
    """

    def __init__(self, origin: bytes, records: Iterable[Record]) -> None:
        self.origin = origin.lower()
        self._nodes = _gather(self.origin, records)
        self._check()
        self.soa = self._nodes[self.origin][Type.SOA]
        self._negative = (self.soa.aged(negative_ttl(self.soa)),)
        self._cuts = {name for name, node in self._nodes.items() if Type.NS in node and name != self.origin}
        self._dnames = {name for name, node in self._nodes.items() if Type.DNAME in node}

    @classmethod
    def load(cls, origin: bytes, path: Path) -> Zone:
        """Read a zone from its master file.

        Raises:
            ZoneError: there is none in it.
        """
        try:
            return cls(origin, read(path, origin))
        except MasterFileError as error:
            raise ZoneError(str(error)) from None
        except _MissingError as error:
            raise ZoneError(f"{path}: {error}") from None

    @property
    def serial(self) -> int:
        """The serial number of its SOA."""
        return int.from_bytes(self.soa.rdatas[0][-20:-16], "big")

    @property
    def is_signed(self) -> bool:
        """Whether it has signatures (RFC 4035), which are not served with what they sign."""
        return Type.RRSIG in self._nodes[self.origin]

    def rrsets(self) -> Iterable[RRset]:
        """Return all of it, the SOA first."""
        yield self.soa
        for node in self._nodes.values():
            for rrset in node.values():
                if rrset is not self.soa:
                    yield rrset

    def answer(self, name: bytes, kind: int) -> Answer:
        """Return what is known about a name below the origin.

        Args:
            name: of any letters.
            kind: the type; ``Type.ANY`` gets one set (RFC 8482, section 4.1).
        """
        found = list[RRset]()
        seen = set[bytes]()
        # A chain goes on for as long as it stays here, and leads to somewhere new.
        while (key := name.lower()) not in seen and len(seen) <= _MOST_ALIASES and is_under(key, self.origin):
            seen.add(key)
            top = self._find_top(key) if self._cuts or self._dnames else None
            if top is None:
                outcome = self._look(name, kind, found)
            elif top not in self._cuts:
                outcome = self._substitute(name, top, kind, found)
            elif top == key and kind == Type.DS:
                outcome = self._look(name, kind, found)
            else:
                outcome = self._refer(found, top)
            if isinstance(outcome, Answer):
                return outcome
            name = outcome
        return self._found(found)

    def _look(self, name: bytes, kind: int, found: list[RRset]) -> Answer | bytes:
        """Answer with what a name has, or find an alias, and return where that leads."""
        key = name.lower()
        node = self._nodes.get(key)
        wild = node is None
        if node is None:
            node = self._wildcard(key)
        if node is None:
            return self._deny(found, Rcode.NXDOMAIN)
        alias = node.get(Type.CNAME)
        if alias is not None and kind not in _ALIASES and kind not in _BESIDE_CNAME:
            found.append(replace(alias, name=name) if wild else alias)
            return alias.rdatas[0]
        rrset = node.get(kind) if kind != Type.ANY else _smallest(node)
        if rrset is None:
            return self._deny(found, Rcode.NOERROR)
        found.append(replace(rrset, name=name) if wild else rrset)
        return self._found(found, self._additional((rrset,)) if rrset.type in _TARGETS else (), key)

    def _substitute(self, name: bytes, top: bytes, kind: int, found: list[RRset]) -> Answer | bytes:
        """Find the alias that a DNAME makes of a name below it, and return where that leads (RFC 6672, section 3.2)."""
        dname = self._nodes[top][Type.DNAME]
        if dname not in found:  # a chain may pass it twice
            found.append(dname)
        target = name[: len(name) - len(top)] + dname.rdatas[0]
        if len(target) > NAME_LIMIT:
            return replace(self._found(found), rcode=Rcode.YXDOMAIN)
        found.append(RRset(name, Type.CNAME, dname.ttl, (target,)))
        return self._found(found) if kind in _ALIASES else target

    def _found(self, found: list[RRset], extra: tuple[RRset, ...] = (), kind: bytes = b"") -> Answer:
        return Answer(
            answer=tuple(found), additional=extra, authoritative=True, lasting=True, kind=kind or self.origin
        )

    def _find_top(self, key: bytes) -> bytes | None:
        """Return the first delegation, or the first DNAME above ``key``, on the way down to it."""
        found = None
        for each in ancestors(key):
            if len(each) < len(self.origin):
                break
            if each in self._cuts or (each in self._dnames and each != key):
                found = each
        return found

    def _wildcard(self, key: bytes) -> _Node | None:
        """Return what a name that is not there has from a wildcard (RFC 4592, section 3.3)."""
        while key not in self._nodes:
            key = parent(key)
        return self._nodes.get(b"\1*" + key)

    def _deny(self, found: list[RRset], rcode: int) -> Answer:
        return Answer(rcode, tuple(found), self._negative, authoritative=True, lasting=True, kind=self.origin)

    def _refer(self, found: list[RRset], cut: bytes) -> Answer:
        servers = self._nodes[cut][Type.NS]
        addresses = self._additional((servers,), below=cut)
        needed = sum(is_under(each.name.lower(), cut) for each in addresses)
        # A CNAME that leads here is an answer; the referral alone has no authority.
        return Answer(
            Rcode.NOERROR,
            tuple(found),
            (servers,),
            addresses,
            glue=needed,
            authoritative=bool(found),
            lasting=True,
            kind=cut,
        )

    def _additional(self, rrsets: Iterable[RRset], below: bytes | None = None) -> tuple[RRset, ...]:
        """Return the addresses that are here of the names in ``rrsets``, those without which they are useless first."""
        found = list[RRset]()
        for rrset in rrsets:
            for rdata in rrset.rdatas:
                node = self._nodes.get(rdata[_TARGETS[rrset.type] :].lower(), {})
                found += (node[each] for each in _ADDRESSES if each in node)
        unique = {(each.name.lower(), each.type): each for each in found}
        return tuple(
            sorted(unique.values(), key=lambda each: below is None or not is_under(each.name.lower(), below))
        )

    def _check(self) -> None:
        apex = self._nodes.get(self.origin, {})
        for kind in (Type.SOA, Type.NS):
            if kind not in apex:
                raise _MissingError(
                    f"{to_text(self.origin)} has no {kind.name}: a zone begins with SOA and NS"
                )


class _MissingError(ZoneError):
    """Something is wrong with what is not there, which has no place."""


def _gather(origin: bytes, records: Iterable[Record]) -> dict[bytes, _Node]:
    """Return the names and what they have, with those that are only there because something is below them."""
    places = dict[tuple[bytes, int], Record]()
    nodes = dict[bytes, _Node]()
    for record in records:
        key = record.name.lower()
        if not is_under(key, origin):
            raise ZoneError(f"{record.where}: {to_text(record.name)} is not below {to_text(origin)}")
        node = nodes.setdefault(key, {})
        rrset = node.get(record.type)
        if rrset is None:
            places[key, record.type] = record
            node[record.type] = RRset(record.name, record.type, record.ttl, (record.rdata,))
        elif record.rdata not in rrset.rdatas:
            if record.type in _SINGLE:
                raise ZoneError(f"{record.where}: {to_text(record.name)} has two of what there can be one of")
            # RFC 2181, section 5.2: all of a set have one TTL, and whoever meets several takes the lowest.
            ttl = min(rrset.ttl, record.ttl)
            node[record.type] = RRset(rrset.name, record.type, ttl, (*rrset.rdatas, record.rdata))
    for (key, _), record in places.items():
        problem = _problem(origin, nodes, key, record)
        if problem:
            raise ZoneError(f"{record.where}: {to_text(record.name)} {problem}")
        for above in ancestors(key):
            nodes.setdefault(above, {})
            if above == origin:
                break
    return nodes


def _problem(origin: bytes, nodes: dict[bytes, _Node], key: bytes, record: Record) -> str:
    """Return what is wrong with a set of records that begins with ``record``, or nothing."""
    if record.type == Type.SOA and key != origin:
        return f"has a SOA: there is one at {to_text(origin)}, and no other"
    if Type.CNAME in nodes[key] and record.type not in _BESIDE_CNAME:
        return "has a CNAME, and so can have nothing else (RFC 1034, section 3.6.2)"
    if key != origin and {Type.DNAME, Type.NS} <= nodes[key].keys():
        return "has a DNAME and an NS, of which the one or the other leads away (RFC 6672, section 2.3)"
    above = key
    while above != origin:
        above = parent(above)
        if Type.DNAME in nodes.get(above, {}):
            return f"is below the DNAME of {to_text(above)}, where nothing can be (RFC 6672, section 2.4)"
    return ""


def _smallest(node: _Node) -> RRset | None:
    """Return the set that is the least worth to whoever wants a large answer for a forged address."""
    return min(node.values(), key=lambda each: len(each.packed), default=None)

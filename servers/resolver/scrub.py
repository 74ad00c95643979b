"""What may be believed of an upstream server's answer: what answers the question, and nothing else.

Only the answer section's records that lead from the question to its end, within the domain the server was asked about,
and the SOA that says how long nothing is there. Whatever else it says, of other names or of who their servers are, was
not asked for, and is how caches are poisoned (RFC 5452, section 6; RFC 2181, section 5.4.1).
"""

from __future__ import annotations

from servers.resolver.message import Message
from servers.resolver.names import NAME_LIMIT, ancestors, is_under
from servers.resolver.records import IN, Answer, Rcode, RRset, Type

__all__ = ["scrub"]

_MOST_ALIASES = 16
_DENIALS = {int(Type.NSEC), int(Type.NSEC3), int(Type.RRSIG)}


def scrub(message: Message, name: bytes, kind: int, domain: bytes, *, signed: bool = False) -> Answer | None:
    """Return what an answer says to a question.

    Args:
        message: the answer, which is known to be one to the question.
        name: the name that was asked about.
        kind: the type.
        domain: which names the server is asked about, lowered.
        signed: whether signatures were asked for.

    Returns:
        The answer; it ends in an alias if that leads out of the domain, or is all there is. ``None`` if it says
        nothing, as a server does that does not recurse.
    """
    found = {(each.name.lower(), each.type): each for each in message.answer if each.rclass == IN}
    chosen: list[RRset] = []
    current, complete = name, False
    while len(chosen) <= 2 * _MOST_ALIASES:
        key = current.lower()
        if kind == Type.ANY:
            chosen += (each for (owner, _), each in found.items() if owner == key)
            complete = bool(chosen)
            break
        if (key, kind) in found:
            chosen += _with_signature(found, key, kind, signed=signed)
            complete = True
            break
        target = _follow(found, current, chosen, signed=signed)
        if target is None:
            break
        current = target
        # What is out of its domain is another's to tell; so is what goes round in circles.
        if not is_under(current.lower(), domain):
            return Answer(answer=tuple(chosen))
    if complete:
        return Answer(answer=tuple(chosen))
    return _negative(message, current, chosen, domain, signed=signed)


def _negative(
    message: Message, current: bytes, chosen: list[RRset], domain: bytes, *, signed: bool
) -> Answer | None:
    """Return that there is nothing at the end of a chain, if the answer says so."""
    authority = [
        each
        for each in message.authority
        if each.type == Type.SOA
        and each.rclass == IN
        and len(each.rdatas) == 1
        and is_under(current.lower(), each.name.lower())
        and is_under(each.name.lower(), domain)
    ]
    if authority and signed:
        apex = authority[0].name.lower()
        authority += (
            each for each in message.authority if each.type in _DENIALS and is_under(each.name.lower(), apex)
        )
    if message.rcode == Rcode.NXDOMAIN or authority:
        return Answer(message.rcode, tuple(chosen), tuple(authority))
    if chosen:
        return Answer(answer=tuple(chosen))
    # Neither an answer nor a SOA: without a referral either it is an old server's way to say no (RFC 2308, 2.2).
    referral = any(each.type == Type.NS for each in message.authority)
    return None if referral else Answer()


def _follow(
    found: dict[tuple[bytes, int], RRset], current: bytes, chosen: list[RRset], *, signed: bool
) -> bytes | None:
    """Follow an alias: take it into ``chosen``, and return where it leads."""
    key = current.lower()
    for above in ancestors(key):
        dname = found.get((above, Type.DNAME))
        if dname is not None and above != key and len(dname.rdatas) == 1:
            target = current[: len(current) - len(above)] + dname.rdatas[0]
            if len(target) > NAME_LIMIT:
                return None
            chosen += _with_signature(found, above, Type.DNAME, signed=signed)
            # Made here, whatever the server made of it (RFC 6672, section 3.1).
            chosen.append(RRset(current, Type.CNAME, dname.ttl, (target,)))
            return target
    alias = found.get((key, Type.CNAME))
    if alias is None or len(alias.rdatas) != 1 or alias in chosen:
        return None
    chosen += _with_signature(found, key, Type.CNAME, signed=signed)
    return alias.rdatas[0]


def _with_signature(
    found: dict[tuple[bytes, int], RRset], key: bytes, kind: int, *, signed: bool
) -> tuple[RRset, ...]:
    rrset = found[key, kind]
    signatures = found.get((key, Type.RRSIG)) if signed and kind != Type.RRSIG else None
    if signatures is None:
        return (rrset,)
    covering = tuple(each for each in signatures.rdatas if int.from_bytes(each[:2], "big") == kind)
    if not covering:
        return (rrset,)
    return (RRset(signatures.name, Type.RRSIG, signatures.ttl, covering), rrset)

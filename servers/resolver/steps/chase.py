"""Aliases are followed to wherever they lead: from a zone to the cache, from one upstream's domain to another's."""

from __future__ import annotations

from dataclasses import replace

from servers.resolver.protocol import Query
from servers.resolver.records import CH, Answer, Rcode, Type
from servers.resolver.steps import Next, Outcome, then

__all__ = ["Chase"]

# A longer chain is a mistake, and may be meant to keep a server busy. Unbound follows 11.
_MOST = 16


class Chase:
    """Completes answers that end in an alias: from another zone for everybody, from elsewhere for whom that is asked.

    RFC 1034, section 4.3.2, step 3a: with the name that an alias leads to, all begins anew.
    """

    def __call__(self, query: Query, rest: Next) -> Outcome:
        """Answer, and go on where the answer leaves off."""
        outcome = rest(query)
        if query.rclass == CH:
            return outcome
        return then(outcome, lambda answer: _follow(query, answer, rest, _MOST))


def _follow(query: Query, answer: Answer | None, rest: Next, left: int) -> Outcome:
    target = None if answer is None else _dangling(query, answer)
    if answer is None or target is None:
        return answer
    if left == 0 or any(each.name.lower() == target.lower() for each in answer.answer):
        # RFC 1034, section 3.6.2: an error; but whoever asks about the zone itself is told what is in it.
        return answer if answer.authoritative else replace(answer, rcode=Rcode.SERVFAIL, answer=())
    further = replace(query, question=target + query.question[-4:])

    def go_on(found: Answer | None) -> Outcome:
        if found is None or found.rcode == Rcode.REFUSED:
            # Nobody here knows the target: the alias is all there is.
            return replace(answer, lasting=answer.lasting and found is not None and found.lasting)
        whole = replace(
            found,
            answer=(*answer.answer, *found.answer),
            authoritative=answer.authoritative,
            lasting=answer.lasting and found.lasting,
        )
        return _follow(query, whole, rest, left - 1)

    return then(rest(further), go_on)


def _dangling(query: Query, answer: Answer) -> bytes | None:
    """Return where an answer leads that does not lead to an end."""
    if answer.rcode != Rcode.NOERROR or not answer.answer or answer.authority:
        return None
    last = answer.answer[-1]
    if last.type != Type.CNAME or query.type in {Type.CNAME, Type.ANY}:
        return None
    return last.rdatas[0]

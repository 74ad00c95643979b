"""What was answered before.

An answer is kept whole, for as long as its shortest TTL says; that nothing is there for as long as the SOA says
(RFC 2308); that it could not be found out for some seconds (RFC 9520). Answers whose time is over are kept on, in case
nobody can be asked (RFC 8767).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, replace
from typing import TypeAlias

from servers.resolver.generations import Generations
from servers.resolver.protocol import Query
from servers.resolver.records import Answer, Error, Rcode, RRset, negative_ttl
from servers.resolver.steps import Next, Outcome, then

__all__ = ["Cache", "CacheRules"]


@dataclass(frozen=True, slots=True)
class CacheRules:
    """For how long answers are kept; seconds."""

    lowest_ttl: int = 0
    highest_ttl: int = 86400
    """A day, as Unbound has it; RFC 8767, section 4, wants some limit, of a week at most."""
    highest_negative_ttl: int = 3600
    """RFC 2308, section 5, speaks of one to three hours."""
    failure: float = 5.0
    """RFC 9520, section 3.2: from one second to five minutes."""
    stale: float = 86400.0
    """How long after its time an answer may serve; RFC 8767, section 5, suggests one to three days."""
    stale_ttl: int = 30
    recheck: float = 30.0
    """After a failure, how long nobody is asked again while there is a stale answer. RFC 8767, section 5."""
    patience: float = 1.8
    """How long a client waits before it gets a stale answer. RFC 8767, section 5."""
    octets: int = 32 * 1024 * 1024
    """In each of two generations."""


_Key: TypeAlias = tuple[bytes, int, bool, bool]


@dataclass(slots=True)
class _Entry:
    answer: Answer
    born: float
    expires: float
    failed: float = float("-inf")
    """When it last could not be renewed."""


def _weight(entry: _Entry) -> int:
    """Return about how many octets an entry takes: its objects, and what is in them."""
    answer = entry.answer
    return 500 + sum(2 * len(each.packed) for part in (answer.answer, answer.authority) for each in part)


class Cache:
    """Answers what was answered before.

    Args:
        rules: for how long.
        later: calls a function after some seconds.
        clock: tells the time in seconds.
    """

    def __init__(
        self,
        rules: CacheRules,
        later: Callable[[float, Callable[[], object]], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules = rules
        self._later = later
        self._clock = clock
        self._entries: Generations[_Key, _Entry] = Generations(rules.octets, _weight)

    def __call__(self, query: Query, rest: Next) -> Outcome:
        """Answer from memory, or remember what the rest says."""
        signed = query.edns is not None and query.edns.do
        key = (query.key, query.type, signed, query.checking_disabled)
        now = self._clock()
        # That there is no such name, there is in no type.
        entry = self._entries.get(key) or self._entries.get((key[0], 0, signed, key[3]))
        if entry is not None and now < entry.expires:
            return entry.answer.aged(int(now - entry.born))
        stale = entry if entry is not None and self._may_serve(entry, now) else None
        if stale is not None and now < stale.failed + self._rules.recheck:
            return self._stale(stale)
        outcome = then(rest(query), lambda answer: self._learn(key, stale, answer))
        if stale is None or not isinstance(outcome, Future):
            return outcome
        return self._first(outcome, stale)

    def _may_serve(self, entry: _Entry, now: float) -> bool:
        # That something is not there, or failed, must not outlive its time: it would hide what has come to be.
        return (
            entry.answer.rcode == Rcode.NOERROR
            and bool(entry.answer.answer)
            and now < entry.expires + self._rules.stale
        )

    def _learn(self, key: _Key, stale: _Entry | None, answer: Answer | None) -> Answer | None:
        """Keep an answer; return what to say."""
        now = self._clock()
        if answer is None or (answer.error is not None and answer.error[0] == Error.NOT_READY):
            return answer
        if answer.rcode not in {Rcode.NOERROR, Rcode.NXDOMAIN}:
            if stale is not None:
                stale.failed = now
                return self._stale(stale)
            kept = replace(answer, error=(Error.CACHED_ERROR, "")) if answer.error else answer
            self._keep(key, kept, now, self._rules.failure)
            return answer
        answer, seconds = self._bounded(answer)
        if seconds > 0:
            if answer.rcode == Rcode.NXDOMAIN and not answer.answer:
                key = (key[0], 0, *key[2:])
            self._keep(key, answer, now, seconds)
        return answer

    def _keep(self, key: _Key, answer: Answer, now: float, seconds: float) -> None:
        self._entries.put(key, _Entry(answer, now, now + seconds))

    def _bounded(self, answer: Answer) -> tuple[Answer, float]:
        """Return an answer with its TTLs in bounds, and for how long to keep it."""
        rules = self._rules
        sets = tuple(self._clamped(each) for each in answer.answer)
        authority = answer.authority
        seconds = min((each.ttl for each in sets), default=rules.highest_ttl)
        if authority:
            negative = min(negative_ttl(authority[0]), rules.highest_negative_ttl)
            authority = tuple(each.aged(min(each.ttl, negative)) for each in authority)
            seconds = min(seconds, negative)
        elif answer.rcode == Rcode.NXDOMAIN or not sets:
            seconds = 0  # RFC 2308, section 5: without a SOA nobody says for how long
        return replace(answer, answer=sets, authority=authority), seconds

    def _clamped(self, rrset: RRset) -> RRset:
        return rrset.aged(min(max(rrset.ttl, self._rules.lowest_ttl), self._rules.highest_ttl))

    def _stale(self, entry: _Entry) -> Answer:
        sets = tuple(each.aged(self._rules.stale_ttl) for each in entry.answer.answer)
        return replace(entry.answer, answer=sets, authority=(), error=(Error.STALE_ANSWER, ""))

    def _first(self, outcome: Future[Answer | None], stale: _Entry) -> Outcome:
        """Return the answer that comes, or the stale one if that takes long; what comes later is kept all the same."""
        first: Future[Answer | None] = Future()

        def settle(answer: Answer | None) -> None:
            with contextlib.suppress(InvalidStateError):  # the other was first
                first.set_result(answer)

        outcome.add_done_callback(lambda done: settle(done.result()))
        self._later(self._rules.patience, lambda: settle(self._stale(stale)))
        return first

    def __len__(self) -> int:
        return len(self._entries)

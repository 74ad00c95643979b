"""Upstream servers, by domain: one exchange per question, however many wait for it, and a cap on those who do."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from servers.resolver.exchanges import Exchanges
from servers.resolver.lookup import Lookup, Question
from servers.resolver.names import ancestors
from servers.resolver.protocol import Query
from servers.resolver.records import Answer, Error, Rcode
from servers.resolver.steps import Next, Outcome
from servers.resolver.upstream import Upstream

__all__ = ["Forward"]

# Questions that may wait at a time, in all and of one client. Answers that have gathered while an upstream server was
# silent all leave at once: this bounds what comes down on a client that a forger has named (CVE-2024-33655).
_MOST, _MOST_PER_CLIENT = 5000, 200
# Different questions under way, each of which has a socket.
_MOST_LOOKUPS = 500

OVERLOADED = Answer(Rcode.SERVFAIL, error=(Error.NOT_READY, ""), kind=b"overloaded")


@dataclass(slots=True)
class _Wait:
    """A question under way, and who waits for its answer."""

    outcome: Future[Answer | None] = field(default_factory=Future[Answer | None])
    clients: list[str] = field(default_factory=list[str])


class Forward:
    """Asks upstream servers.

    Args:
        routes: the servers of each domain; those of the domain nearest to a name are asked about it.
        exchanges: does what is to be done with sockets.
    """

    def __init__(self, routes: Mapping[bytes, Sequence[Upstream]], exchanges: Exchanges) -> None:
        self._routes = {domain.lower(): upstreams for domain, upstreams in routes.items()}
        self._exchanges = exchanges
        self._guard = threading.Condition()
        self._under_way: dict[tuple[bytes, Question], _Wait] = {}
        self._total = 0
        self._waiting: Counter[str] = Counter()

    def __call__(self, query: Query, rest: Next) -> Outcome:
        """Ask, or wait for who has asked already."""
        domain = next((each for each in ancestors(query.key) if each in self._routes), None)
        if domain is None:
            return rest(query)
        signed = query.edns is not None and query.edns.do
        question = Question(query.key, query.type, signed, query.checking_disabled)
        with self._guard:
            if self._total >= _MOST or self._waiting[query.client] >= _MOST_PER_CLIENT:
                return OVERLOADED
            wait = self._under_way.get((domain, question))
            if wait is None and len(self._under_way) >= _MOST_LOOKUPS:
                return OVERLOADED
            if wait is None:
                wait = self._under_way[domain, question] = _Wait()
                self._exchanges.call(lambda: self._look_up(domain, question))
            self._total += 1
            self._waiting[query.client] += 1
            wait.clients.append(query.client)
        return wait.outcome

    def waiting(self) -> int:
        """Return how many questions wait."""
        return self._total

    def settle(self, seconds: float) -> None:
        """Wait until no question waits, for so long at most."""
        with self._guard:
            self._guard.wait_for(lambda: not self._total, seconds)

    def _look_up(self, domain: bytes, question: Question) -> None:
        def done(answer: Answer) -> None:
            with self._guard:
                wait = self._under_way.pop((domain, question))
            wait.outcome.set_result(answer)  # which sends the answers
            with self._guard:
                self._count_out(wait.clients)

        Lookup(self._exchanges, self._routes[domain], question, domain, done).start()

    def _count_out(self, clients: list[str]) -> None:
        self._total -= len(clients)
        for client in clients:
            self._waiting[client] -= 1
            if not self._waiting[client]:
                del self._waiting[client]
        self._guard.notify_all()

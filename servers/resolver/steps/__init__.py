"""What a question passes on its way: each step answers, or asks the next, and may change what that says.

============  ===================================================================================
``rate``      no stranger gets the same answer too often
``chaos``     ``version.bind`` and its like, in class CH
``chase``     aliases are followed to wherever they lead
``local``     hosts files and block lists
``zones``     what is known authoritatively
``access``    what follows is only for those on the list
``special``   names that no server out there knows (RFC 6761)
``cache``     what was answered before
``forward``   upstream servers, by domain
============  ===================================================================================
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Protocol, TypeAlias

from servers.resolver.protocol import Query
from servers.resolver.records import Answer, Rcode

__all__ = ["SERVFAIL", "Next", "Outcome", "Step", "chain", "then"]

_log = logging.getLogger("servers.resolver")

Outcome: TypeAlias = Answer | Future[Answer | None] | None
"""An answer, silence, or either of them later: what waits holds no thread."""

Next: TypeAlias = Callable[[Query], Outcome]

SERVFAIL = Answer(Rcode.SERVFAIL)


class Step(Protocol):
    """One step: answers, or leaves it to ``rest``."""

    def __call__(self, query: Query, rest: Next, /) -> Outcome:
        """Return what is said to the query."""
        ...


def chain(steps: Iterable[Step]) -> Next:
    """Return the steps as one; what none of them answers is refused."""
    rest: Next = lambda _: Answer(Rcode.REFUSED)  # noqa: E731 -- typed
    for step in reversed(list(steps)):
        rest = _link(step, rest)
    return rest


def _link(step: Step, rest: Next) -> Next:
    return lambda query: step(query, rest)


def then(outcome: Outcome, function: Callable[[Answer | None], Outcome]) -> Outcome:
    """Return what ``function`` makes of an outcome, now or later; it must not block."""
    if not isinstance(outcome, Future):
        return function(outcome)
    later: Future[Answer | None] = Future()

    def settle(done: Future[Answer | None]) -> None:
        try:
            made = function(done.result())
        except Exception:
            # Whoever waits must not wait for ever; the fault is this program's.
            _log.exception("answering failed")
            made = SERVFAIL
        if isinstance(made, Future):
            made.add_done_callback(lambda last: later.set_result(last.result()))
        else:
            later.set_result(made)

    outcome.add_done_callback(settle)
    return later

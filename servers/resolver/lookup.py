"""One question to the servers of a domain: which to ask, for how long to wait, and what to do about what comes back.

======================================  ============================================================================
no answer, or none can be sent           the next server, and in a second round without EDNS, which some drop
truncated                                the same one, by a connection
the question in other letters            the same one by a connection, and from then on in small letters only
FORMERR, NOTIMP, BADVERS                 the same one without EDNS (RFC 6891, section 6.2.2)
SERVFAIL, REFUSED, a referral            the next one; it may know better
NOERROR, NXDOMAIN                        the answer
YXDOMAIN                                 that a name got too long by a DNAME (RFC 6672, section 3.2)
======================================  ============================================================================
"""

from __future__ import annotations

import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from servers.resolver.exchange import Datagram, FailedError, Stream
from servers.resolver.exchanges import Exchanges
from servers.resolver.message import FormatError, Message, Opt, parse, query
from servers.resolver.records import Answer, Error, Rcode
from servers.resolver.scrub import scrub
from servers.resolver.upstream import Upstream

__all__ = ["Lookup", "Question"]

# Seconds for all of it: stub resolvers give up after five (resolv.conf(5)), and shall hear that it failed.
_PATIENCE = 4.5
# Exchanges for one question; whatever servers say, it comes to an end (RFC 9520, section 3.1).
_MOST_EXCHANGES = 12
# RFC 9520, section 3.1: no server is asked more than three times by one transport.
_ROUNDS = 3
_HEADER = 12
_RD, _CD, _QR, _TC, _OPCODE = 0x0100, 0x0010, 0x8000, 0x0200, 0x7800
_CASE = 0x20
_WITHOUT_EDNS = {Rcode.FORMERR, Rcode.NOTIMP, Rcode.BADVERS}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of upstream servers."""

    name: bytes
    """Lowered."""
    type: int
    signed: bool = False
    """Whether signatures are wanted (DO)."""
    unchecked: bool = False
    """Whether they are not to be checked (CD)."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """One exchange."""

    upstream: Upstream
    sent: float
    stream: bool
    edns: bool


class Lookup:
    """Asks one question; all of it runs in the thread of the exchanges.

    Args:
        exchanges: does what is to be done with sockets.
        upstreams: the servers, best first if all are equal.
        question: what to ask.
        domain: which names they are asked about, lowered.
        done: told the answer, once.
        clock: tells the time in seconds.
    """

    def __init__(
        self,
        exchanges: Exchanges,
        upstreams: Sequence[Upstream],
        question: Question,
        domain: bytes,
        done: Callable[[Answer], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._exchanges = exchanges
        self._question = question
        self._domain = domain
        self._done = done
        self._clock = clock
        now = clock()
        self._deadline = now + _PATIENCE
        # The quickest first, so that the others are asked only when it is silent.
        awake = [each for each in upstreams if not each.rests(now)]
        ordered = sorted(awake, key=lambda each: each.trip or 0.0)
        rounds = [(each, number) for number in range(_ROUNDS) for each in ordered]
        self._plan = deque(rounds[:_MOST_EXCHANGES])
        self._exchanged = 0
        self._tries = Counter[tuple[tuple[str, int], bool]]()
        self._silent = set[tuple[str, int]]()
        self._failure = Answer(Rcode.SERVFAIL, error=(Error.NO_REACHABLE_AUTHORITY, ""))

    def start(self) -> None:
        """Ask; if all servers rest, fail at once, rather than add to what brought them down."""
        self._ask_next()

    def _ask_next(self) -> None:
        left = self._deadline - self._clock()
        if not self._plan or left <= 0 or self._exchanged >= _MOST_EXCHANGES:
            self._done(self._failure)
            return
        upstream, number = self._plan.popleft()
        # The last one gets all the time there is: it may be asking others itself.
        seconds = min(upstream.patience(number), left) if self._plan else left
        # Some drop what has EDNS; who wants signatures cannot do without.
        self._ask(upstream, seconds, bare=number > 0 and not self._question.signed)

    def _ask(
        self,
        upstream: Upstream,
        seconds: float,
        *,
        stream: bool = False,
        small: bool = False,
        bare: bool = False,
    ) -> None:
        """Ask one server once; by a connection, in small letters, without EDNS."""
        self._exchanged += 1
        self._tries[upstream.address, stream] += 1
        if self._exchanged > _MOST_EXCHANGES or self._tries[upstream.address, stream] > _ROUNDS:
            self._ask_next()
            return
        now = self._clock()
        edns = upstream.speaks_edns(now) and not bare
        name = self._question.name
        if not small and upstream.keeps_case(now):
            name = _mixed(name)
        number = secrets.randbits(16)
        flags = _RD | (_CD if self._question.unchecked else 0)
        opt = Opt(do=self._question.signed) if edns else None
        packet = query(number, name, self._question.type, flags=flags, opt=opt)
        exchange = Stream if stream else Datagram
        judge = partial(self._judge, number, name)
        asked = _Asked(upstream, now, stream, edns)
        heard = partial(self._heard, asked)
        exchange(self._exchanges, upstream.address, packet, judge, heard).start(seconds)

    def _judge(self, number: int, name: bytes, data: bytes) -> Message | bytes | None:
        """Tell whether octets are the answer: a message; or would be but for its letters: those it has."""
        size = len(name)
        if data[_HEADER : _HEADER + size] == name:
            # What points into the question shall not have the letters that were made up for it.
            data = data[:_HEADER] + self._question.name + data[_HEADER + size :]
            name = self._question.name
        try:
            message = parse(data)
        except FormatError:
            return None
        if message.id != number or not message.flags & _QR or message.flags & _OPCODE:
            return None
        if not message.questions and message.rcode in _WITHOUT_EDNS:
            return message  # some say no more than that they could not read it
        if len(message.questions) != 1:
            return None
        asked, kind, rclass = message.questions[0]
        if (kind, rclass, asked.lower()) != (self._question.type, 1, self._question.name):
            return None
        return message if asked == name else asked

    def _heard(self, asked: _Asked, result: Message | bytes | FailedError) -> None:
        """Go on with what came of asking."""
        now, upstream = self._clock(), asked.upstream
        left = self._deadline - now
        if isinstance(result, FailedError):
            self._missed(asked, now, left)
            return
        if not asked.stream:
            upstream.answered(now - asked.sent)
            if upstream.speaks_edns(now):
                upstream.heard(now, edns=asked.edns)
        if isinstance(result, bytes):
            upstream.without_case(now)
            self._ask(upstream, left, stream=True, small=True)
        elif result.truncated and not asked.stream:
            self._ask(upstream, left, stream=True)
        elif result.rcode in _WITHOUT_EDNS and asked.edns:
            upstream.without_edns(now)
            self._ask(upstream, min(upstream.patience(0), left), stream=asked.stream)
        else:
            self._judge_answer(result)

    def _missed(self, asked: _Asked, now: float, left: float) -> None:
        """Go on without an answer."""
        upstream = asked.upstream
        # Where no connection is to be had, small letters by datagrams must do.
        if asked.stream and not upstream.keeps_case(now) and left > 0:
            self._ask(upstream, min(upstream.patience(0), left), small=True)
            return
        # Once: that it has no answer to this question does not say that it has none to any.
        if upstream.address not in self._silent:
            self._silent.add(upstream.address)
            upstream.failed(now)
        self._ask_next()

    def _judge_answer(self, message: Message) -> None:
        question = self._question
        if message.rcode in {Rcode.NOERROR, Rcode.NXDOMAIN}:
            answer = scrub(message, question.name, question.type, self._domain, signed=question.signed)
            if answer is not None:
                self._done(answer)
                return
        if message.rcode == Rcode.YXDOMAIN:
            self._done(Answer(Rcode.YXDOMAIN))
            return
        self._failure = Answer(Rcode.SERVFAIL, error=(Error.NETWORK_ERROR, ""))
        if self._plan and self._plan[0][1] == 0:
            self._ask_next()
        else:
            self._done(self._failure)


def _mixed(name: bytes) -> bytes:
    """Return the name in letters of random case, which an answer has to repeat (0x20)."""
    bits = secrets.randbits(8 * len(name)).to_bytes(len(name), "big")
    return bytes(
        octet ^ _CASE if bit & 1 and (65 <= octet <= 90 or 97 <= octet <= 122) else octet  # noqa: PLR2004 -- letters
        for octet, bit in zip(name, bits, strict=True)
    )

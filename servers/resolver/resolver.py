"""The resolver: from a packet to the octets that answer it, by the short way or by the long one.

The short way is a look at the answers of a moment ago. The long way reads the packet, asks the steps one after the
other, and packs what they say; where that has to wait, for an upstream server, nobody waits with it: the answer leaves
when it is there.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace

from servers.resolver.cookies import CLIENT_COOKIE, Cookies
from servers.resolver.message import PAYLOAD, Opt
from servers.resolver.protocol import NSID, Query, read
from servers.resolver.records import ANY, Answer, Rcode, Type
from servers.resolver.response import Packed, pack
from servers.resolver.steps import Step, chain
from servers.resolver.steps.access import AccessList
from servers.resolver.steps.rate import RateLimit
from servers.resolver.transfer import Transfers
from servers.resolver.wirecache import Entry, WireCache, fingerprint

__all__ = ["Reply", "Resolver"]

_log = logging.getLogger(__name__)

Reply = Callable[[bytes | None], object]
"""Sends an answer, or takes note that there is none; called from any thread, and must never block."""

_AA, _RA, _CD = 0x0400, 0x0080, 0x0010
_EDE = 15  # RFC 8914, section 2
# Answers kept as octets, in each of two generations: some 500 octets each, a few MiB in all.
_REMEMBERED = 8192


class Resolver:
    """Answers packets. What it is made of stays as it is; a reload makes another one.

    Args:
        steps: what a question passes.
        known: who may ask about everything.
        rate: what others get.
        cookies: how others prove where they are.
        transfers: who hands out zones.
        recurses: whether there is anything to be asked about beyond what is here.
        nsid: what to call this server (RFC 5001); empty: nothing.
        payload: octets of an answer by UDP at most.
        answers: counts what is answered by the long way, by code.
        clock: tells the time in seconds.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        known: AccessList,
        rate: RateLimit,
        cookies: Cookies,
        *,
        transfers: Transfers | None = None,
        recurses: bool = False,
        nsid: bytes = b"",
        payload: int = PAYLOAD,
        answers: Counter[int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._next = chain([rate, *steps])
        self._known = known
        self._rate = rate
        self._cookies = cookies
        self._transfers = transfers
        self._recurses = recurses
        self._nsid = nsid
        self._payload = payload
        self._answers: Counter[int] = Counter() if answers is None else answers
        self.clock = clock
        # Known clients are told that there is recursion, and others are not.
        self._wires = (WireCache(_REMEMBERED), WireCache(_REMEMBERED))

    def quickly(self, data: bytes, client: str, now: float) -> bytes | None:
        """Return the answer to a datagram if it is one of those given a moment ago; empty: it gets none.

        Args:
            data: the datagram.
            client: the address it came from.
            now: the time by ``clock``.
        """
        known = self._known[client]
        # As it is, for most: in small letters, without options.
        entry = self._wires[known].get(data[2:])
        if entry is None:
            return self._quickly_read(data, client, now, known=known)
        whole = entry.whole(now)
        if whole is None:
            return None
        allowed = known or self._rate.allows(client, entry.sort)
        if allowed:
            return data[:2] + whole
        return b"" if allowed is None else entry.cut(data[:2])

    def _quickly_read(self, data: bytes, client: str, now: float, *, known: bool) -> bytes | None:
        mark = fingerprint(data)
        entry = None if mark is None else self._wires[known].get(mark[0])
        packed = None if entry is None else entry.at(now)
        if mark is None or entry is None or packed is None:
            return None
        _, end, cookie = mark
        option, good = self._cookies.check(client, cookie) if cookie else (b"", False)
        allowed = known or good or self._rate.allows(client, entry.sort)
        if allowed:
            return packed.reply(data[:2], data[12:end], option)
        return b"" if allowed is None else packed.cut(data[:2], data[12:end], option)

    def receive(self, data: bytes, client: str, reply: Reply, *, stream: bool = False) -> None:
        """Answer a packet, now or later; it never raises for the sake of the packet.

        Args:
            data: the packet.
            client: the address it came from.
            reply: called once, with the answer, or with ``None`` if there is none.
            stream: whether it came by a connection.
        """
        try:
            self._receive(data, client, reply, stream=stream)
        except Exception:
            self._fail(data, reply)

    def _fail(self, data: bytes, reply: Reply) -> None:
        """Say that it went wrong, to the log and to the client (RFC 1035, section 4.1.1); the fault is this program's."""
        _log.exception("answering %r failed", data[:512])
        reply(data[:2] + bytes([0x80 | data[2] & 0x79, Rcode.SERVFAIL]) + bytes(8))

    def transfer(self, data: bytes, client: str) -> Iterator[bytes] | None:
        """Return the messages that answer a query for a zone, which came by a connection; ``None``: it is no such."""
        if b"\0\0\xfb\0\1" not in data and b"\0\0\xfc\0\1" not in data:
            return None  # mostly so, and found out without reading it
        query = self._read(data, client, stream=True)
        if (
            self._transfers is None
            or query is None
            or query.problem is not None
            or query.type not in {Type.AXFR, Type.IXFR}
        ):
            return None
        asked, pieces = query, self._transfers.answer(query, data)
        return (self._pack(asked, piece).reply(asked.id, asked.question, asked.option) for piece in pieces)

    def _read(self, data: bytes, client: str, *, stream: bool) -> Query | None:
        """Read a packet, and find out whether it comes from where it says."""
        query = read(data, payload=self._payload, client=client, stream=stream, known=self._known[client])
        if query is None or query.edns is None or not query.edns.cookie:
            return query
        option, good = self._cookies.check(client, query.edns.cookie)
        return replace(query, option=option, trusted=good)

    def _receive(self, data: bytes, client: str, reply: Reply, *, stream: bool) -> None:
        query = self._read(data, client, stream=stream)
        if query is None:
            reply(None)
            return
        outcome = self._next(query) if query.problem is None else self._refuse(query, query.problem)
        if isinstance(outcome, Future):
            asked = query
            outcome.add_done_callback(lambda done: self._finish_later(asked, data, done, reply))
        else:
            self._finish(query, data, outcome, reply)

    def _refuse(self, query: Query, rcode: int) -> Answer | None:
        """Return the code that a packet is owed, unless there were too many of them."""
        cookie = b"" if query.edns is None else query.edns.cookie
        if rcode == Rcode.NOERROR and len(cookie) > CLIENT_COOKIE and not query.trusted:
            rcode = Rcode.BADCOOKIE  # RFC 7873, section 5.4
        answer = Answer(rcode, kind=b"malformed")
        return answer if self._rate(query, lambda _: answer) is answer else None

    def _finish_later(self, query: Query, data: bytes, done: Future[Answer | None], reply: Reply) -> None:
        try:
            self._finish(query, data, done.result(), reply)
        except Exception:
            self._fail(data, reply)

    def _finish(self, query: Query, data: bytes, answer: Answer | None, reply: Reply) -> None:
        """Pack an answer and send it."""
        if answer is None:
            reply(None)
            return
        self._answers[answer.rcode] += 1
        packed = self._pack(query, answer)
        if not query.stream and _is_reusable(answer):
            mark = fingerprint(data)
            # The end of the name is elsewhere where the name has a NUL in it.
            if mark is not None and mark[1] == len(query.question) + 12:
                self._wires[query.known].put(mark[0], Entry(packed, query.question, answer, self.clock()))
        reply(packed.reply(query.id, query.question, query.option))

    def _pack(self, query: Query, answer: Answer) -> Packed:
        # Nobody is authoritative for all classes (RFC 1034, section 4.3.2).
        flags = query.flags | (_AA if answer.authoritative and query.rclass != ANY else 0)
        if self._recurses and query.known:
            # Who asks others repeats CD, who answers for itself does not (RFC 4035, sections 3.1.6 and 3.2.2).
            flags |= _RA | (_CD if query.checking_disabled and not answer.authoritative else 0)
        opt = self._opt(query, answer)
        return pack(answer, query.question, flags, opt=opt, limit=query.limit, spare=len(query.option))

    def _opt(self, query: Query, answer: Answer) -> Opt | None:
        """Return what to say by EDNS: nothing to whom does not speak it (RFC 6891, section 7)."""
        if query.edns is None:
            return None
        options = list[tuple[int, bytes]]()
        if query.edns.nsid and self._nsid:
            options.append((NSID, self._nsid))
        if answer.error is not None:
            code, text = answer.error
            options.append((_EDE, code.to_bytes(2, "big") + text.encode()))
        return Opt(self._payload, do=query.edns.do, rcode=answer.rcode >> 4, options=tuple(options))


def _is_reusable(answer: Answer) -> bool:
    """Tell whether the next one who asks may get the same octets: not for what may be better in a moment."""
    if answer.lasting:
        return True
    return answer.error is None and not answer.truncated and answer.rcode in {Rcode.NOERROR, Rcode.NXDOMAIN}

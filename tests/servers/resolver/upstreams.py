"""An upstream server that misbehaves on demand: the first label of what it is asked about says how."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Self

from servers.resolver.message import Message, Opt, parse
from servers.resolver.names import from_text, labels, parent
from servers.resolver.records import Answer, Rcode, RRset, Type
from servers.resolver.response import pack
from tests.servers.resolver.client import receive, send

GOOD = bytes([192, 0, 2, 1])
EVIL = bytes([203, 0, 113, 66])
_QR, _RA, _TC = 0x8000, 0x0080, 0x0200
VICTIM = from_text("victim.example.net.")


class Upstream:
    """A server for datagrams and connections, until the block ends."""

    def __init__(self) -> None:
        self.asked: Counter[bytes] = Counter()
        """How often about each name, lowered."""
        self.seen: list[tuple[int, bytes, int, bool]] = []
        """Of each datagram: the sender's port, the name as it was sent, the ID, whether EDNS was spoken."""
        self.dead = False
        """Whether to answer nothing at all."""
        self.release = threading.Event()
        """What ``slow`` answers wait for."""
        self.serials = 0
        self._closing = False

    def __enter__(self) -> Self:
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        while True:
            self._udp.bind(("127.0.0.1", 0))
            self._tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                self._tcp.bind(self._udp.getsockname())
                break
            except OSError:
                self._tcp.close()
                self._udp.close()
                self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._tcp.listen()
        self.address: tuple[str, int] = self._udp.getsockname()
        self._threads = [
            threading.Thread(target=each, daemon=True) for each in (self._datagrams, self._connections)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closing = True
        self.release.set()
        with contextlib.suppress(OSError):
            self._tcp.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self._udp.sendto(b"", self.address)
        for thread in self._threads:
            thread.join(10)
        self._tcp.close()
        self._udp.close()

    def _datagrams(self) -> None:
        while not self._closing:
            data, peer = self._udp.recvfrom(65535)
            if not data or self.dead:
                continue
            query = parse(data)
            name = query.questions[0][0]
            self.seen.append((peer[1], name, query.id, query.opt is not None))
            self.asked[name.lower()] += 1
            if labels(name)[0].lower() == b"slow":
                threading.Thread(target=self._later, args=(query, peer), daemon=True).start()
                continue
            for reply in self._replies(query, stream=False):
                self._udp.sendto(reply, peer)

    def _later(self, query: Message, peer: Any) -> None:
        self.release.wait(20)
        if not self._closing:
            self._udp.sendto(_reply(query, Answer(answer=(_address(query),))), peer)

    def _connections(self) -> None:
        while not self._closing:
            try:
                connection, _ = self._tcp.accept()
            except OSError:
                return
            # Some clients keep theirs.
            threading.Thread(target=self._connection, args=(connection,), daemon=True).start()

    def _connection(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(10)
            while not self.dead and not self._closing and (data := receive(connection)):
                query = parse(data)
                self.asked[query.questions[0][0].lower()] += 1
                for reply in self._replies(query, stream=True):
                    send(connection, reply)

    def _replies(self, query: Message, *, stream: bool) -> Iterator[bytes]:
        name = query.questions[0][0]
        how = labels(name)[0].lower().decode()
        good = _reply(query, Answer(answer=(_address(query),)))
        evil = _reply(query, Answer(answer=(_address(query, EVIL),)))
        soa = RRset(from_text("example."), Type.SOA, 60, (b"\0\0" + (60).to_bytes(4, "big") * 5,))
        simple: dict[str, Callable[[], list[bytes]]] = {
            "silent": list,
            "wrongid": lambda: [bytes([evil[0] ^ 1]) + evil[1:], good],
            "wrongname": lambda: [_reply(query, Answer(answer=(_address(query, EVIL),)), name=VICTIM), good],
            "wrongtype": lambda: [_reply(query, Answer(answer=(_address(query, EVIL),)), kind=28), good],
            "noanswer": lambda: [good[:2] + bytes([good[2] & 0x7F]) + good[3:], good],
            "garbage": lambda: [b"\xff" * 40, good[:-2], good],
            "truncated": lambda: [good if stream else _reply(query, Answer(), flags=_TC)],
            "noedns": lambda: [] if query.opt is not None else [good],
            "formerr": lambda: [_bare(query, Rcode.FORMERR) if query.opt is not None else good],
            "lower": lambda: [
                good if stream else _reply(query, Answer(answer=(_address(query),)), name=name.lower())
            ],
            "servfail": lambda: [_reply(query, Answer(Rcode.SERVFAIL))],
            "refused": lambda: [_reply(query, Answer(Rcode.REFUSED))],
            "nxdomain": lambda: [_reply(query, Answer(Rcode.NXDOMAIN, authority=(soa,)))],
            "yxdomain": lambda: [_reply(query, Answer(Rcode.YXDOMAIN))],
            "nodata": lambda: [_reply(query, Answer(authority=(soa,)))],
            "referral": lambda: [
                _reply(query, Answer(authority=(RRset(from_text("example."), 2, 60, (VICTIM,)),)))
            ],
            "alias": lambda: [_alias(query, b"\6target" + name)],
            "poison": lambda: [_poison(query)],
            "away": lambda: [_away(query)],
            "flood": lambda: [bytes([evil[0] ^ 1]) + evil[1:]] * 100,
        }
        if how in simple:
            yield from simple[how]()
        elif how == "serial":
            self.serials += 1
            yield _reply(query, Answer(answer=(_address(query, bytes([10, 0, 0, self.serials])),)))
        else:
            yield good


def _reply(query: Message, answer: Answer, *, name: bytes = b"", kind: int = 0, flags: int = 0) -> bytes:
    asked, asked_kind, _ = query.questions[0]
    question = (name or asked) + (kind or asked_kind).to_bytes(2, "big") + b"\0\1"
    opt = None if query.opt is None else Opt()
    packed = pack(answer, question, _QR | _RA | flags | query.flags & 0x0110, opt=opt)
    return packed.reply(query.id.to_bytes(2, "big"), question)


def _bare(query: Message, rcode: int) -> bytes:
    return query.id.to_bytes(2, "big") + (_QR | rcode).to_bytes(2, "big") + bytes(8)


def _address(query: Message, address: bytes = GOOD, name: bytes = b"") -> RRset:
    return RRset(name or query.questions[0][0], Type.A, 60, (address,))


def _alias(query: Message, target: bytes) -> bytes:
    sets = (RRset(query.questions[0][0], Type.CNAME, 60, (target,)), _address(query, name=target))
    return _reply(query, Answer(answer=sets))


def _poison(query: Message) -> bytes:
    """Answer, and say things about others in every section."""
    evil = _address(query, EVIL, VICTIM)
    nameserver = RRset(parent(VICTIM), Type.NS, 86400, (VICTIM,))
    answer = Answer(answer=(_address(query), evil), authority=(nameserver,), additional=(evil,))
    return _reply(query, replace(answer, glue=1))


def _away(query: Message) -> bytes:
    """Answer by an alias out of the domain, and say what is there."""
    sets = (RRset(query.questions[0][0], Type.CNAME, 60, (VICTIM,)), _address(query, EVIL, VICTIM))
    return _reply(query, Answer(answer=sets))

"""Datagrams and connections: what gets an answer, in what order, and what clients that do not behave can do: nothing."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from framework.testing import eventually
from servers.resolver.message import Opt, parse, query
from servers.resolver.names import from_text
from servers.resolver.records import Answer, Rcode, Type
from servers.resolver.server import StreamServer
from servers.resolver.zone import Zone
from tests.servers.resolver.client import RD, receive, send, texts
from tests.servers.resolver.conftest import Serve

ZONE = "$TTL 60\n@ SOA ns h 1 2 3 4 30\n@ NS ns\nns A 192.0.2.1\nwww CNAME web\nweb A 192.0.2.2\n"
ZONE += "".join(f'large TXT "{n} {"x" * 200}"\n' for n in range(20))
ZONE += "".join(f'medium TXT "{n} {"x" * 200}"\n' for n in range(4))
ORG = {"example.org.": ZONE}


def test_the_short_way_says_the_same(serve: Serve, folder: Path) -> None:
    """The second answer, by memory, is the first one but for ID, letters and cookie."""
    resolver = serve(zones=ORG, folder=folder)
    for opt in (None, Opt(), Opt(do=True), Opt(options=((10, b"clientck"),))):
        first = resolver.exchange(query(1, from_text("www.example.org."), 1, flags=RD, opt=opt))
        second = resolver.exchange(query(2, from_text("WWW.eXample.org."), 1, flags=RD, opt=opt))
        one, two = parse(first), parse(second)
        assert (one.id, two.id) == (1, 2)
        assert two.questions[0][0] == from_text("WWW.eXample.org.")
        assert (one.flags, one.opt) == (two.flags, two.opt)
        # Names that end as the question does end in its letters (RFC 4343, section 4.1).
        assert [each.rdatas for each in one.answer] == [(each.rdatas[0].lower(),) for each in two.answer]


def test_long_answers_are_cut(serve: Serve, folder: Path) -> None:
    """An answer is as long as the client takes, and else TC with OPT and no part of a set; by a connection it is whole."""
    resolver = serve(zones=ORG, folder=folder)
    for opt, whole in ((None, False), (Opt(payload=1232), True), (Opt(payload=600), False)):
        for _ in range(2):
            found = resolver.ask("medium.example.org.", "TXT", opt=opt)
            assert (found.truncated, bool(found.answer)) == (not whole, whole)
            assert (found.opt is None) == (opt is None)
    with resolver.connect() as client:
        send(client, query(1, from_text("large.example.org."), 16))
        assert [count for _, _, count in texts(parse(receive(client)))] == [20]


def test_no_answer_to_an_answer(serve: Serve, folder: Path) -> None:
    """Answers and runts are not answered."""
    resolver = serve(zones=ORG, folder=folder)
    packet = query(1, from_text("www.example.org."), 1)
    assert resolver.answers(packet)
    assert not resolver.answers(packet[:2] + b"\x80" + packet[3:])
    assert not resolver.answers(packet[:11])
    assert not resolver.answers(b"")


def test_every_question_of_a_connection(serve: Serve, folder: Path) -> None:
    """A client that sends all it has to ask, and closes its side, gets every answer."""
    resolver = serve(zones=ORG, folder=folder)
    with resolver.connect() as client:
        send(client, *(query(number, from_text(f"n{number}.example.org."), 1) for number in range(50)))
        client.shutdown(socket.SHUT_WR)
        found = {parse(receive(client)).id for _ in range(50)}
        assert found == set(range(50))
        assert receive(client) == b""


def test_messages_in_pieces(serve: Serve, folder: Path) -> None:
    """A message may come octet by octet."""
    resolver = serve(zones=ORG, folder=folder)
    packet = query(3, from_text("www.example.org."), 1)
    with resolver.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in len(packet).to_bytes(2, "big") + packet:
            client.sendall(bytes([octet]))
        assert parse(receive(client)).id == 3


def test_crowds_of_idlers(serve: Serve, folder: Path) -> None:
    """40 clients that say nothing and 20 that never read, however much they ask, keep nobody from being served."""
    resolver = serve(zones=ORG, folder=folder)
    ask = query(1, from_text("large.example.org."), 16)
    with ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(resolver.connect())
        for _ in range(20):
            client = stack.enter_context(resolver.connect())
            client.setblocking(False)
            for _ in range(2000):
                try:
                    send(client, *[ask] * 20)
                except OSError:
                    break
        with resolver.connect() as client:
            send(client, query(5, from_text("www.example.org."), 1))
            assert parse(receive(client)).id == 5
        assert resolver.ask("www.example.org.").answer


def test_who_does_not_read_is_cut_off(serve: Serve, folder: Path) -> None:
    """A client that asks and never reads loses its connection, and with it all that was kept for it."""
    resolver = serve(zones=ORG, folder=folder)
    ask = query(1, from_text("large.example.org."), 16)
    with resolver.connect() as client:
        with pytest.raises(ConnectionError):
            _send_for_ever(client, ask)
        eventually(lambda: not resolver.tcp.info().connections)


def _send_for_ever(client: socket.socket, packet: bytes) -> None:
    for _ in range(100_000):
        send(client, *[packet] * 20)


def test_dawdlers_are_cut_off(serve: Serve, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who says nothing, or does not finish what was begun, loses the connection in time."""
    monkeypatch.setattr(StreamServer, "idle_timeout", 0.05)
    monkeypatch.setattr(StreamServer, "read_timeout", 0.05)
    resolver = serve(zones=ORG, folder=folder)
    with resolver.connect() as silent, resolver.connect() as slow:
        slow.sendall(b"\0\x20abc")
        assert silent.recv(1) == b""
        assert slow.recv(1) == b""


def test_zones_by_a_connection(serve: Serve, folder: Path) -> None:
    """A secondary on the list gets the whole zone, and by IXFR its SOA only if it has that already; others nothing."""
    loopback = (ipaddress.ip_network("127.0.0.0/8"),)
    resolver = serve(zones=ORG, folder=folder, allow_transfer=loopback)
    zone = next(iter(resolver.service.settings.read_zones().values()))
    name = from_text("example.org.")
    with resolver.connect() as client:
        send(client, query(1, name, Type.AXFR), query(2, name, Type.SOA))
        found = parse(receive(client))
        assert found.answer[0].type == Type.SOA
        assert sum(len(each.rdatas) for each in found.answer) == sum(
            len(each.rdatas) for each in zone.rrsets()
        )
        assert parse(receive(client)).id == 2
        opt = b"\0\0\x29\4\xd0" + bytes(6)
        for serial, whole in ((1, False), (0, True)):
            soa = zone.soa.rdatas[0]
            old = soa[:-20] + serial.to_bytes(4, "big") + soa[-16:]
            packet = bytearray(query(3, name, Type.IXFR, opt=Opt()))[: -len(opt)]
            packet[9] = 1
            record = b"\xc0\x0c\0\6\0\1" + bytes(4) + len(old).to_bytes(2, "big") + old
            send(client, bytes(packet) + record + opt)
            found = parse(receive(client))
            assert (len(found.answer) > 1, found.opt) == (whole, Opt())
        send(client, query(4, name, Type.IXFR))
        assert parse(receive(client)).rcode == Rcode.FORMERR
    assert resolver.ask("example.org.", "IXFR").answer == (zone.soa,)
    assert resolver.ask("example.org.", "AXFR").rcode == Rcode.NOTIMP
    other = serve(zones=ORG, folder=folder)
    with other.connect() as client:
        send(client, query(1, name, Type.AXFR), query(2, from_text("example.com."), Type.AXFR))
        assert parse(receive(client)).rcode == Rcode.REFUSED
        assert parse(receive(client)).rcode == Rcode.NOTAUTH


def test_large_zones_by_a_connection(folder: Path, serve: Serve) -> None:
    """A zone of many messages comes whole, however slowly the client reads."""
    text = ZONE + "".join(f"h{n} A 10.0.{n // 250}.{n % 250}\n" for n in range(20_000))
    text += "".join(f'huge TXT "{n} {"x" * 240}"\n' for n in range(300))
    resolver = serve(
        zones={"example.org.": text}, folder=folder, allow_transfer=(ipaddress.ip_network("127.0.0.1"),)
    )
    with resolver.connect() as client:
        send(client, query(1, from_text("example.org."), Type.AXFR))
        count, soas, names = 0, 0, set[bytes]()
        while soas < 2:
            for each in parse(receive(client)).answer:
                soas += each.type == Type.SOA
                count += len(each.rdatas)
                names.add(each.name)
    assert count == 20_000 + 300 + 5 + 24 + 1
    assert len(names) == 20_000 + 7


def test_faults_of_the_program(
    serve: Serve, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If answering fails by a fault of the program, the client is told so, the log has it, and the next is served."""
    resolver = serve(zones=ORG, folder=folder)

    def broken(self: Zone, name: bytes, kind: int) -> Answer:
        raise ArithmeticError("broken")

    with monkeypatch.context() as patched:
        patched.setattr(Zone, "answer", broken)
        found = resolver.exchange(query(9, from_text("www.example.org."), 1, flags=RD))
        assert (found[:2], found[3] & 0xF, len(found)) == (b"\0\x09", Rcode.SERVFAIL, 12)
    assert resolver.ask("www.example.org.").answer
    assert "ArithmeticError: broken" in caplog.text

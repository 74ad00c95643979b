"""NSD beside the resolver, with the same zone: every answer is the same, or it is known why not; and as a secondary."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from servers.resolver.message import Message, Opt, parse, query
from servers.resolver.names import from_text, is_under
from servers.resolver.rdata import type_number
from servers.resolver.records import RRset, Type
from tests.real_clients import nsd
from tests.real_clients.waiting import wait_for
from tests.servers.resolver.bigzone import ORIGIN, questions, zone
from tests.servers.resolver.client import PATIENCE, Running

pytestmark = pytest.mark.skipif(nsd.find() is None, reason="nsd is not installed")

QUESTIONS = 2500
_OPTS = (None, Opt(), Opt(payload=512), Opt(payload=4096), Opt(do=True))
_FLAGS = (0, 0x0100, 0x0110)
_TC = 0x0200


@pytest.fixture
def resolver(tmp_path: Path) -> Iterator[Running]:
    """Serve the zone to strangers, who are told no more than a server that is authoritative tells."""
    with Running({ORIGIN: zone()}, tmp_path, allow_recursion=(), rate_limit=0) as running:
        yield running


def test_the_same_answers(resolver: Running, tmp_path: Path) -> None:
    """Header and sections of thousands of answers, of dozens of types, are those of NSD but for what is known."""
    port = nsd.free_port()
    clause = f"zone:\n  name: {ORIGIN}\n  zonefile: 0.zone\n"
    unexplained = []
    with nsd.running(tmp_path, port, clause), resolver.datagrams() as ours, _client(port) as theirs:
        for number, (name, kind) in enumerate(questions(QUESTIONS)):
            code = type_number(kind)
            assert code is not None
            opt, flags = _OPTS[number % len(_OPTS)], _FLAGS[number % len(_FLAGS)]
            packet = query(number, from_text(name), code, flags=flags, opt=opt)
            here, there = _ask(ours, packet), _ask(theirs, packet)
            if _comparable(here) != _comparable(there) and not any(each(here, there) for each in _EXPLAINED):
                unexplained.append((name, kind, opt, here, there))
    assert not unexplained


def _client(port: int) -> socket.socket:
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(PATIENCE)
    client.connect(("127.0.0.1", port))
    return client


def _ask(client: socket.socket, packet: bytes) -> Message:
    client.send(packet)
    return parse(client.recv(65535))


def _comparable(message: Message, *, but: str = "") -> list[object]:
    found: list[object] = [
        message.rcode,
        message.questions,
        message.opt and (message.opt.version, message.opt.do),
    ]
    if "flags" not in but:
        found.append(message.flags)
    sections = [name for name in ("answer", "authority", "additional") if name not in but]
    found += (sorted(map(_canonical, getattr(message, name))) for name in sections)
    return found


def _canonical(rrset: RRset) -> tuple[bytes, int, int, list[bytes]]:
    # NSD keeps names in small letters only.
    return rrset.name.lower(), rrset.type, rrset.ttl, sorted(each.lower() for each in rrset.rdatas)


def _more_addresses(here: Message, there: Message) -> bool:
    """Addresses of mail and other servers are added (RFC 1035, section 3.3.9; RFC 2782); NSD is set not to."""
    alike = _comparable(here, but="additional") == _comparable(there, but="additional")
    wanted = {Type.MX, Type.SRV}
    return alike and not there.additional and bool({each.type for each in here.answer} & wanted)


def _all_glue(here: Message, there: Message) -> bool:
    """Glue that does not fit is told by TC (RFC 9471, section 3.1); NSD 4.6 leaves it out without a word."""
    alike = _comparable(here, but="flags additional") == _comparable(there, but="flags additional")
    cut = here.authority[0].name.lower() if here.authority else b""
    referral = (
        bool(cut)
        and here.authority[0].type == Type.NS
        and all(is_under(each.name.lower(), cut) for each in here.additional)
    )
    return alike and referral and bool(here.flags & _TC) and not there.flags & _TC


_EXPLAINED: tuple[Callable[[Message, Message], bool], ...] = (_more_addresses, _all_glue)


def test_a_real_secondary(tmp_path: Path) -> None:
    """NSD fetches the zone, answers from it, and fetches it anew as soon as it is told that it has changed."""
    port, folder = nsd.free_port(), tmp_path / "secondary"
    folder.mkdir()
    settings = {"allow_transfer": _loopback(), "notify": (f"127.0.0.1:{port}",)}
    with Running({ORIGIN: zone()}, tmp_path, **settings) as resolver:
        primary = f"127.0.0.1@{resolver.tcp.server_address[1]}"
        clause = (
            f"zone:\n  name: {ORIGIN}\n  zonefile: second.zone\n"
            f"  request-xfr: AXFR {primary} NOKEY\n  allow-notify: 127.0.0.1 NOKEY\n  provide-xfr: 127.0.0.1 NOKEY\n"
        )
        with nsd.running(folder, port, clause), _client(port) as client:
            wait_for(lambda: str(_serial(client)), "2024010101")
            whole = {_text_of(each) for each in _transfer(port)}
            assert whole == {_text_of(each) for each in _transfer(resolver.tcp.server_address[1])}
            assert len(whole) > 500
            (tmp_path / "0.zone").write_text(zone().replace("2024010101", "2024010102"))
            resolver.service.reload()
            wait_for(lambda: str(_serial(client)), "2024010102")


def _loopback() -> tuple[object, ...]:
    import ipaddress

    return (ipaddress.ip_network("127.0.0.0/8"),)


def _serial(client: socket.socket) -> int:
    message = _ask(client, query(1, from_text(ORIGIN), Type.SOA))
    return int.from_bytes(message.answer[0].rdatas[0][-20:-16], "big") if message.answer else 0


def _transfer(port: int) -> list[str]:
    """Return the records of the zone, as dig shows them."""
    dig = ["dig", "+noall", "+answer", "+onesoa", "-p", str(port), "@127.0.0.1", "-t", "AXFR", ORIGIN]
    return subprocess.run(
        dig, capture_output=True, text=True, check=True, timeout=PATIENCE
    ).stdout.splitlines()


def _text_of(line: str) -> str:
    return " ".join(line.lower().split())

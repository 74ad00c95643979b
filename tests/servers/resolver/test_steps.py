"""The steps on the way of a question that need no upstream server."""

from __future__ import annotations

from pathlib import Path

import pytest

from servers.resolver.cookies import Cookies, siphash
from servers.resolver.lists import BlockList, Hosts, ListError
from servers.resolver.message import Message, Opt, parse, query
from servers.resolver.names import ROOT, from_text
from servers.resolver.protocol import Query
from servers.resolver.records import Answer, Rcode, Type
from servers.resolver.steps.rate import RateLimit
from tests.servers.resolver.client import RD
from tests.servers.resolver.conftest import Serve

ORG = {"example.org.": "$TTL 60\n@ SOA ns h 1 2 3 4 30\n@ NS ns\nns A 192.0.2.1\nout CNAME printer.home.\n"}
STRANGERS = {"allow_recursion": ()}
EDE, NSID, COOKIE = 15, 3, 10


def lists(folder: Path, text: str) -> tuple[str, ...]:
    """Return the name of a file with this text."""
    path = folder / "list"
    path.write_text(text)
    return (str(path),)


def test_hosts(serve: Serve, folder: Path) -> None:
    """Names of hosts files have their addresses, addresses their names, and no other kind of address."""
    files = lists(
        folder, "192.0.2.5 Printer.home printer # ours\n2001:db8::5 printer.home\n\n# 192.0.2.6 x\n"
    )
    resolver = serve(hosts=files)
    assert resolver.ask("PRINTER.home.").answer[0].rdatas == (bytes([192, 0, 2, 5]),)
    assert resolver.ask("printer.home.", "AAAA").answer[0].rdatas[0][-1] == 5
    found = resolver.ask("printer.", "AAAA")
    assert (found.rcode, found.answer) == (Rcode.NOERROR, ())
    assert resolver.ask("5.2.0.192.in-addr.arpa.", "PTR").answer[0].rdatas == (from_text("Printer.home."),)
    assert resolver.ask("x.").rcode == Rcode.REFUSED


@pytest.mark.parametrize("how", ["zero", "nxdomain", "refused"])
def test_blocked_names(serve: Serve, folder: Path, how: str) -> None:
    """What is blocked leads nowhere, and the client is told why; the rest is as ever."""
    files = lists(folder, "0.0.0.0 one.test localhost\ntwo.test\n*.three.test\n||four.test^\n! ads\n")
    resolver = serve(blocklist=files, block_answer=how)
    blocked = ["one.test.", "two.test.", "a.b.two.test.", "a.three.test.", "x.four.test."]
    for name in blocked:
        found = resolver.ask(name, opt=Opt())
        expected = {"zero": (0, [(bytes(4),)]), "nxdomain": (3, []), "refused": (5, [])}[how]
        assert (found.rcode, [each.rdatas for each in found.answer]) == expected
        assert found.opt is not None
        assert found.opt.options == ((EDE, b"\0\x0f"),)
    for name in ("a.one.test.", "three.test.", "xtwo.test."):
        assert resolver.ask(name, opt=Opt()).answer == ()
    assert resolver.ask("localhost.").answer[0].rdatas == (bytes([127, 0, 0, 1]),)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("192.0.2.1\n", ":1: an address without a name"),
        ("\nx y\n", ":2: 'x' is no address"),
        ("192.0.2.1 a..b", "'a..b'"),
    ],
)
def test_wrong_hosts(folder: Path, text: str, why: str) -> None:
    """What cannot be read in a hosts file is told with its line."""
    with pytest.raises(ListError, match=why):
        Hosts(map(Path, lists(folder, text)))


def test_wrong_block_lists(folder: Path) -> None:
    """What cannot be read in a block list is told with its line, and a file that is not there by its name."""
    with pytest.raises(ListError, match=":1: 'b' is one word too many"):
        BlockList(map(Path, lists(folder, "a b\n")))
    with pytest.raises(ListError, match="/nowhere: cannot be read"):
        BlockList([Path("/nowhere")])


def test_strangers(serve: Serve, folder: Path) -> None:
    """Who is not on the list gets what the zones have, and a small refusal of anything else."""
    resolver = serve(zones=ORG, folder=folder, hosts=lists(folder, "192.0.2.5 printer.home\n"), **STRANGERS)
    assert resolver.ask("ns.example.org.").answer
    found = resolver.ask("printer.home.")
    assert (found.rcode, found.answer, found.authority, found.additional) == (Rcode.REFUSED, (), (), ())
    found = resolver.ask("out.example.org.")
    assert [each.type for each in found.answer] == [Type.CNAME]


def test_aliases_out_of_zones(serve: Serve, folder: Path) -> None:
    """For those on the list an alias is followed out of its zone; and nobody is asked who did not want it."""
    resolver = serve(zones=ORG, folder=folder, hosts=lists(folder, "192.0.2.5 printer.home\n"))
    found = resolver.ask("out.example.org.")
    assert [each.type for each in found.answer] == [Type.CNAME, Type.A]
    assert found.flags & 0x0400
    assert resolver.ask("elsewhere.example.com.", flags=0).rcode == Rcode.REFUSED


def test_aliases_into_other_zones(serve: Serve, folder: Path) -> None:
    """Everybody gets an alias followed from one zone into the next, and what the last one says of the name."""
    zones = {
        "example.org.": "$TTL 60\n@ SOA ns h 1 2 3 4 30\n@ NS ns\na CNAME b.example.net.\nc CNAME d.example.net.\n"
        "l CNAME l.example.net.\n",
        "example.net.": "$TTL 60\n@ SOA ns h 1 2 3 4 30\n@ NS ns\nb A 192.0.2.1\nl CNAME l.example.org.\n",
    }
    resolver = serve(zones=zones, folder=folder, **STRANGERS)
    found = resolver.ask("a.example.org.", flags=0)
    assert ([each.type for each in found.answer], found.flags & 0x0400) == ([Type.CNAME, Type.A], 0x0400)
    found = resolver.ask("c.example.org.", flags=0)
    assert (found.rcode, found.authority[0].name) == (Rcode.NXDOMAIN, from_text("example.net."))
    found = resolver.ask("l.example.org.", flags=0)
    assert (found.rcode, [each.type for each in found.answer]) == (Rcode.NOERROR, [Type.CNAME] * 2)


def test_any_class(serve: Serve, folder: Path) -> None:
    """Asked in any class, the server says what it has in its own, and nothing with authority (RFC 1034, 4.3.2)."""
    resolver = serve(zones=ORG, folder=folder)
    for _ in range(2):
        found = parse(resolver.exchange(query(1, from_text("ns.example.org."), 1)[:-1] + b"\xff"))
        assert (found.answer[0].rdatas, found.flags & 0x0400) == ((bytes([192, 0, 2, 1]),), 0)
        assert resolver.ask("ns.example.org.").flags & 0x0400
    found = parse(resolver.exchange(query(1, from_text("ns.example.com."), 1)[:-1] + b"\xff"))
    assert found.rcode == Rcode.REFUSED


@pytest.mark.parametrize(
    ("name", "rcode"),
    [
        ("localhost.", 0),
        ("x.localhost.", 0),
        ("x.invalid.", 3),
        ("a.onion.", 3),
        ("4.3.2.10.in-addr.arpa.", 3),
        ("16.172.in-addr.arpa.", 0),
        ("example.com.", 5),
    ],
)
def test_special_names(serve: Serve, name: str, rcode: int) -> None:
    """What nobody out there knows is answered here."""
    assert serve().ask(name, "PTR").rcode == rcode


def test_who_it_is(serve: Serve) -> None:
    """The server says what it is called, as far as it is set, and its kind in class CH."""
    assert b"\x08resolver" in serve().exchange(query(1, from_text("version.bind."), Type.TXT)[:-1] + b"\3")
    resolver = serve(version="resolver 1", nsid="here")
    packet = bytearray(query(1, from_text("version.bind."), Type.TXT))
    packet[-1] = 3
    assert b"resolver 1" in resolver.exchange(bytes(packet))
    assert resolver.ask("localhost.", opt=Opt(options=((NSID, b""),))).opt == Opt(options=((NSID, b"here"),))
    other = serve(version="")
    assert other.exchange(bytes(packet))[3] & 0xF == Rcode.REFUSED
    assert other.ask("localhost.", opt=Opt(options=((NSID, b""),))).opt == Opt()


# -- rates and cookies -------------------------------------------------------------------------------------------------


def test_rates() -> None:
    """Beyond the limit of a second, an answer is silence or a hint to come by a connection, for that network alone."""
    now = [100.0]
    limit = RateLimit(3, 2, lambda: now[0])
    answer, other = Answer(kind=b"a"), Answer(kind=b"b")

    def got(client: str, answer: Answer) -> object:
        outcome = limit(Query(b"", client=client), lambda _: answer)
        return outcome.truncated if isinstance(outcome, Answer) else outcome

    assert [got("192.0.2.1", answer) for _ in range(7)] == [False] * 3 + [None, True, None, True]
    assert got("192.0.2.200", answer) is None
    assert got("192.0.3.1", answer) is False
    assert got("192.0.2.1", other) is False
    known = Query(b"", client="192.0.2.1", known=True)
    assert limit(known, lambda _: answer) is answer
    now[0] += 1
    assert got("192.0.2.1", answer) is False


def test_rates_by_memory(serve: Serve, folder: Path) -> None:
    """Answers by memory count as well; a client with a good cookie is where it says, and is not limited."""
    resolver = serve(zones=ORG, folder=folder, rate_limit=2, rate_slip=1, **STRANGERS)
    cut = [resolver.ask("ns.example.org.", opt=Opt()).truncated for _ in range(40)]
    assert cut.count(False) <= 2 * 3  # however slow the machine is, the seconds are few
    first = resolver.ask("ns.example.org.", opt=Opt(options=((COOKIE, b"12345678"),)))
    assert first.opt is not None
    cookie = first.opt.options[0][1]
    assert len(cookie) == 24
    again = [resolver.ask("ns.example.org.", opt=Opt(options=((COOKIE, cookie),))) for _ in range(20)]
    assert not any(each.truncated for each in again)
    assert all(each.opt == Opt(options=((COOKIE, cookie),)) for each in again)


def test_a_cookie_and_nothing_else(serve: Serve) -> None:
    """Who has no question may ask for a cookie, and whether one is still good (RFC 7873, section 5.4)."""
    resolver = serve()

    def ask(cookie: bytes) -> Message:
        packet = bytearray(query(5, ROOT, 1, opt=Opt(options=((COOKIE, cookie),))))
        packet[5] = 0
        return parse(resolver.exchange(bytes(packet[:12] + packet[17:])))

    first = ask(b"12345678")
    assert (first.rcode, first.questions, first.answer) == (Rcode.NOERROR, (), ())
    assert first.opt is not None
    cookie = first.opt.options[0][1]
    assert len(cookie) == 24
    assert ask(cookie) == first
    wrong = ask(cookie[:-1] + bytes([cookie[-1] ^ 1]))
    assert wrong.rcode == Rcode.BADCOOKIE
    assert wrong.opt is not None
    assert wrong.opt.options == ((COOKIE, cookie),)


def test_the_hash_of_cookies() -> None:
    """The hash is SipHash-2-4: the vector of its authors."""
    assert siphash(bytes(range(16)), bytes(range(15))) == 0xA129CA6149BE45E5


def test_the_cookies_of_the_standard() -> None:
    """A cookie is the one of RFC 9018, appendix A.1 and A.2, and renewed as those are."""
    secret = bytes.fromhex("e5e973e5a6b2a43f48e7dc849e37bfcf")
    part = bytes.fromhex("2464c4abcf10c957")
    option, good = Cookies(secret, lambda: 1559731985).check("198.51.100.100", part)
    assert option[4:].hex() == "2464c4abcf10c957010000005cf79f111f8130c3eee29480"
    assert not good
    later = Cookies(secret, lambda: 1559734385)
    renewed, good = later.check("198.51.100.100", option[4:])
    assert renewed[4:].hex() == "2464c4abcf10c957010000005cf7a871d4a564a1442aca77"
    assert good


def test_cookies_of_others() -> None:
    """A cookie of another address, another secret or another time is none."""
    now = [1_000_000.0]
    cookies = Cookies(bytes(16), lambda: now[0])
    cookie = cookies.check("192.0.2.1", b"12345678")[0][4:]
    assert cookies.check("192.0.2.1", cookie)[1]
    assert not cookies.check("192.0.2.2", cookie)[1]
    assert not Cookies(b"x" * 16, lambda: now[0]).check("192.0.2.1", cookie)[1]
    now[0] += 3601
    assert not cookies.check("192.0.2.1", cookie)[1]
    assert cookies.check("2001:db8::1%eth0", b"12345678")[0]


def test_recursion_is_told_to_those_who_have_it(serve: Serve) -> None:
    """RA is for known clients, and only where there is somebody to ask."""
    assert not serve().ask("localhost.").flags & 0x0080
    assert serve().ask("localhost.").flags & RD

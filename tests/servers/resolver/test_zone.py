"""Zones: what is asked of them, and what is refused at their beginning."""

from __future__ import annotations

from pathlib import Path

import pytest

from servers.resolver.names import from_text, to_text
from servers.resolver.records import Answer, Rcode, Type
from servers.resolver.zone import Zone, ZoneError

HEAD = "$TTL 60\n@ SOA ns h 1 2 3 4 30\n@ NS ns\nns A 192.0.2.1\n"
ORIGIN = from_text("example.org.")


def load(folder: Path, text: str, head: str = HEAD) -> Zone:
    """Return a zone."""
    (folder / "zone").write_text(head + text)
    return Zone.load(ORIGIN, folder / "zone")


def shown(answer: Answer) -> tuple[int, list[str], list[str], list[str]]:
    """Return an answer's code, and the owners and types of its sections."""
    sections = (answer.answer, answer.authority, answer.additional)
    one, two, three = (
        [f"{to_text(each.name)} {Type(each.type).name}" for each in section] for section in sections
    )
    return answer.rcode, one, two, three


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        # RFC 4592, section 2.2.1: the examples, with one name changed.
        ("host3", "MX", (0, ["host3.example.org. MX"], [], ["host1.example.org. A"])),
        ("host3", "A", (0, [], ["example.org. SOA"], [])),
        ("foo.bar", "TXT", (0, ["foo.bar.example.org. TXT"], [], [])),
        ("host1", "MX", (0, [], ["example.org. SOA"], [])),
        ("sub.*", "MX", (0, [], ["example.org. SOA"], [])),
        ("_telnet._tcp.host1", "SRV", (3, [], ["example.org. SOA"], [])),
        ("host.subdel", "A", (0, [], ["subdel.example.org. NS"], [])),
        ("ghost.*", "MX", (3, [], ["example.org. SOA"], [])),
        ("_tcp.host1", "A", (0, [], ["example.org. SOA"], [])),
    ],
)
def test_wildcards(folder: Path, name: str, kind: str, expected: object) -> None:
    """Wildcards are for names that are not there, at the closest encloser, as RFC 4592 shows."""
    zone = load(
        folder,
        '* TXT "wild"\n* MX 10 host1\nsub.* TXT "not wild"\nhost1 A 192.0.2.2\n_ssh._tcp.host1 SRV 0 0 22 host1\n'
        "subdel NS ns.example.com.\n",
    )
    answer = zone.answer(from_text(name, ORIGIN), Type[kind])
    assert shown(answer) == expected


def test_denials_last_as_the_soa_says(folder: Path) -> None:
    """That nothing is there is believed for the least of the SOA's TTL and its last number (RFC 2308, section 3)."""
    answer = load(folder, "").answer(from_text("x.example.org."), Type.A)
    assert (answer.rcode, answer.authority[0].ttl) == (Rcode.NXDOMAIN, 30)


def test_referrals(folder: Path) -> None:
    """Below a delegation nothing is known with authority; in-domain addresses are needed, others are an addition."""
    zone = load(folder, "sub NS ns.sub\nsub NS ns\nns.sub A 192.0.2.3\nsub DS 1 8 2 ABCD\n")
    answer = zone.answer(from_text("x.sub.example.org."), Type.A)
    assert shown(answer) == (0, [], ["sub.example.org. NS"], ["ns.sub.example.org. A", "ns.example.org. A"])
    assert (answer.glue, answer.authoritative) == (1, False)
    assert shown(zone.answer(from_text("sub.example.org."), Type.DS))[1] == ["sub.example.org. DS"]


def test_aliases(folder: Path) -> None:
    """CNAMEs are followed within the zone, circles only once, and the code is that of the last name (RFC 6604)."""
    zone = load(folder, "a CNAME b\nb CNAME gone\nl CNAME m\nm CNAME l\no CNAME www.example.com.\n")
    assert shown(zone.answer(from_text("a.example.org."), Type.A))[:2] == (
        3,
        ["a.example.org. CNAME", "b.example.org. CNAME"],
    )
    assert len(zone.answer(from_text("l.example.org."), Type.A).answer) == 2
    assert shown(zone.answer(from_text("o.example.org."), Type.A)) == (0, ["o.example.org. CNAME"], [], [])
    assert len(zone.answer(from_text("a.example.org."), Type.CNAME).answer) == 1


def test_whole_subtrees(folder: Path) -> None:
    """A DNAME stands for all below it, but not for itself; what gets too long is YXDOMAIN (RFC 6672)."""
    zone = load(folder, f"d DNAME {'.'.join(['x' * 60] * 3)}\nd A 192.0.2.9\n")
    answer = zone.answer(from_text("Q.d.example.org."), Type.A)
    assert shown(answer)[:2] == (3, ["d.example.org. DNAME", "Q.d.example.org. CNAME"])
    assert answer.answer[1].rdatas[0].startswith(b"\1Q")
    assert shown(zone.answer(from_text("d.example.org."), Type.A))[1] == ["d.example.org. A"]
    long = ".".join(["y" * 60, "y" * 20, "d.example.org."])
    assert zone.answer(from_text(long), Type.A).rcode == Rcode.YXDOMAIN


def test_subtrees_that_lead_to_each_other(folder: Path) -> None:
    """A chain that passes one DNAME twice tells of it once."""
    zone = load(folder, "d DNAME e\nx.e CNAME y.d\ny.e A 192.0.2.9\n")
    answer = zone.answer(from_text("x.d.example.org."), Type.A)
    assert [to_text(each.name).partition(".example")[0] for each in answer.answer] == [
        *("d", "x.d", "x.e", "y.d", "y.e")
    ]


def test_any_is_small(folder: Path) -> None:
    """Who asks for everything gets the least there is (RFC 8482, section 4.1)."""
    zone = load(folder, f'm A 192.0.2.1\nm TXT "{"x" * 200}"\n')
    assert shown(zone.answer(from_text("m.example.org."), Type.ANY))[1] == ["m.example.org. A"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a CNAME b\na A 192.0.2.1\n", "zone:6:1: a.example.org. has a CNAME, and so can have nothing else"),
        ("a CNAME b\na CNAME c\n", "zone:6:1: a.example.org. has two of what there can be one of"),
        ("@ SOA ns h 9 2 3 4 5\n", "zone:5:1: example.org. has two of what there can be one of"),
        ("a SOA ns h 9 2 3 4 5\n", "zone:5:1: a.example.org. has a SOA"),
        ("a.example.com. A 192.0.2.1\n", "zone:5:1: a.example.com. is not below example.org."),
        ("d DNAME x.\nd NS ns\n", "zone:5:1: d.example.org. has a DNAME and an NS"),
        ("d DNAME x.\na.d A 192.0.2.1\n", "zone:6:1: a.d.example.org. is below the DNAME of d.example.org."),
    ],
)
def test_what_is_no_zone(folder: Path, text: str, why: str) -> None:
    """Records that cannot stand together are refused, with the place of the one that is too much."""
    with pytest.raises(ZoneError) as raised:
        load(folder, text)
    assert why in str(raised.value)


def test_zones_begin(folder: Path) -> None:
    """A zone without SOA or NS is none."""
    with pytest.raises(ZoneError, match="has no SOA: a zone begins with SOA and NS"):
        load(folder, "$TTL 5\n@ NS ns\n", "")
    with pytest.raises(ZoneError, match="has no NS"):
        load(folder, "@ 5 SOA ns h 1 2 3 4 5\n", "")

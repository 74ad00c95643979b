"""A zone with something of everything, and questions about it: the same ones each time."""

from __future__ import annotations

import random

ORIGIN = "big.test."

# Of each type, data as master files have it; {n} is a number.
TYPES = {
    "A": "192.0.2.{n}",
    "AAAA": "2001:db8::{n}",
    "MX": "{n} mail{n}",
    "TXT": '"text {n}" "semi;colon" \\065bc "\\"quoted\\""',
    "SRV": "{n} 5 8080 host{n}",
    "PTR": "host{n}.big.test.",
    "HINFO": '"CPU {n}" "OS"',
    "MINFO": "rmail{n} emailbx",
    "RP": "mbox{n} txt{n}",
    "AFSDB": "1 afs{n}",
    "X25": '"31106170081{n}"',
    "ISDN": '"15086202800{n}" "00{n}"',
    "RT": "10 relay{n}",
    "LOC": "52 22 23.000 N 4 53 32.000 E -{n}.00m 10m 100m 10m",
    "NAPTR": '{n} 50 "s" "http+I2L" "!^.*$!x!" host{n}',
    "KX": "10 kx{n}",
    "CERT": "PKIX {n} RSASHA256 MTIzNA==",
    "APL": "1:192.0.2.0/24 !2:2001:db8::/{n}",
    "DS": "{n} 8 2 49FD46E6C4B45C55D4AC49FD46E6C4B45C55D4AC49FD46E6C4B45C55D4AC49FD",
    "SSHFP": "2 1 123456789abcdef67890123456789abcdef67890",
    "DNSKEY": "257 3 8 AwEAAagA{n}AA",
    "DHCID": "AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA=",
    "TLSA": "3 1 1 ( 49FD46E6C4B45C55D4AC49FD46E6C4B4 5C55D4AC49FD46E6C4B45C55D4AC49FD )",
    "SMIMEA": "3 0 0 ab{n}",
    "CDS": "{n} 8 2 49FD46E6C4B45C55D4AC49FD46E6C4B45C55D4AC49FD46E6C4B45C55D4AC49FD",
    "CDNSKEY": "257 3 8 AwEAAagA{n}AA",
    "OPENPGPKEY": "AwEAAagA{n}AA",
    "CSYNC": "{n} 3 A NS AAAA",
    "ZONEMD": "{n} 1 240 AABBCCDDEEFF00112233445566778899",
    "SVCB": "{n} svc{n} alpn=h2 port=84{n}",
    "HTTPS": '{n} . alpn="h2,h3" ipv4hint=192.0.2.{n} ipv6hint=2001:db8::{n}',
    "SPF": '"v=spf1 -all"',
    "NID": "10 0014:4fff:ff20:ee{n}",
    "L32": "10 10.1.2.{n}",
    "L64": "10 2001:0DB8:1140:10{n}",
    "LP": "10 l64-{n}",
    "EUI48": "00-00-5e-00-53-{n}",
    "EUI64": "00-00-5e-ef-10-00-00-{n}",
    "URI": '10 1 "ftp://ftp{n}.example.com/"',
    "CAA": '0 issue "ca{n}.example.net"',
    "TYPE65280": "\\# 4 0a0000{n}",
    "KEY": "256 3 8 AwEAAagA{n}AA",
    "NSEC3PARAM": "1 0 {n} aabbccdd",
    "IPSECKEY": "10 1 2 192.0.2.{n} AQNRU3mG",
    "PX": "10 map822-{n} mapx400",
    "AVC": '"app-name:WOLFGANG|{n}"',
}


def zone() -> str:
    """Return the master file."""
    lines = [
        "$TTL 1h",
        f"$ORIGIN {ORIGIN}",
        "@ 2h IN SOA ns1 Hostmaster (2024010101 1h 15m",
        "   1w ; expire",
        "   10m )",
        " NS ns1",
        " NS ns2.sub",
        " NS ns.elsewhere.test.",
        ' MX 10 mail10\n TXT "apex"',
        "ns1 A 192.0.2.1",
        " AAAA 2001:db8::1",
    ]
    for kind, data in TYPES.items():
        lines += [f"{kind.lower()}{n} {kind} {data.format(n=n)}" for n in (10, 21, 32)]
    for n in range(10, 60):
        lines += [
            f"host{n} {600 + n} A 192.0.2.{n}",
            f"host{n} AAAA 2001:db8::{n:x}",
            f"mail{n} IN A 198.51.100.{n}",
        ]
        lines += [f"alias{n} CNAME host{n}", f"multi A 203.0.113.{n}"]
    lines += [
        "Mixed.Case A 192.0.2.77",
        r"odd\.dot A 192.0.2.78",
        r"oct\000et A 192.0.2.79",
        r"sp\032ace TXT x",
    ]
    # Chains: within, to nothing, to themselves, to elsewhere, over a wildcard, into a delegation.
    lines += ["c1 CNAME c2", "c2 CNAME c3", "c3 CNAME host10", "dangling CNAME nowhere", "loop1 CNAME loop2"]
    lines += [
        "loop2 CNAME loop1",
        "self CNAME self",
        "out CNAME www.elsewhere.test.",
        "cw CNAME a.wild",
        "cd CNAME x.sub",
    ]
    # Empty non-terminals and wildcards.
    lines += [
        "deep.ent.of.a A 192.0.2.5",
        "*.wild A 192.0.2.6",
        "*.wild TXT wild",
        "exact.wild AAAA 2001:db8::6",
    ]
    lines += [
        "a.exact2.wild A 192.0.2.7",
        "*.cwild CNAME host10",
        "*.nest.wild2 MX 5 mail10",
        "*.dcwild CNAME nowhere",
    ]
    lines += ["*.*.star A 192.0.2.8", "*.srvwild SRV 0 0 1 host10"]
    # Delegations: glue, none, sibling, of a signed child.
    lines += [
        "sub NS ns1.sub",
        "sub NS ns2.sub",
        "ns1.sub A 192.0.2.11",
        "ns2.sub A 192.0.2.12",
        "ns2.sub AAAA 2001:db8::12",
    ]
    lines += ["bare NS ns.elsewhere.test.", "sib NS ns1.sub", "in NS ns1", "below.sub A 192.0.2.99"]
    lines += ["signed NS ns.signed", "signed DS 1 8 2 " + "AB" * 32, "ns.signed A 192.0.2.13"]
    lines += [f"wide NS n{n}.wide" for n in range(13)]
    lines += [f"n{n}.wide A 192.0.2.{n}" for n in range(13)] + [
        f"n{n}.wide AAAA 2001:db8::{n}" for n in range(13)
    ]
    # DNAME: elsewhere, within, at a name with other things.
    lines += [
        "dn DNAME elsewhere.test.",
        "dn2 DNAME wild",
        "dn2 A 192.0.2.14",
        "dn3 DNAME dn4",
        "dn4 DNAME host10",
    ]
    long = ".".join(["l" * 60] * 3)
    lines += [f"dlong DNAME {long}"]
    # Large ones.
    lines += [f'large TXT "{"x" * 250}"' if n == 0 else f'large TXT "{n} {"y" * 240}"' for n in range(8)]
    lines += [f"many A 10.0.{n // 250}.{n % 250}" for n in range(100)]
    return "\n".join(lines) + "\n"


def questions(count: int) -> list[tuple[str, str]]:
    """Return names and types to ask about."""
    rng = random.Random(53)
    types = [*TYPES, "NS", "SOA", "CNAME", "DNAME"]
    named = [f"{kind.lower()}{n}" for kind in TYPES for n in (10, 21, 32)]
    names = [
        "",
        "ns1",
        "multi",
        "mixed.case",
        r"odd\.dot",
        r"oct\000et",
        r"sp\032ace",
        "c1",
        "c2",
        "c3",
        "dangling",
    ]
    names += [
        "loop1",
        "loop2",
        "self",
        "out",
        "cw",
        "cd",
        "deep.ent.of.a",
        "ent.of.a",
        "of.a",
        "a",
        "wild",
        "x.wild",
    ]
    names += [
        "x.y.wild",
        "exact.wild",
        "a.exact2.wild",
        "exact2.wild",
        "b.exact2.wild",
        "*.wild",
        "x.cwild",
        "x.dcwild",
    ]
    names += [
        "nest.wild2",
        "x.nest.wild2",
        "wild2",
        "star",
        "*.star",
        "x.star",
        "x.y.star",
        "x.*.star",
        "x.srvwild",
    ]
    names += [
        "sub",
        "ns1.sub",
        "below.sub",
        "x.sub",
        "bare",
        "x.bare",
        "sib",
        "x.sib",
        "in",
        "x.in",
        "signed",
        "x.signed",
    ]
    names += [
        "ns.signed",
        "wide",
        "x.wide",
        "dn",
        "x.dn",
        "x.y.dn",
        "dn2",
        "q.dn2",
        "exact.dn2",
        "dn3",
        "x.dn3",
        "dn4",
    ]
    names += [
        "x.dn4",
        "dlong",
        "large",
        "many",
        ".".join(["m" * 60, "n" * 30, "dlong"]),
        "nothing",
        "not.there",
    ]
    found = [(name, types[index % len(types)]) for index, name in enumerate(named)]
    found += [(f"{kind.lower()}{n}", kind) for kind in TYPES for n in (10, 21, 32)]
    found += [
        (name, kind)
        for name in names
        for kind in ("A", "AAAA", "NS", "SOA", "DS", "CNAME", "TXT", "MX", "DNAME")
    ]
    found += [
        (f"{prefix}{n}", kind)
        for prefix in ("host", "mail", "alias")
        for n in range(8, 62)
        for kind in ("A", "MX")
    ]
    while len(found) < count:
        name = rng.choice([*names, *named])
        if rng.random() < 0.3:
            name = "".join(rng.choice((each.upper(), each)) for each in name) if "\\" not in name else name
        if rng.random() < 0.2:
            name = f"{rng.choice(('x', '*', 'host10', 'sub'))}.{name}" if name else "x"
        found.append((name, rng.choice(types)))
    return [(f"{name}.{ORIGIN}" if name else ORIGIN, kind) for name, kind in found]

"""Master files: what is read of them, and how what is wrong is told."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.resolver.masterfile import MasterFileError, Record, read
from servers.resolver.names import from_text, to_text

ORG = from_text("org.")


def records(folder: Path, text: str) -> list[Record]:
    """Return the records of a file."""
    (folder / "file").write_text(text)
    return list(read(folder / "file", ORG))


def test_what_may_be_left_out(folder: Path) -> None:
    """Owner, TTL and class are inherited or left out, in either order, and times have units."""
    text = "$TTL 1h\na IN 5 A 192.0.2.1\n  A 192.0.2.2\nb 1h30m IN A 192.0.2.3\n@ A 192.0.2.4\n$ORIGIN sub\nc A 192.0.2.5\n"
    found = [(to_text(each.name), each.ttl) for each in records(folder, text)]
    assert found == [("a.org.", 5), ("a.org.", 3600), ("b.org.", 5400), ("org.", 3600), ("c.sub.org.", 3600)]


def test_lines_that_go_on(folder: Path) -> None:
    """Parentheses, comments, quotes and blank lines may be anywhere."""
    text = '; first\n\n@ 60 SOA ( ns ; of it\n\n h\n\t1 2 3 ) 4 (5\n)\n\nt 60 TXT ( "a ; b"\n "c)" ) ; end\n  60 TXT "\\"" \\;\n'
    soa, one, two = records(folder, text)
    assert soa.rdata.endswith(bytes([0, 0, 0, 5]))
    assert one.rdata == b"\5a ; b\2c)"
    assert two.rdata == b'\1"\1;'
    assert one.where.endswith(":9:1")


def test_files_in_files(folder: Path) -> None:
    """An included file has an origin of its own, which ends with it."""
    (folder / "inner").write_text("x A 192.0.2.1\n$ORIGIN gone.\ny A 192.0.2.2\n")
    found = records(folder, "$TTL 60\n$INCLUDE inner sub\nz A 192.0.2.3\n$INCLUDE inner\n")
    assert [to_text(each.name) for each in found] == ["x.sub.org.", "y.gone.", "z.org.", "x.org.", "y.gone."]


@pytest.mark.parametrize(
    ("line", "kind", "data"),
    [
        (r"TXT \065\"b", 16, b'\3A"b'),
        ("TYPE65280 \\# 3 AB cdef", 65280, b"\xab\xcd\xef"),
        ("A \\# 4 C0000201", 1, b"\xc0\0\2\1"),
        ("TYPE1 192.0.2.1", 1, b"\xc0\0\2\1"),
        ("CLASS1 APL", 42, b""),
        (
            "NSEC next.org. A MX RRSIG NSEC TYPE1234",
            47,
            b"\4next\3org\0" + bytes.fromhex("0006400100000003041b" + "00" * 26 + "20"),
        ),
        (
            "SVCB 1 . mandatory=alpn alpn=h2 port=53",
            64,
            bytes.fromhex("00010000000002000100010003026832000300020035"),
        ),
        ("LOC 42 21 54 N 71 06 18 W -24m 30m", 29, bytes.fromhex("0033161389172dd070be15f000988d20")),
        ('CAA 0 issue "ca; x=y"', 257, b"\0\5issueca; x=y"),
    ],
)
def test_data(folder: Path, line: str, kind: int, data: bytes) -> None:
    """The data of a record comes out as its type's RFC has it."""
    (found,) = records(folder, f"a 60 {line}\n")
    assert (found.type, found.rdata) == (kind, data)


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        ("a 60 A 192.0.2\n", "1:8", "'192.0.2' is no IPv4 address"),
        ("a 60 A\n", "1:6", "an address is missing"),
        ("a 60 A 192.0.2.1 x\n", "1:18", "the data is complete before this"),
        ("\na 60 MX 70000 b\n", "2:9", "'70000' is no number from 0 to 65535"),
        ('a "" x\n', "1:3", "'' is no type"),
        ("a 60 NOPE x\n", "1:6", "'NOPE' is no type"),
        ("a CH A 192.0.2.1\n", "1:3", "class CH is not served: write IN"),
        ("a A 192.0.2.1\n", "1:1", "it has no TTL: write one, or $TTL before it"),
        (" 60 A 192.0.2.1\n", "1:2", "there is no record before it whose name it could have"),
        ("a 60 TXT (\n x\n", "1:10", "a parenthesis that is not closed"),
        ("a 60 TXT )\n", "1:10", "a parenthesis that was not opened"),
        ('a 60 TXT "x\n', "1:10", "a quote that is not closed"),
        ("a..b 60 A 192.0.2.1\n", "1:1", "a label is empty (RFC 1035, section 2.3.4)"),
        ("$NOPE x\n", "1:1", "$NOPE is not known: write $ORIGIN, $TTL or $INCLUDE"),
        ("$TTL x\n", "1:1", "'x' is no time: write seconds, or 1h30m"),
        (
            "a 60 TYPE1234 x\n",
            "1:6",
            "TYPE1234 is not known by its fields: write \\# and its octets (RFC 3597, section 5)",
        ),
        (
            "a 60 A \\# 3 C00002\n\n",
            "1:13",
            "these are no data of this type: names or sizes are not as it has them",
        ),
        (
            "a 60 MX \\# 4 000AC00C\n",
            "1:14",
            "these are no data of this type: names or sizes are not as it has them",
        ),
        (
            "a 60 TXT " + "x" * 256 + "\n",
            "1:10",
            "a text of 256 octets, of which 255 are allowed: write several",
        ),
        ("a 60 DS 1 8 2 xyz\n", "1:15", "'xyz' is no hexadecimal"),
        ("a 99999999999 A 192.0.2.1\n", "1:3", "'99999999999' is no time: write seconds, or 1h30m"),
    ],
)
def test_complaints(folder: Path, text: str, where: str, why: str) -> None:
    """What is wrong is told with its file, line and column."""
    with pytest.raises(MasterFileError) as raised:
        records(folder, text)
    assert str(raised.value) == f"{folder}/file:{where}: {why}"


def test_circles(folder: Path) -> None:
    """A file that includes itself is told of, and not followed for ever."""
    with pytest.raises(MasterFileError, match="include each other"):
        records(folder, "$INCLUDE file\n")
    with pytest.raises(MasterFileError, match="cannot be read"):
        records(folder, "$INCLUDE nowhere\n")


@given(st.text(alphabet='ab.\\"();$@ \n\t019#TXA', max_size=80))
def test_nothing_else_than_complaints(text: str) -> None:
    """Whatever a file holds, it is read or complained about."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(text)
        file.flush()
        try:
            list(read(Path(file.name), ORG))
        except MasterFileError:
            return
